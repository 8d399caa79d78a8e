"""`import idaq`: what is public, imported when it is used."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import idaq
from idaq.core import errors
from idaq.core.errors import IdaqError, MissingExtraError

CHECKOUT = Path(__file__).parents[1]


def _public_for_type_checkers() -> set[str]:
    tree = ast.parse((CHECKOUT / "idaq/__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {str(name.asname) for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}


def test_every_public_name_leads_somewhere_and_type_checkers_see_the_same_names() -> None:
    assert all(callable(getattr(idaq, name)) for name in idaq.__all__)
    assert set(idaq.__all__) == _public_for_type_checkers()
    assert set(idaq.__all__) <= set(dir(idaq))


def test_every_error_is_public() -> None:
    kinds = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, IdaqError)}
    assert kinds <= set(idaq.__all__)


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'idaq' has no attribute 'open_datasets'"):
        _ = idaq.open_datasets  # pyright: ignore[reportAttributeAccessIssue]


def test_collect_is_a_function_and_a_package() -> None:
    import idaq.collect.cells as cells

    assert idaq.collect.cells is cells  # pyright: ignore[reportFunctionMemberAccess]
    with pytest.raises(TypeError, match=r"collect\(\) missing 1 required positional argument"):
        idaq.collect()  # pyright: ignore[reportCallIssue]


def test_a_public_name_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "torch" or name.startswith("idaq.learn")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="training and adapting need PyTorch"):
        _ = idaq.train


def test_importing_idaq_or_its_command_line_brings_nothing_heavy() -> None:
    heavy = ["numpy", "pydantic", "gymnasium", "minari", "h5py", "pyarrow", "torch", "matplotlib", "joblib"]
    program = f"import idaq, idaq.cli, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert version("idaq") == idaq.__version__
    assert f"\nversion: {idaq.__version__}\n" in (CHECKOUT / "CITATION.cff").read_text()
