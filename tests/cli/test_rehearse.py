"""idaq rehearse: a table from a run folder alone, and what is missing is told with the command that makes it."""

import json
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.core.seeds import generator
from idaq.learn.checkpoint import load_agent, weights_digest
from idaq.learn.cross_returns import CROSS_RETURNS, CrossReturns, write_cross_returns
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.cli.conftest import Idaq
from tests.learn.test_loop import small_config


@pytest.fixture(scope="module")
def run(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run whose cross returns were measured: each task's own arm earns 10, any other less."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train(open_dataset(collected.path), small_config(steps=20), out)
    agent = load_agent(out)
    assert agent.prior is not None
    tasks = agent.prior.task_indices
    returns = generator(0).normal(size=(len(tasks), len(tasks), 1)) + 10 * np.eye(len(tasks))[..., None]
    write_cross_returns(out, CrossReturns(tasks=tasks, returns=returns), weights_digest(agent))
    return out


def test_it_prints_returns_differences_and_what_they_are_of(idaq: Idaq, run: Path) -> None:
    done = idaq("rehearse", run, "--budgets", "3,1")
    assert done.code == 0, done.err
    for words in ("after 1", "after 3", "policy-reuse", "best-average", "Minus best-of-prior (95% interval)"):
        assert words in done.out
    assert "No validation or test task was seen" in done.out
    assert "after 5" not in done.out


def test_strategies_settings_and_tasks_are_those_asked_for(idaq: Idaq, run: Path) -> None:
    asked = ("--strategies", "gaussian-process", "--tasks", "3", "--set", "seeds=2")
    done = idaq("rehearse", run, *asked, "--budgets", "1,2", "--json")
    summary = json.loads(done.out)
    assert set(summary["strategies"]) == {"gaussian-process", "best-of-prior"}
    assert (summary["tasks"], summary["seeds"], summary["runs"]) == (3, 2, 1)
    assert summary["settings"]["gaussian-process"]["features"] == "latents"
    assert [report["episodes"] for report in summary["strategies"]["gaussian-process"]] == [1, 2]
    assert all(report["mean"]["high"] < 8 for report in summary["strategies"]["gaussian-process"])
    assert "12 of 12" not in done.err
    assert "6 of 6 tasks" in done.err


@pytest.mark.parametrize(
    ("asked", "code", "told"),
    [
        (
            ("--strategies", "gaussian-process", "--set", "features=principal-components"),
            1,
            "no training task's belief",
        ),
        (("--budgets", "0,2"), 2, "--budgets '0,2' is no list"),
        (("--budgets", "few"), 2, "--budgets 1,2,5"),
        (("--set", "split=val"), 2, "split says nothing in a rehearsal"),
        (("--strategies", "idak"), 2, "idaq"),
    ],
)
def test_what_cannot_be_is_refused(idaq: Idaq, run: Path, asked: tuple[str, ...], code: int, told: str) -> None:
    done = idaq("rehearse", run, *asked)
    assert (done.code, told in done.err) == (code, True), done.err


def test_where_nothing_was_measured_the_command_is_told(idaq: Idaq, run: Path) -> None:
    (run / CROSS_RETURNS).unlink()
    done = idaq("rehearse", run)
    assert done.code == 1
    assert f"fix: idaq adapt {run} --strategies policy-reuse measures it" in done.err.replace("\n", " ")
