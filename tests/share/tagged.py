"""What every export of the hand-made dataset must give back, from the tags alone."""

from typing import Any

import numpy as np

from tests.format.made import PLANS, tag

COLUMNS = (
    "observation",
    "action",
    "reward",
    "next_observation",
    "terminated",
    "truncated",
    "task_index",
    "episode",
    "step",
)


def tagged_rows() -> dict[str, Any]:
    """All 75 transitions in file order; each column (75, ...)."""
    rows = [(plan.task, number, step) for number, plan in enumerate(PLANS) for step in range(plan.length)]
    task, number, step = np.array(rows).T[..., None]
    plans = [PLANS[n] for n in number[:, 0]]
    last = step[:, 0] == [plan.length - 1 for plan in plans]
    return {
        "observation": tag(task, number, step, [0, 1, 2]),
        "action": tag(task, number, step, [4, 5]),
        "reward": tag(task, number, step, 8)[:, 0],
        "next_observation": tag(task, number, step + 1, [0, 1, 2]),
        "terminated": last & [plan.ends in ("terminated", "both") for plan in plans],
        "truncated": last & [plan.ends in ("truncated", "both") for plan in plans],
        "task_index": task[:, 0],
        "episode": number[:, 0],
        "step": step[:, 0],
        "task_id": np.array([f"task-{plan.task}" for plan in plans]),
        "behaviour": np.array([("expert", "random")[n % 2] for n in number[:, 0]]),
        "seed": np.array([2**64 - 1 - int(n) for n in number[:, 0]], np.uint64),
        "success": np.array([plan.ends == "terminated" for plan in plans]),
    }


TRANSITIONS = sum(plan.length for plan in PLANS)


def assert_tagged(found: dict[str, Any], columns: tuple[str, ...], keep: Any = slice(None)) -> None:
    """`found` holds the chosen transitions of all, in order, in these columns."""
    expected = tagged_rows()
    for name in columns:
        np.testing.assert_array_equal(np.asarray(found[name]), expected[name][keep], err_msg=name)
