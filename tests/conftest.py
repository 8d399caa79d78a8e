"""What many tests share: small datasets, collected or written once a session by the real code."""

import shutil
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

install_import_hook(["idaq.learn", "idaq.adapt"], "beartype.beartype")  # shapes and types are checked in every test

from idaq.collect.collect import Collected, collect
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from tests.format.made import PLANS, entries_of, made_recipe, made_source
from tests.recipes import small_recipe
from tests.slowness import pytest_collection_modifyitems, pytest_runtest_logreport, pytest_sessionfinish

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_logreport", "pytest_sessionfinish"]

hypothesis.settings.register_profile("idaq", deadline=None, derandomize=True)
hypothesis.settings.load_profile("idaq")


@pytest.fixture(scope="session")
def datasets_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A datasets root; what stands below it is shared, so no test may alter it."""
    return tmp_path_factory.mktemp("datasets")


@pytest.fixture(scope="session")
def collected(datasets_root: Path) -> Collected:
    """point-robot/expert: 8 tasks, 3 episodes each."""
    return collect(small_recipe(), datasets_root)


@pytest.fixture(scope="session")
def collected_mixed(datasets_root: Path) -> Collected:
    """point-robot-sparse/mixed: 8 tasks, 3 behaviours of 3 episodes each."""
    return collect(small_recipe("point-robot-sparse", "mixed"), datasets_root)


@pytest.fixture(scope="session")
def mixed(collected_mixed: Collected) -> Dataset:
    return open_dataset(collected_mixed.path)


@pytest.fixture
def own_copy(collected: Collected, datasets_root: Path, tmp_path: Path) -> Path:
    """A copy of the point-robot/expert dataset, in a root of its own, to be damaged."""
    target = tmp_path / "root" / collected.path.relative_to(datasets_root)
    shutil.copytree(collected.path, target)
    return target


@pytest.fixture(scope="session")
def made_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    write_dataset(made_source(), root, "# made by hand\n")
    return root


@pytest.fixture(scope="session")
def made(made_root: Path) -> Path:
    """A dataset of tagged values; no test may alter it."""
    return made_root / "idaq/made/tagged-v0"


@pytest.fixture
def damaged(made: Path, made_root: Path, tmp_path: Path) -> Path:
    """A copy of the hand-made dataset, to be damaged."""
    target = tmp_path / "damaged" / made.relative_to(made_root)
    shutil.copytree(made, target)
    return target


@pytest.fixture(scope="session")
def other_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the same id and other content."""
    return write_dataset(made_source(entries_of(PLANS[:5])), tmp_path_factory.mktemp("other"), "# other\n")


@pytest.fixture(scope="session")
def second_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of another id."""
    source = replace(made_source(), recipe=made_recipe("id=idaq/made/second-v0"))
    return write_dataset(source, tmp_path_factory.mktemp("second"), "# second\n")
