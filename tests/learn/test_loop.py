"""Training: the same bits from the same seed, through interruptions, and a stop at the first NaN."""

import math
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
import torch

from idaq.collect.collect import Collected
from idaq.core import files, interrupts
from idaq.core.errors import CheckpointError, NonFiniteError, RunError
from idaq.core.metrics import METRICS, read_metrics
from idaq.format.reader import open_stored
from idaq.format.zarr.transfer import export_zarr
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.checkpoint import checkpoints, load_agent, step_of
from idaq.learn.latent.algorithm import LatentAlgorithm
from idaq.learn.latent.config import EncoderConfig, EnsembleConfig
from idaq.learn.learners.config import Td3BcConfig
from idaq.learn.loop import agent_spec, train, use_threads
from idaq.learn.run import RUN, claimed, read_run
from idaq.loader import Dataset, MetaBatches, open_dataset

CORES = min(len(os.sched_getaffinity(0)), 8)


def small_config(**changes: object) -> FocalTd3BcConfig:
    base = FocalTd3BcConfig(
        batch=8,
        meta_batch=4,
        context=10,
        threads=1,
        steps=60,
        checkpoint_every=20,
        log_every=4,
        encoder=EncoderConfig(hidden=16, latent=4),
        learner=Td3BcConfig(hidden=16),
        ensemble=EnsembleConfig(hidden=8),
    )
    return FocalTd3BcConfig(**{**base.__dict__, **changes})


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of `small_config()`."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(dataset, small_config(), out)
    return out


def weights(out: Path) -> bytes:
    return checkpoints(out)[-1].read_bytes()


def test_the_same_seed_gives_the_same_bits(dataset: Dataset, finished: Path, tmp_path: Path) -> None:
    train(dataset, small_config(), tmp_path / "again")
    assert (tmp_path / "again" / METRICS).read_bytes() == (finished / METRICS).read_bytes()
    assert weights(tmp_path / "again") == weights(finished)


def test_another_seed_gives_others(dataset: Dataset, finished: Path, tmp_path: Path) -> None:
    train(dataset, small_config(seed=1), tmp_path / "other")
    assert weights(tmp_path / "other") != weights(finished)


def test_where_the_rows_come_from_changes_nothing(
    dataset: Dataset, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Dataset, "_fits", lambda self: False)
    train(dataset, small_config(), tmp_path / "mapped")
    assert weights(tmp_path / "mapped") == weights(finished)


@pytest.mark.parametrize("stop_at", [1, 19, 20, 21, 45, 59])
def test_resuming_equals_never_stopping(dataset: Dataset, finished: Path, tmp_path: Path, stop_at: int) -> None:
    class Stop(Exception):
        pass

    seen = 0

    def stop(count: int) -> None:
        nonlocal seen
        seen += count
        if seen >= stop_at:
            raise Stop

    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        train(dataset, small_config(), out, progress=stop)
    resumed = train(dataset, small_config(), out)
    assert resumed.resumed_at == stop_at // 20 * 20
    assert (out / METRICS).read_bytes() == (finished / METRICS).read_bytes()
    assert weights(out) == weights(finished)


@pytest.mark.parametrize("stop_at", [1, 19, 20, 33, 59])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_of_its_step(
    dataset: Dataset, finished: Path, tmp_path: Path, stop_at: int, number: signal.Signals
) -> None:
    """Real signals; the next run ends as if there had been none."""
    out, steps = tmp_path / "stopped", [0]

    def interrupt(count: int) -> None:
        steps.append(steps[-1] + count)
        if steps[-1] == stop_at:
            os.kill(os.getpid(), number)

    with hearing_ctrl_c(), pytest.raises(KeyboardInterrupt):
        train(dataset, small_config(), out, progress=interrupt)
    assert train(dataset, small_config(), out).resumed_at == stop_at + 1
    assert (out / METRICS).read_bytes() == (finished / METRICS).read_bytes()
    assert weights(out) == weights(finished)


def test_two_trainings_of_one_run_at_once_are_refused(dataset: Dataset, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared"
    with claimed(out), pytest.raises(RunError, match="another training writes"):
        train(dataset, small_config(), out)
    train(dataset, small_config(), out)
    assert weights(out) == weights(finished)


def test_the_second_signal_leaves_at_once_and_the_old_checkpoint(
    dataset: Dataset, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of writing the new one."""
    out, real = tmp_path / "stopped", files.replacing
    monkeypatch.setattr(interrupts, "_ECHO", 0.0)

    @contextmanager
    def interrupted_again(path: Path) -> Iterator[Path]:
        with real(path) as temporary:
            if path.name == "step-00000034.safetensors":
                temporary.write_bytes(b"half a checkpoint")
                os.kill(os.getpid(), signal.SIGTERM)
            yield temporary

    monkeypatch.setattr(files, "replacing", interrupted_again)
    done = iter(range(100))
    with hearing_ctrl_c(), pytest.raises(KeyboardInterrupt):
        train(
            dataset,
            small_config(),
            out,
            progress=lambda _: os.kill(os.getpid(), signal.SIGTERM) if next(done) == 33 else None,
        )
    assert [step_of(path) for path in checkpoints(out)] == [20]
    assert sorted(path.name for path in (out / "checkpoint").iterdir()) == ["step-00000020.safetensors"]
    assert train(dataset, small_config(), out).resumed_at == 20
    assert weights(out) == weights(finished)


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """As in a shell's foreground; a signal that comes soon after another test's is none of its echoes."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts._INTERRUPTS._last = -math.inf
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_kill_leaves_half_done_is_mended(dataset: Dataset, finished: Path, tmp_path: Path) -> None:
    """In the middle of a line of metrics, of a checkpoint, and between a new checkpoint and the end of an old one."""
    out = tmp_path / "killed"
    shutil.copytree(finished, out)
    checkpoints(out)[-1].unlink()
    shutil.copy(checkpoints(out)[-1], out / "checkpoint/step-00000019.safetensors")
    (out / "checkpoint/.step-00000047.safetensors.123.tmp").write_bytes(b"half")
    lines = (finished / METRICS).read_text().splitlines(keepends=True)
    (out / METRICS).write_text("".join(lines[:12]) + lines[12][:9])
    assert train(dataset, small_config(), out).resumed_at == 40
    assert (out / METRICS).read_bytes() == (finished / METRICS).read_bytes()
    assert weights(out) == weights(finished)
    assert [path.name for path in sorted((out / "checkpoint").iterdir())] == [
        "step-00000040.safetensors",
        "step-00000060.safetensors",
    ]


def test_a_finished_run_is_left_alone(dataset: Dataset, finished: Path) -> None:
    before = weights(finished)
    assert train(dataset, small_config(), finished).resumed_at == 60
    assert weights(finished) == before


def train_in_turn(dataset: Path, config: FocalTd3BcConfig, outs: list[Path], started: Event) -> None:
    """What the killed processes run."""
    started.set()
    for out in outs:
        train(open_dataset(dataset), config, out)


@pytest.mark.slow
def test_thirty_kills_end_in_the_same_loss_trace(collected: Collected, tmp_path: Path) -> None:
    """SIGKILL at random moments of a real process, each followed by the same command."""
    config = small_config(steps=400, checkpoint_every=40, log_every=10)
    reference, outs = tmp_path / "reference", [tmp_path / f"killed-{i}" for i in range(10)]
    train(open_dataset(collected.path), config, reference)
    processes = multiprocessing.get_context("forkserver")  # torch is imported once, in the server
    processes.set_forkserver_preload(["idaq.learn.loop"])
    rng, kills, code = random.Random(7), 0, None
    while code != 0:
        started = processes.Event()
        process = processes.Process(target=train_in_turn, args=(collected.path, config, outs, started))
        process.start()
        if kills < 30:
            started.wait()
            time.sleep(rng.uniform(0.0, 0.5))
            process.kill()
        process.join()
        code, kills = process.exitcode, kills + (process.exitcode == -signal.SIGKILL)
        assert code in (0, -signal.SIGKILL)
    assert kills == 30
    for out in outs:
        assert (out / METRICS).read_bytes() == (reference / METRICS).read_bytes()
        assert weights(out) == weights(reference)


def test_nan_stops_with_the_last_good_checkpoint_kept(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idaq.learn import loop

    real = loop.training_step

    def poisoned(algorithm: LatentAlgorithm, sampler: MetaBatches, seed: int, step: int) -> dict[str, torch.Tensor]:
        if step == 33:
            with torch.no_grad():
                next(algorithm.networks.policy.critic.parameters()).fill_(float("nan"))
        return real(algorithm, sampler, seed, step)

    monkeypatch.setattr(loop, "training_step", poisoned)
    with pytest.raises(
        NonFiniteError, match=r"step 36: .*critic_loss.*last good checkpoint is .*step-00000020"
    ) as caught:
        train(dataset, small_config(), tmp_path / "nan")
    assert caught.value.hint is not None
    assert "learner.lr" in caught.value.hint
    assert [path.name for path in checkpoints(tmp_path / "nan")] == ["step-00000020.safetensors"]
    assert all(np.isfinite(list(line.values())).all() for line in read_metrics(tmp_path / "nan"))


def test_nan_in_a_weight_that_no_logged_loss_shows_is_never_checkpointed(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idaq.learn import loop

    real = loop.training_step

    def poisoned(algorithm: LatentAlgorithm, sampler: MetaBatches, seed: int, step: int) -> dict[str, torch.Tensor]:
        info = real(algorithm, sampler, seed, step)
        if step == 19:
            with torch.no_grad():
                next(algorithm.networks.encoder.parameters()).view(-1)[0] = float("inf")
        return info

    monkeypatch.setattr(loop, "training_step", poisoned)
    with pytest.raises(NonFiniteError, match="step 19: NaN or infinity in weights"):
        train(dataset, small_config(), tmp_path / "inf")
    assert not checkpoints(tmp_path / "inf")


def test_another_config_or_dataset_is_refused(dataset: Dataset, collected_mixed: Collected, finished: Path) -> None:
    with pytest.raises(RunError, match=r"another config: learner.alpha is 2.5, not 1.0") as caught:
        train(dataset, small_config(learner=Td3BcConfig(hidden=16, alpha=1.0)), finished)
    assert "another --out" in str(caught.value)
    with pytest.raises(RunError, match="other content"):
        train(open_dataset(collected_mixed.path), small_config(), finished)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(dataset: Dataset, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "damaged"
    shutil.copytree(finished, out)
    newest = checkpoints(out)[-1]
    newest.write_bytes(newest.read_bytes()[:100])
    assert train(dataset, small_config(), out).resumed_at == 40
    assert weights(out) == weights(finished)
    for path in checkpoints(out):
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        load_agent(out)


def test_a_run_that_is_none_says_so(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(RunError, match="is not a run directory"):
        read_run(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / RUN).write_text("{")
    with pytest.raises(RunError, match="is not valid JSON"):
        read_run(broken)
    shutil.copy(finished / RUN, broken / RUN)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        load_agent(broken)


def test_checkpoints_hold_targets_optimisers_and_normalisation(dataset: Dataset, finished: Path) -> None:
    from safetensors import safe_open

    with safe_open(checkpoints(finished)[-1], framework="np") as file:
        names = set(file.keys())
    assert {"agent.observation_mean", "agent.policy.target_critic.weights.0", "optimiser.main.0.exp_avg"} <= names
    loaded = load_agent(finished)
    spec = agent_spec(dataset, dataset.select(split="train").transitions().statistics())
    fresh = small_config().create(spec, "cpu").agent(None)
    assert loaded.tensors().keys() == fresh.tensors().keys()


def test_only_training_tasks_are_learned_from(dataset: Dataset, finished: Path) -> None:
    table = dataset.select(split="train").transitions()
    assert read_run(finished).spec == agent_spec(dataset, table.statistics())
    assert set(table.task_indices.tolist()) == set(dataset.manifest.splits["train"])  # type: ignore[union-attr]


def test_losses_fall(dataset: Dataset, tmp_path: Path) -> None:
    train(dataset, small_config(steps=400, log_every=20, batch=64), tmp_path / "run")
    lines = read_metrics(tmp_path / "run")
    for name in ("focal_push", "critic_loss", "prediction_loss", "cloning"):
        assert np.mean([line[name] for line in lines[-5:]]) < 0.9 * lines[0][name], name


def test_a_pool_that_holds_part_of_the_data_trains_and_resumes_exactly(collected: Collected, tmp_path: Path) -> None:
    """Read from Zarr, some episodes of each task at a time."""
    export_zarr(open_stored(collected.path), str(tmp_path / "x.zarr"))
    streamed = open_dataset(tmp_path / "x.zarr")
    config = small_config(pool=1, steps=40)
    train(streamed, config, tmp_path / "whole")
    train(open_dataset(collected.path), config, tmp_path / "mapped")
    assert (tmp_path / "whole" / METRICS).read_bytes() == (tmp_path / "mapped" / METRICS).read_bytes()
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    checkpoints(tmp_path / "cut")[-1].unlink()
    assert train(streamed, config, tmp_path / "cut").resumed_at == 20
    assert (tmp_path / "cut" / METRICS).read_bytes() == (tmp_path / "whole" / METRICS).read_bytes()
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.parametrize(
    ("asked", "environment", "used"), [(3, "2", 3), (0, "3", 3), (0, "", CORES), (0, "2,1", CORES), (0, "0", 1)]
)
def test_threads_are_those_asked_for_then_openmps_then_one_a_core(
    monkeypatch: pytest.MonkeyPatch, asked: int, environment: str, used: int
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", environment)
    use_threads(asked)
    told = torch.get_num_threads()
    torch.set_num_threads(before)
    assert told == used
