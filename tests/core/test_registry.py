"""Names: built in, installed, or `package.module:thing`; and a document never causes an import."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from idaq.core.errors import PluginError, UnknownNameError
from idaq.core.registry import Registry, check_document, is_reference


def accept(_name: str, thing: object) -> int:
    if not isinstance(thing, int):
        raise TypeError(f"{thing!r} is not an integer")
    return thing


LETTERS = [f"letter-{letter}" for letter in "abcdefgh"]
HERE = "tests.core.test_registry"
NUMBERS = Registry("number", "idaq.test_numbers", {"one": 1, "lazy": f"{HERE}:LAZY", "text": f"{HERE}:TEXT"}, accept)
LAZY, TEXT = 7, "seven"


@pytest.fixture(autouse=True)
def _own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test works in a folder of its own, and what it made importable is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def install(folder: Path, package: str, *points: str) -> None:
    """What pip leaves of a package: a module and its entry points."""
    (folder / f"{package}.py").write_text("two = 2\ntext = 'two'\n")
    info = folder / f"{package}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("\n".join(["[idaq.test_numbers]", *points]))
    sys.path.insert(0, str(folder))


def test_built_in_names_lead_to_the_thing_itself_or_are_imported_when_asked_for() -> None:
    assert NUMBERS.get("one") == NUMBERS.find("one") == 1
    assert NUMBERS.get("lazy") == LAZY


def test_an_installed_package_adds_names_which_documents_may_use_too(tmp_path: Path) -> None:
    install(tmp_path, "numbers_a", "two = numbers_a:two")
    assert NUMBERS.get("two") == NUMBERS.find("two") == 2
    assert NUMBERS.names() == ["one", "lazy", "text", "two"]
    (last,) = [origin for origin in NUMBERS.origins() if origin.name == "two"]
    assert (last.source, last.reference) == ("numbers_a 1.5", "numbers_a:two")


def test_what_is_built_in_cannot_be_replaced_by_installing_a_package(tmp_path: Path) -> None:
    install(tmp_path, "numbers_b", "one = numbers_b:two")
    assert NUMBERS.get("one") == 1
    assert NUMBERS.names().count("one") == 1


def test_a_name_of_two_packages_is_refused_naming_both(tmp_path: Path) -> None:
    install(tmp_path, "numbers_c", "two = numbers_c:two")
    (tmp_path / "second").mkdir()
    install(tmp_path / "second", "numbers_d", "two = numbers_d:two")
    with pytest.raises(PluginError, match=r"numbers_[cd] 1.5, numbers_[cd] 1.5") as caught:
        NUMBERS.get("two")
    assert "numbers_c:two" in str(caught.value)


def test_a_user_may_name_an_attribute_of_a_module_in_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "mine_numbers.py").write_text("class Box:\n    three = 3\n")
    assert NUMBERS.get("mine_numbers:Box.three") == 3


def test_an_installed_module_comes_before_one_of_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("dumps = 3\n")
    with pytest.raises(PluginError, match="is not an integer"):
        NUMBERS.get("json:dumps")


def test_a_document_never_causes_an_import(tmp_path: Path) -> None:
    (tmp_path / "hostile_numbers.py").write_text("open('imported', 'w').close()\nthree = 3\n")
    with pytest.raises(PluginError, match="never imported because a document says so") as caught:
        NUMBERS.find("hostile_numbers:three")
    assert "--plugin hostile_numbers:three" in str(caught.value)
    with pytest.raises(PluginError):
        NUMBERS.find("hostile_numbers:three", allow=["hostile_numbers:other"])
    with pytest.raises(PluginError):
        NUMBERS.find("hostile_numbers:three", allow="not_hostile_numbers:three")  # a text is one name, not its parts
    with pytest.raises(PluginError):
        check_document({"a": [{"b": ["hostile_numbers:three"]}]}, "settings", allow="not_hostile_numbers:three")
    assert "hostile_numbers" not in sys.modules
    assert not (tmp_path / "imported").exists()
    assert NUMBERS.find("hostile_numbers:three", allow=["hostile_numbers:three"]) == 3


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        (None, "nowhere_numbers:three", "there is no module 'nowhere_numbers'"),
        ("import nowhere_numbers", "broken_numbers:three", "there is no module 'nowhere_numbers'"),
        ("three = 3", "broken_numbers:thre", "has no attribute 'thre'"),
        ("1 / 0", "broken_numbers:three", "raised ZeroDivisionError"),
        ("import sys; sys.exit()", "broken_numbers:three", "raised SystemExit"),
        ("three = '3'", "broken_numbers:three", "is no number: '3' is not an integer"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, code: str | None, name: str, words: str) -> None:
    if code is not None:
        (tmp_path / "broken_numbers.py").write_text(code)
    with pytest.raises(PluginError, match=words):
        NUMBERS.get(name)


def test_an_attribute_that_is_nearly_right_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "typo_numbers.py").write_text("three = 3")
    with pytest.raises(PluginError) as caught:
        NUMBERS.get("typo_numbers:thre")
    assert caught.value.hint == "did you mean three?"


def test_an_unknown_name_is_told_the_nearest_five() -> None:
    many = Registry("letter", "idaq.test_letters", dict.fromkeys(LETTERS, 1), accept)
    with pytest.raises(UnknownNameError, match="unknown letter 'letter-z'") as caught:
        many.get("letter-z")
    assert str(caught.value.hint).count("letter-") == 5
    with pytest.raises(UnknownNameError) as caught:
        many.get("zzz")
    assert str(caught.value.hint).startswith("one of 8, for example ")


@pytest.mark.parametrize("name", ["a:b", "a.b:c.d", "_a1:B"])
def test_references(name: str) -> None:
    assert is_reference(name)


@pytest.mark.parametrize("name", ["a", "a/b", "a.b", "a:b:c", ":b", "a:", "a b:c", "../a:b", "1a:b", "a:b\n"])
def test_other_names(name: str) -> None:
    assert not is_reference(name)


def test_an_installed_name_that_is_built_in_too_is_told(tmp_path: Path) -> None:
    install(tmp_path, "shadowed_numbers", "one = shadowed_numbers:two", "two = shadowed_numbers:two")
    assert NUMBERS.get("one") == 1
    (origin,) = NUMBERS.shadowed()
    assert (origin.name, origin.source, origin.reference) == ("one", "shadowed_numbers 1.5", "shadowed_numbers:two")
    assert NUMBERS.get(origin.reference) == 2
