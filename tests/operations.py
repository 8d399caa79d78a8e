"""What tests.failing lets fail: everything that writes datasets, hubs, runs."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from idaq.adapt.results import Results, read_results, write_results
from idaq.core.errors import CorruptDatasetError, DatasetNotFoundError
from idaq.format.lock import locked
from idaq.format.reader import open_stored
from idaq.format.store import delete_dataset, list_datasets
from idaq.format.verify import verify
from idaq.format.writer import write_dataset
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr
from idaq.hub.lookup import open_remote
from idaq.hub.push import push
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.checkpoint import restore, save_checkpoint
from idaq.learn.config import AgentSpec
from idaq.learn.latent.config import EncoderConfig, EnsembleConfig
from idaq.learn.learners.config import Td3BcConfig
from idaq.share.exporters.npz import export_npz
from tests.failing import Operation
from tests.format.made import made_source
from tests.writers import ID, WRITERS, Shared


def operations(folder: Path) -> dict[str, Operation]:
    """By name; `folder` takes what they work from."""
    torch.set_num_threads(1)
    shared = Shared(folder).make()
    stored = open_stored(shared.root / ID)

    def pushed(root: Path) -> None:
        with open_remote(f"file://{root / 'hub'}") as remote:
            push(stored.path, remote)

    writers = {
        name: Operation(act=lambda root, write=WRITERS[name]: write(shared, root), state=datasets)
        for name in ("subset", "merge", "import", "collect", "pull", "pull --tasks", "import zarr")
    }
    return {
        **writers,
        "push": Operation(act=pushed, state=datasets_of_hub),
        "delete": Operation(
            prepare=lambda root: write_dataset(made_source(), root, ""),
            act=delete,
            state=datasets,
        ),
        "export zarr": Operation(act=lambda root: export_zarr(stored, str(root / "made.zarr")), state=zarr),
        "export npz": Operation(act=lambda root: export_npz(stored, root / "made.npz"), state=file_of("made.npz")),
        "checkpoint": checkpoint(),
        "results": results(),
    }


def delete(root: Path) -> None:
    """What a killed deletion left is removed by the next writer."""
    with suppress(DatasetNotFoundError):
        delete_dataset(root / ID, root)
    with locked(root, ID, "test"):
        pass


def datasets(root: Path) -> str:
    """Ids and digests of what is listed, each of which must verify."""
    seen = []
    for listing in list_datasets(root):
        assert verify(listing.path) == []
        seen.append(f"{listing.dataset_id} {open_stored(listing.path).manifest.content_digest}")
    return ", ".join(seen)


def datasets_of_hub(root: Path) -> str:
    return datasets(root / "hub")


def zarr(root: Path) -> str:
    """The digest of the Zarr form, every episode read; none while it is refused as unfinished."""
    try:
        dataset = open_zarr(str(root / "made.zarr"))
    except DatasetNotFoundError:
        return ""
    except CorruptDatasetError as error:
        if "unfinished" not in error.message:
            raise
        return ""
    for number in range(len(dataset.episodes)):
        dataset.episode(number)
    return dataset.manifest.content_digest


def file_of(name: str):
    def state(root: Path) -> str:
        return hashlib.sha256((root / name).read_bytes()).hexdigest() if (root / name).exists() else ""

    return state


def checkpoint() -> Operation:
    """A third checkpoint, which takes the place of the first."""
    spec = AgentSpec(
        observation_mean=[0.0], observation_std=[1.0], change_std=[1.0], reward_mean=0.0, reward_std=1.0,
        action_centre=[0.0], action_scale=[1.0],
    )  # fmt: skip
    config = FocalTd3BcConfig(
        encoder=EncoderConfig(hidden=4, latent=2), learner=Td3BcConfig(hidden=4), ensemble=EnsembleConfig(hidden=4)
    )
    algorithm = config.create(spec, "cpu")

    def prepare(out: Path) -> None:
        for step in (10, 20):
            save_checkpoint(out, step, algorithm)

    return Operation(
        prepare=prepare,
        act=lambda out: save_checkpoint(out, 30, algorithm),
        state=lambda out: str(restore(out, algorithm)),
    )


def results() -> Operation:
    """results.json replaced by another."""
    from tests.evaluate.factory import make_results

    first: Results = make_results()
    second = replace(first, train_seed=first.train_seed + 1)
    return Operation(
        prepare=lambda run: write_results(run, first),
        act=lambda run: write_results(run, second),
        state=lambda run: str(read_results(run).train_seed),
    )
