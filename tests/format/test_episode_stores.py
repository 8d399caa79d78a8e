"""Everything that holds episodes passes the exported suite: mapped, from a Zarr form, another maker's in RAM."""

import json
import shutil
from pathlib import Path

from idaq.format.columns import map_columns
from idaq.format.episodes import EpisodeStore, FlatEpisodes
from idaq.format.minari_reader import read_plain_minari
from idaq.format.reader import open_stored
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr
from idaq.testing import EpisodeStoreContract


class TestMapped(EpisodeStoreContract):
    def store_of(self, dataset: Path, scratch: Path) -> EpisodeStore:
        stored = open_stored(dataset)
        return FlatEpisodes(map_columns(stored), stored.episodes.length)


class TestZarr(EpisodeStoreContract):
    def store_of(self, dataset: Path, scratch: Path) -> EpisodeStore:
        export_zarr(open_stored(dataset), str(scratch / "made.zarr"))
        return open_zarr(str(scratch / "made.zarr"))


class TestOtherMakers(EpisodeStoreContract):
    cannot_hold = ("expert_action", "log_prob")  # Minari reads infos, and no other extra column

    def store_of(self, dataset: Path, scratch: Path) -> EpisodeStore:
        shutil.rmtree(dataset / "data/idaq")
        metadata = json.loads((dataset / "data/metadata.json").read_text())
        del metadata["idaq"]
        (dataset / "data/metadata.json").write_text(json.dumps(metadata))
        plain = read_plain_minari(dataset)
        return FlatEpisodes(plain.columns, plain.episodes.length)
