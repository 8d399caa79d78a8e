"""Results are kept: strategies join results.json one by one, and only those of one agent, dataset and protocol."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from idaq.adapt.adapt import adapt, blank_results, episodes_to_run
from idaq.adapt.results import RESULTS, TRACE, Results, read_results, resume_results, write_results
from idaq.adapt.run import LOCK, load_run, resume_adaptation
from idaq.adapt.strategy import STRATEGIES, AdaptPlan, adaptation_plan
from idaq.adapt.trace import STRATEGY, has_trace
from idaq.collect.collect import Collected
from idaq.core.errors import DatasetNotFoundError, RunError
from idaq.learn.algorithm import Agent
from idaq.learn.loop import train
from idaq.learn.run import TaskSet, task_set
from idaq.loader import Dataset, open_dataset
from tests.learn.test_loop import small_config

SETTINGS = {
    "episodes": 3, "candidates": 3, "context": 20, "report_at": [1, 3], "seeds": 2,
    "offline_context": 30,
}  # fmt: skip
OTHERS = ["random-first", "offline-context"]
"""two that leave no trace"""


def plan(*names: str, **settings: Any) -> AdaptPlan:
    return adaptation_plan(names, {**SETTINGS, **settings})


CONFIG = plan().config


@pytest.fixture(scope="module")
def dataset(collected: Collected) -> Dataset:
    return open_dataset(collected.path)


@pytest.fixture(scope="module")
def agent(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return train(dataset, small_config(steps=20), tmp_path_factory.mktemp("runs") / "agent").agent


@pytest.fixture(scope="module")
def whole(agent: Agent, dataset: Dataset) -> Results:
    return adapt(agent, dataset, plan(STRATEGY, *OTHERS)).results


def test_strategies_join_those_that_are_there(agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path) -> None:
    first = resume_adaptation(tmp_path, agent, dataset, plan(STRATEGY))
    assert (list(first.there.strategies), first.to_run) == ([], (STRATEGY,))
    first.run()
    trace, counted = (tmp_path / TRACE).read_bytes(), list[int]()
    both = resume_adaptation(tmp_path, agent, dataset, plan(STRATEGY, *OTHERS))
    assert (list(both.there.strategies), both.to_run) == ([STRATEGY], tuple(OTHERS))
    assert both.run(counted.append) == read_results(tmp_path) == whole
    announced = episodes_to_run(CONFIG, plan(*OTHERS).strategies.values(), len(whole.tasks))
    assert sum(counted) == announced == both.episodes
    assert (tmp_path / TRACE).read_bytes() == trace
    assert resume_adaptation(tmp_path, agent, dataset, plan(*OTHERS)).run() == whole


def test_two_adaptations_of_one_run_at_once_keep_each_others_strategies(
    agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path
) -> None:
    one, other = (resume_adaptation(tmp_path, agent, dataset, plan(*names)) for names in ([STRATEGY], OTHERS))
    one.run()
    other.run()
    assert read_results(tmp_path).strategies == whole.strategies


def test_a_strategy_joins_the_results_while_no_other_process_writes_them(
    agent: Agent, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[str]()

    def locked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with pytest.raises(Timeout), FileLock(tmp_path / LOCK, timeout=0):
                pass
            seen.append(function.__name__)
            assert function is not write_results or has_trace(tmp_path)  # whoever sees the results finds it
            return function(*args, **kwargs)

        return call

    planned = resume_adaptation(tmp_path, agent, dataset, plan(STRATEGY))
    for function in (resume_results, write_results):
        monkeypatch.setattr(f"idaq.adapt.run.{function.__name__}", locked(function))
    planned.run()
    assert seen == ["resume_results", "write_results"]


def test_a_stopped_adaptation_runs_the_rest(agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path) -> None:
    def stop(name: str) -> None:
        assert name in read_results(tmp_path).strategies  # it is safe before anybody is told
        if name == OTHERS[0]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume_adaptation(tmp_path, agent, dataset, plan(*whole.strategies)).run(finished=stop)
    rest = resume_adaptation(tmp_path, agent, dataset, plan(*whole.strategies))
    assert rest.to_run == (OTHERS[1],)
    assert rest.run() == whole


def test_what_is_asked_for_again_runs_again_and_the_others_stay(
    agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path
) -> None:
    wrong = replace(whole.strategies[OTHERS[0]], returns=[])
    write_results(tmp_path, replace(whole, strategies={**whole.strategies, OTHERS[0]: wrong}))
    again = resume_adaptation(tmp_path, agent, dataset, plan(OTHERS[0]), again=[OTHERS[0]])
    assert again.run() == whole


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"config": replace(CONFIG, seeds=3)}, "config.seeds is 3, not 2"),
        ({"config": replace(CONFIG, report_at=[1, 2, 3])}, r"config.report_at is \[1, 2, 3\], not \[1, 3\]"),
        ({"each_budget": False}, "each_budget is False, not True"),
        ({"content_digest": "other"}, "content_digest is other, not "),
        ({"train_seed": 7}, "train_seed is 7, not 0"),
        ({"train_steps": 30}, "train_steps is 30, not 20"),
        ({"agent_digest": "other"}, "agent_digest is other, not "),
        ({"agent_digest": None}, "agent_digest is None, not "),
        ({"tasks": 1}, "tasks.* is None, not "),
    ],
)
def test_other_results_are_never_mixed_in(
    agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    if "tasks" in changes:
        changes = {"tasks": whole.tasks[:1]}
    write_results(tmp_path, replace(whole, **changes))
    (tmp_path / TRACE).write_bytes(b"of the other results")
    before = (tmp_path / RESULTS).read_bytes()
    with pytest.raises(RunError, match=named) as caught:
        resume_adaptation(tmp_path, agent, dataset, plan(*OTHERS))
    assert str(caught.value.hint).endswith(f"idaq adapt {tmp_path} --force")
    assert (tmp_path / RESULTS).read_bytes() == before
    replaced = resume_adaptation(tmp_path, agent, dataset, plan(OTHERS[0]), force=True)
    assert (tmp_path / RESULTS).read_bytes() == before, "nothing is replaced before there is something new"
    assert list(replaced.run().strategies) == OTHERS[:1]
    assert not has_trace(tmp_path)


def test_threads_make_no_other_results(agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path) -> None:
    write_results(tmp_path, replace(whole, config=replace(CONFIG, threads=3)))
    blank = blank_results(agent, task_set(dataset), CONFIG)
    assert resume_results(tmp_path, blank, {}).strategies == whole.strategies


def test_another_agent_of_the_same_seed_and_steps_is_noticed(dataset: Dataset, whole: Results, tmp_path: Path) -> None:
    write_results(tmp_path, whole)
    other = train(dataset, small_config(steps=20, lr_end=0.5), tmp_path / "other").agent
    with pytest.raises(RunError, match="agent_digest is"):
        resume_adaptation(tmp_path, other, dataset, plan(*OTHERS))


def test_damaged_results_are_told_and_replaced_on_request(agent: Agent, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / RESULTS).write_text('{"results_version": 1, "str')
    with pytest.raises(RunError, match="not valid JSON") as caught:
        resume_adaptation(tmp_path, agent, dataset, plan(*OTHERS))
    assert "--force" in str(caught.value)
    assert resume_adaptation(tmp_path, agent, dataset, plan(*OTHERS), force=True).to_run == tuple(OTHERS)


@pytest.mark.parametrize("settings", [{"candidates": 4}, {OTHERS[0]: {"context": 21}}])
def test_a_strategy_is_kept_only_with_the_settings_asked_for(
    agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path, settings: dict[str, Any]
) -> None:
    write_results(tmp_path, whole)
    changed = plan(STRATEGY, *OTHERS, **settings)
    with pytest.raises(RunError, match=r"(candidates is 3, not 4|context is 20, not 21)"):
        resume_adaptation(tmp_path, agent, dataset, changed)
    assert resume_adaptation(tmp_path, agent, dataset, changed, force=True).to_run == (STRATEGY, *OTHERS)


def test_a_run_adapts_without_its_dataset(
    collected: Collected, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(dataset, small_config(steps=20), run)
    there = load_run(run, collected.path.parents[2])
    assert isinstance(there.data, Dataset)
    assert there.notes == ()
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "dataset_path": str(tmp_path / "gone")}))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "empty"))
    alone = load_run(run)
    assert isinstance(alone.data, TaskSet)
    assert "no strategy can look at offline data" in alone.notes[0]
    able, notes = alone.able(plan(*STRATEGIES.builtin))
    assert set(STRATEGIES.builtin) - set(able.strategies) == {"in-context", "offline-context"}
    assert notes == ("offline-context is left out: it looks at the test tasks' offline data, and there is no dataset",)
    names = [STRATEGY, "posterior"]
    assert adapt(alone.agent, alone.data, plan(*names)).results == adapt(there.agent, there.data, plan(*names)).results
    with pytest.raises(RunError, match="strategy offline-context cannot run: it looks at"):
        adapt(alone.agent, alone.data, plan("offline-context"))
    (run / "tasks.json").unlink()
    with pytest.raises(DatasetNotFoundError):
        load_run(run)


def test_a_run_without_a_prior_has_it_inferred_from_the_dataset(
    collected: Collected, dataset: Dataset, tmp_path: Path
) -> None:
    """As of a training that was stopped."""
    run = tmp_path / "run"
    train(dataset, small_config(steps=20), run)
    root = collected.path.parents[2]
    kept = load_run(run, root).agent.prior
    (run / "prior.safetensors").unlink()
    inferred = load_run(run, root).agent.prior
    assert kept is not None
    assert inferred is not None
    assert inferred.beliefs.tobytes() == kept.beliefs.tobytes()
    assert (inferred.offline_return, inferred.random_return) == (kept.offline_return, kept.random_return)


def test_results_go_into_a_folder_that_is_made_for_them(
    agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path
) -> None:
    out = tmp_path / "a" / "b"
    assert resume_adaptation(out, agent, dataset, plan(OTHERS[0])).run().strategies == {
        OTHERS[0]: whole.strategies[OTHERS[0]]
    }
    assert read_results(out).strategies.keys() == {OTHERS[0]}


def test_a_trace_of_results_that_are_replaced_goes_with_them(
    agent: Agent, dataset: Dataset, whole: Results, tmp_path: Path
) -> None:
    write_results(tmp_path, replace(whole, train_seed=7))
    (tmp_path / TRACE).write_bytes(b"of the other results")
    resume_adaptation(tmp_path, agent, dataset, plan(OTHERS[0]), force=True).run()
    assert not (tmp_path / TRACE).exists()
