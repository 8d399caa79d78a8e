"""The hand-made dataset as the format's tests want it."""

from pathlib import Path

import pytest

from idaq.format.reader import StoredDataset, open_stored
from idaq.format.zarr.transfer import export_zarr


@pytest.fixture(scope="session")
def stored(made: Path) -> StoredDataset:
    return open_stored(made)


@pytest.fixture
def exported(stored: StoredDataset, tmp_path: Path) -> Path:
    """An export of the hand-made dataset in a local folder, to be damaged."""
    export_zarr(stored, str(tmp_path / "made.zarr"))
    return tmp_path / "made.zarr"
