"""Episodes as RLDS steps; tests/interop writes and reads the files with TensorFlow Datasets itself."""

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from idaq.core.errors import UsageError
from idaq.core.types import ignore_progress
from idaq.format.reader import open_stored
from idaq.share.exporters.rlds import example_of, export_rlds
from idaq.share.exporting import each_episode
from tests.format.made import PLANS, entries_of
from tests.share.tagged import assert_tagged


def test_a_step_and_the_next_make_every_transition(made: Path) -> None:
    columns: dict[str, list[object]] = {"observation": [], "action": [], "reward": [], "next_observation": []}
    for entry in each_episode(open_stored(made), ignore_progress):
        steps = example_of(entry)["steps"]
        for now, after in pairwise(steps):
            for name in ("observation", "action", "reward"):
                columns[name].append(now[name])
            columns["next_observation"].append(after["observation"])
    assert_tagged(columns, tuple(columns))


def test_the_last_step_is_the_last_state_and_says_how_it_ended(made: Path) -> None:
    for entry, made_entry, plan in zip(
        each_episode(open_stored(made), ignore_progress), entries_of(), PLANS, strict=True
    ):
        example = example_of(entry)
        last, before = example["steps"][-1], example["steps"][:-1]
        ended = plan.ends in ("terminated", "both")
        np.testing.assert_array_equal(last["observation"], made_entry.episode.observations[-1])
        assert (last["is_last"], last["is_terminal"]) == (True, ended)
        assert not last["action"].any()
        assert not any(step["is_last"] or step["is_terminal"] for step in before)
        assert [step["is_first"] for step in example["steps"]] == [True] + [False] * plan.length
        assert [step["discount"] for step in before] == [1] * (plan.length - 1) + [0 if ended else 1]
        assert (example["terminated"], example["truncated"]) == (ended, plan.ends in ("truncated", "both"))
        assert (example["task_index"], example["seed"]) == (plan.task, str(made_entry.seed))


@pytest.mark.skipif(find_spec("tensorflow") is not None, reason="TensorFlow is installed")
def test_without_tensorflow_the_error_says_how_to_get_it(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pip install tensorflow-cpu"):
        export_rlds(open_stored(made), tmp_path / "rlds")
    assert list(tmp_path.iterdir()) == []
