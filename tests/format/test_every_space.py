"""What the field has, the format holds: every space, extra columns, learning histories, unknown rewards, families."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from idaq.core.digest import episode_digest
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Episode
from idaq.format.difference import differences
from idaq.format.documents import About
from idaq.format.edit import Labels, relabelled, subset
from idaq.format.merge import merged
from idaq.format.reader import StoredDataset, open_stored
from idaq.format.verify import verify
from idaq.format.writer import DatasetSource, EpisodeEntry, write_dataset
from idaq.format.zarr.reader import open_zarr
from idaq.format.zarr.transfer import export_zarr, import_zarr
from idaq.loader import open_dataset
from idaq.testing.examples import EXAMPLES
from tests.format.sealing import alter_episodes, alter_hdf5, alter_metadata, problems, redigest, reseal, set_value
from tests.format.test_hdf5_structure import unproven

NEW = "idaq/examples/new-v0"


@pytest.fixture(params=EXAMPLES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> StoredDataset:
    return open_stored(write_dataset(EXAMPLES[request.param](), tmp_path / "root", "# a card\n"))


def digest_of(episode: Episode) -> str:
    """Of every column's name, dtype, shape and bytes."""
    return episode_digest(episode, task_index=0, seed=None)


def written(name: str, root: Path) -> Path:
    return write_dataset(EXAMPLES[name](), root, "")


def test_the_bytes_alone_prove_its_structure(stored: StoredDataset) -> None:
    assert unproven(stored) == []


def test_the_zarr_form_holds_it_and_gives_it_back(stored: StoredDataset, tmp_path: Path) -> None:
    export_zarr(stored, str(tmp_path / "form.zarr"))
    streamed, mapped = open_zarr(str(tmp_path / "form.zarr")), open_dataset(stored.path)
    for number in range(len(stored.episodes)):
        assert digest_of(streamed.episode(number)) == digest_of(mapped.episode(number))
    assert open_dataset(f"{tmp_path}/form.zarr").leaves.keys() == mapped.leaves.keys()
    again = open_stored(import_zarr(str(tmp_path / "form.zarr"), tmp_path / "again"))
    assert differences(stored, again) == []
    assert again.manifest.content_digest == stored.manifest.content_digest


def test_a_subset_and_a_merge_of_its_halves_are_the_whole_again(stored: StoredDataset, tmp_path: Path) -> None:
    everything = np.arange(len(stored.episodes))
    halves = []
    for number, keep in enumerate((everything < 4, everything >= 4)):
        source = subset(stored, f"idaq/examples/half-v{number}", keep, "subset")
        halves.append(open_stored(write_dataset(source, tmp_path / "root", "")))
    whole = open_stored(write_dataset(merged(halves, NEW, "same")[0], tmp_path / "root", ""))
    assert verify(whole.path) == []
    assert whole.manifest.content_digest == stored.manifest.content_digest
    assert whole.manifest.columns == stored.manifest.columns
    said = [d for d in differences(stored, whole) if d.level in ("columns", "spaces", "episodes", "values")]
    assert said == []


def test_a_relabelled_one_keeps_its_columns(stored: StoredDataset, tmp_path: Path) -> None:
    source = relabelled(stored, NEW, Labels(splits={}, behaviours={}))
    again = open_stored(write_dataset(source, tmp_path / "root", ""))
    assert again.manifest.columns == stored.manifest.columns
    assert np.array_equal(again.episodes.history, stored.episodes.history)
    assert np.array_equal(again.episodes.policy_step, stored.episodes.policy_step)
    assert again.manifest.content_digest == stored.manifest.content_digest


def test_datasets_of_two_families_with_equal_spaces_become_one(tmp_path: Path) -> None:
    mixed, wind = EXAMPLES["mixed"](), EXAMPLES["mixed"]()
    tasks = tuple(replace(t, family="point-robot-wind", params={"goal": [9.0, t.task_index]}) for t in wind.tasks)
    recipe = replace(wind.recipe, id="idaq/examples/wind-v0", family="point-robot-wind")
    entries = [replace(e, seed=n) for n, e in enumerate(wind.entries)]
    parts = [mixed, replace(wind, tasks=tasks, recipe=recipe, entries=entries)]
    made = [open_stored(write_dataset(part, tmp_path, "")) for part in parts]
    whole = open_stored(write_dataset(merged(made, NEW, "renumber")[0], tmp_path, ""))
    assert verify(whole.path) == []
    assert whole.manifest.family == whole.manifest.recipe.family == "mixed"
    assert [task.family for task in whole.tasks] == ["point-robot"] * 3 + ["point-robot-wind"] * 3
    assert [task.reset_options for task in whole.tasks[3:]] == [{"task": index} for index in (2, 5, 9)]


# -- what is not so ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "column", "index", "value", "text"),
    [
        ("discrete", "observations", 0, 81, "observations holds values that are not in its Discrete space"),
        ("discrete", "actions", 0, 3, "actions holds values that are not in its Discrete space"),
        ("counted", "observations", (0, 0, 0), 2, "observations holds values that are not in its MultiDiscrete space"),
        ("counted", "actions", (0, 1), 2, "actions holds values that are not in its MultiBinary space"),
        ("dictionary", "observations/phase", 1, -1, "observations/phase holds values that are not in its Discrete"),
        ("dictionary", "observations/state", (0, 0), np.nan, "observations/state holds NaN or infinity"),
        ("dictionary", "infos/contact/left", 0, 2, "infos/contact/left holds bytes other than 0 and 1"),
        ("reward-free", "rewards", 0, 1.0, "return is 1.0, stated nan"),
    ],
)
def test_a_value_that_cannot_be_is_named(
    example: str, column: str, index: Any, value: Any, text: str, tmp_path: Path
) -> None:
    path = written(example, tmp_path)

    def alter(file: Any) -> None:
        place = file[f"episode_1/{column}"]
        stored = place[()].view(np.uint8) if place.dtype == bool else place[()]
        stored[index] = value
        place.id.write(*(2 * (__import__("h5py").h5s.ALL,)), stored.view(place.dtype))

    alter_hdf5(path, alter)
    redigest(path, 1)
    assert text in problems(path)


@pytest.mark.parametrize(("example", "value"), [("reward-free", 0.0), ("mixed", None)])
def test_a_return_is_null_where_rewards_are_not_known_and_only_there(
    example: str, value: float | None, tmp_path: Path
) -> None:
    path = written(example, tmp_path)
    alter_episodes(path, lambda rows: rows["return"].__setitem__(3, value))
    assert "episode 3: return is" in problems(path)


@pytest.mark.parametrize("name", ["actions", "terminations", "infos/speed"])
def test_no_column_but_rewards_may_be_unknown(name: str, tmp_path: Path) -> None:
    path = written("dictionary", tmp_path)
    reseal(path, lambda manifest: manifest["columns"][name].update(known=False))
    assert f"column {name} cannot have" in problems(path)


def test_an_extra_column_may_hold_nan(tmp_path: Path) -> None:
    path = written("dictionary", tmp_path)
    set_value(path, 0, "log_prob", 0, np.nan)
    assert problems(path) == ""


def test_a_policy_that_unlearns_within_a_history_is_named(tmp_path: Path) -> None:
    path = written("discrete", tmp_path)
    table = open_stored(path).episodes
    assert table.history.tolist() == [-1, -1, -1, -1, 0, 0, 1, 1]
    alter_episodes(path, lambda rows: rows["policy_step"].__setitem__(4, 51))
    assert "of its history: stated [], found [5]" in problems(path)


@pytest.mark.parametrize(
    ("alter", "text"),
    [
        (lambda space: space["subspaces"].pop("phase"), "the observation space holds observations/camera/front, "),
        (lambda space: space["subspaces"].update(a={"type": "Discrete", "n": 2, "start": 0}), "is no Dict of named"),
        (lambda space: space["subspaces"].update({"z/z": space["subspaces"]["state"]}), "is no Dict of named spaces"),
        (lambda space: space["subspaces"]["phase"].update(n=0), "bounds that no value fits"),
        (lambda space: space["subspaces"]["phase"].update(n=4.0), "is no Box, Discrete, MultiDiscrete, MultiBinary"),
        (lambda space: space["subspaces"]["camera"].update(subspaces={}), "is no Dict of named spaces"),
        (
            lambda space: space["subspaces"]["state"].update(dtype="float32"),
            "is a Box of shape [3] and <f4, its column",
        ),
    ],
)
def test_a_space_of_other_columns_is_named_and_refused(
    alter: Callable[[Any], object], text: str, tmp_path: Path
) -> None:
    path = written("dictionary", tmp_path)

    def change(metadata: dict[str, Any]) -> None:
        space = json.loads(metadata["observation_space"])
        alter(space)
        metadata["observation_space"] = json.dumps(space)

    alter_metadata(path, change)
    assert text in problems(path)
    with pytest.raises(CorruptDatasetError) as caught:
        open_dataset(path)
    assert text in caught.value.message


# -- what a writer refuses -----------------------------------------------------------------------------------------


def with_extras(extras: dict[str, Any]) -> DatasetSource:
    source = EXAMPLES["mixed"]()

    def altered(entry: EpisodeEntry) -> EpisodeEntry:
        columns = {name: np.zeros(len(entry.episode) + later, np.float32) for name, later in extras.items()}
        return replace(entry, episode=replace(entry.episode, extras=columns))

    return replace(source, entries=[altered(entry) for entry in source.entries])


@pytest.mark.parametrize(
    ("extras", "text"),
    [
        ({"a b": 0}, "'a b' is no name of a column"),
        ({"../x": 0}, "'../x' is no name of a column"),
        ({"": 0}, "'' is no name of a column"),
        ({"x" * 201: 0}, "is no name of a column"),
        ({"infos": 0}, "the name 'infos' is that of a group"),
        ({"a": 0, "a/b": 0}, "the name 'a' is that of a group"),
        ({"rewards/x": 0}, "the name 'rewards' is that of a group"),
        ({f"x{n}": 0 for n in range(200)}, "it has 205 columns; 200 at most"),
        ({"x": -1}, "must have T + 1 observations and T of everything else"),
    ],
)
def test_names_and_rows_that_no_column_can_have_are_refused(extras: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        write_dataset(with_extras(extras), tmp_path, "")
    assert text in caught.value.message


def test_what_is_said_of_a_column_that_there_is_not_is_refused(tmp_path: Path) -> None:
    source = replace(EXAMPLES["mixed"](), about={"log_prob": About(unit="nat")})
    with pytest.raises(DatasetError, match="there is no column log_prob: the episodes have observations, actions"):
        write_dataset(source, tmp_path, "")


@pytest.mark.parametrize(
    "space",
    [
        gym.spaces.Tuple((gym.spaces.Discrete(2),)),
        gym.spaces.Text(5),
        gym.spaces.Dict({}),
        gym.spaces.Dict({"a/b": gym.spaces.Discrete(2)}),
    ],
)
def test_a_space_that_the_format_does_not_hold_is_refused(space: gym.Space[Any], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the format holds a Box, Discrete, MultiDiscrete or MultiBinary"):
        write_dataset(replace(EXAMPLES["mixed"](), observation_space=space), tmp_path, "")


def test_an_episode_knows_its_columns_and_comes_back_from_them() -> None:
    for make in EXAMPLES.values():
        for entry in make().entries:
            columns = entry.episode.columns
            assert list(columns)[-4 - len(entry.episode.extras) :][:4] == [
                "actions",
                "rewards",
                "terminations",
                "truncations",
            ]
            assert digest_of(Episode.from_columns(columns)) == digest_of(entry.episode)
