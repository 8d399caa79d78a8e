"""A library that is not installed is named, with the extra of idaq that installs it."""

import re
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import fsspec
import pytest

from idaq.core.errors import MissingExtraError
from idaq.core.extras import _NEEDS, naming_extras, optional

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", _NEEDS)
def test_what_is_missing_is_named_with_what_installs_it(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="need") as caught:
        optional(module)
    assert str(caught.value.hint).startswith("pip install ")


def test_what_is_there_is_imported() -> None:
    assert optional("json.decoder") is sys.modules["json.decoder"]


def test_other_modules_that_are_missing_are_none_of_ours() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), naming_extras():
        import_module("no_such_module")


def test_a_library_that_is_there_but_lacks_a_part_is_not_called_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"scipy\.no_such_part"), naming_extras():
        import_module("scipy.no_such_part")


def test_the_cause_of_fsspecs_own_error_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match="gs:// needs gcsfs"), naming_extras():
        fsspec.url_to_fs("gs://bucket")


def test_each_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {extra for _, install in _NEEDS.values() for extra in re.findall(r"idaq\[(\w+)\]", install)}
    assert named | {"all", "dev", "bench", "docs"} == set(extras)
