"""The loader: random transitions by map and from RAM against Minari's episode API, h5py, and a NumPy array in RAM."""

from collections.abc import Callable

import h5py
import minari
import numpy as np
import pytest

from idaq.format.columns import Columns, FlatColumn
from idaq.format.reader import EpisodeTable
from idaq.loader import Dataset, TransitionTable
from tests.bench.conftest import seconds

ROWS = 4096


def compare_gathers(mapped: TransitionTable, ram: TransitionTable) -> tuple[dict[str, float], np.ndarray]:
    """Seconds of each way to gather the same 4,096 random transitions."""
    rows = np.random.default_rng(0).integers(len(ram), size=ROWS)
    everything = ram.gather(np.arange(len(ram)))
    flags = np.stack([everything.rewards, everything.terminated], 1)
    array = np.concatenate([everything.observations, everything.actions, everything.next_observations, flags], 1)
    names = ("map", "ram", "one array, array[rows]", "one array, array.take(rows, 0)", "five arrays, array[rows]")
    times = seconds(
        lambda: mapped.gather(rows),
        lambda: ram.gather(rows),
        lambda: array[rows],
        lambda: array.take(rows, 0),
        lambda: everything[rows],
        repeats=15,
        calls=20,
    )
    return dict(zip(names, times, strict=True)), rows


def report(say: Callable[[str], None], title: str, times: dict[str, float]) -> None:
    best = times["one array, array[rows]"]
    for name, taken in times.items():
        rate = ROWS / taken / 1e6
        say(f"{title}, {name}: {taken * 1e6:,.0f} us, {rate:,.1f} M transitions/s, {taken / best:.2f}x array[rows]")


def test_against_numpy_in_ram(say: Callable[[str], None], dataset: Dataset) -> None:
    times, _ = compare_gathers(dataset.transitions("map"), dataset.transitions("ram"))
    report(say, "point-robot (8 numbers a transition)", times)
    assert times["ram"] < 3 * times["one array, array[rows]"]
    assert times["map"] < 3 * times["five arrays, array[rows]"]


def test_against_numpy_in_ram_with_wide_observations(say: Callable[[str], None], dataset: Dataset) -> None:
    """39 numbers an observation, 500 steps: the shape of a manipulation dataset. Rows are no power of two."""
    wide, episodes = wide_columns(episodes=200, steps=500, size=39, actions=4)
    numbers = np.arange(200)
    times, _ = compare_gathers(TransitionTable(wide, episodes, numbers), TransitionTable(wide, episodes, numbers, True))
    report(say, "wide (84 numbers a transition)", times)
    assert times["ram"] < 3 * times["one array, array[rows]"]
    assert times["map"] < 3 * times["one array, array[rows]"]


@pytest.mark.filterwarnings("ignore")
def test_against_the_episode_api_and_h5py(
    say: Callable[[str], None], dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """256 random transitions: Minari must read an episode for each; counting all its steps as useful is said too."""
    root = dataset.path.parents[dataset.dataset_id.count("/")]
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    theirs = minari.load_dataset(dataset.dataset_id)
    table = dataset.transitions("map")
    rng = np.random.default_rng(0)
    rows, picks = rng.integers(len(table), size=256), rng.integers(len(dataset), size=256)

    def by_h5py() -> None:
        with h5py.File(dataset.path / "data" / "main_data.hdf5") as file:
            for episode in picks.tolist():
                group = file[f"episode_{episode}"]
                _ = group["observations"][3:5], group["actions"][3], group["rewards"][3], group["terminations"][3]

    ours, episode_api, direct = seconds(
        lambda: table.gather(rows), lambda: theirs.sample_episodes(256), by_h5py, repeats=5
    )
    rate = {"map": 256 / ours, "episodes": 256 / episode_api, "h5py": 256 / direct}
    say(
        f"256 random transitions: map {ours * 1e6:,.0f} us; Minari sample_episodes {episode_api * 1e3:,.0f} ms "
        f"({rate['map'] / rate['episodes']:,.0f}x); h5py indexing {direct * 1e3:,.0f} ms "
        f"({rate['map'] / rate['h5py']:,.0f}x); with all 20 steps of an episode counted as useful, Minari is "
        f"{rate['map'] / rate['episodes'] / 20:,.0f}x slower"
    )
    big = seconds(lambda: table.gather(rng.integers(len(table), size=ROWS)), repeats=9, calls=5)[0]
    ratio = (ROWS / big) / rate["episodes"]
    say(f"{ROWS} random transitions by map: {ROWS / big / 1e6:,.1f} M/s, {ratio:,.0f}x the episode API's rate")
    assert ratio > 500


def wide_columns(episodes: int, steps: int, size: int, actions: int) -> tuple[Columns, EpisodeTable]:
    """Columns as they lie in a file, offsets on 64-byte boundaries, filled with random numbers."""
    rng = np.random.default_rng(1)
    shapes = {
        "observations": (steps + 1, size),
        "actions": (steps, actions),
        "rewards": (steps,),
        "terminations": (steps,),
    }
    columns: Columns = {}
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        stride = -(-count // 64) * 64
        flat = rng.random(stride * episodes).astype(np.float32)
        values = flat > 2 if name == "terminations" else flat
        columns[name] = FlatColumn(
            flat=values, offsets=np.arange(episodes) * stride, shape=shape[1:], extra_row=name == "observations"
        )
    return columns, table_of(episodes, steps)


def table_of(episodes: int, steps: int) -> EpisodeTable:
    """Episodes of one task and one length."""
    return EpisodeTable(
        task_index=np.zeros(episodes, np.int64),
        behaviour=np.full(episodes, "expert"),
        history=np.full(episodes, -1),
        policy_step=np.full(episodes, -1),
        seed=np.zeros(episodes, np.uint64),
        seed_known=np.ones(episodes, bool),
        length=np.full(episodes, steps),
        total_reward=np.zeros(episodes),
        success=np.zeros(episodes, bool),
        success_known=np.ones(episodes, bool),
        terminated=np.zeros(episodes, bool),
        truncated=np.ones(episodes, bool),
        offsets={},
        digest=np.full(episodes, ""),
    )
