"""What runs came to is kept seed by seed: nothing is lost, nothing is mixed, nothing is made up."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idaq.adapt.results import read_results
from idaq.benchmark.study.keeper import Keeper
from idaq.benchmark.study.results import KeptResults, read_kept, rounded, write_kept
from idaq.core.errors import RunError, UsageError
from tests.benchmark.conftest import FOCAL, ID, STRATEGIES, Ran, matrix

FILE = "small/idaq-point-robot-expert-v0.json"


def kept_of(ran: Ran, root: Path, folder: Path, seeds: Sequence[int], **changes: Any) -> Ran:
    """Keep the results of these training seeds of the runs that are there."""
    asked = Ran(matrix(FOCAL, seeds=list(seeds), **changes), ran.bench.place.out, root)
    Keeper(folder=folder, bench=asked.bench).begin(asked.rows)
    return asked


@pytest.fixture
def kept(ran: Ran, root: Path, tmp_path: Path) -> Path:
    """The file of both seeds."""
    kept_of(ran, root, tmp_path / "both", [0, 1])
    return tmp_path / "both" / FILE


def test_it_holds_what_the_runs_say_and_the_statistics_are_the_same(ran: Ran, kept: Path) -> None:
    document, jobs = read_kept(kept), ran.rows[0].jobs
    whole = [read_results(jobs[seed].out) for seed in (0, 1)]
    for seed, result in enumerate(whole):
        run, job = document.runs[seed], json.loads((jobs[seed].out / "job.json").read_text())
        for name in STRATEGIES:
            assert run.success[name] == result.strategies[name].success
            for task, there in zip(result.strategies[name].returns[1], run.returns[name][1], strict=True):
                assert there == pytest.approx(task, rel=1e-4)
        assert run.agent_digest == result.agent_digest
        assert run.cpu == {part: pytest.approx(job[part]["cpu"], abs=0.1) for part in ("train", "adapt")}
        assert run.versions == json.loads((jobs[seed].out / "run.json").read_text())["versions"]
    assert (document.tasks, document.config) == (whole[0].tasks, whole[0].config)
    assert (document.data.content_digest, document.train_steps) == (whole[0].content_digest, 12)
    assert {"steps=12", "learner.gamma=0.9"} <= set(document.settings)
    assert document.command == f"idaq bench small.toml --only {ID}"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_halves_of_the_seeds_make_the_same_bytes(
    ran: Ran, root: Path, kept: Path, tmp_path: Path, order: tuple[int, int]
) -> None:
    for seed in order:
        kept_of(ran, root, tmp_path / "halves", [seed])
    assert (tmp_path / "halves" / FILE).read_bytes() == kept.read_bytes()
    kept_of(ran, root, tmp_path / "halves", [1])  # once more: nothing changes
    assert (tmp_path / "halves" / FILE).read_bytes() == kept.read_bytes()


def test_a_seed_that_has_not_run_is_not_there(ran: Ran, root: Path, tmp_path: Path) -> None:
    kept_of(ran, root, tmp_path, [1, 7])
    assert list(read_kept(tmp_path / FILE).runs) == [1]
    kept_of(ran, root, tmp_path / "none", [8, 7])
    assert not (tmp_path / "none").exists()


def change(path: Path, **changes: Any) -> KeptResults:
    document = replace(read_kept(path), **changes)
    write_kept(path, document)
    return document


def test_other_data_protocol_or_settings_are_refused_beforehand(ran: Ran, root: Path, kept: Path) -> None:
    document = read_kept(kept)
    posterior = replace(document.strategies["posterior"], settings={"candidates": 20, "context": 7})
    changes = {
        "data.content_digest is ": {"data": replace(document.data, content_digest="0" * 64)},
        "config.seeds is 3, not 2": {"config": replace(document.config, seeds=3)},
        "train_steps is 13, not 12": {"train_steps": 13},
        "settings is ": {"settings": ["steps=12"]},
        "strategies.posterior.settings.context is 7, not 100": {"strategies": {"posterior": posterior}},
        "tasks is ": {"tasks": document.tasks[:1]},
    }
    for message, changed in changes.items():
        write_kept(kept, replace(document, **changed))
        before = kept.read_bytes()
        with pytest.raises(RunError, match=f"holds results of another kind: {message}") as caught:
            kept_of(ran, root, kept.parents[1], [0])
        assert "remove that file" in str(caught.value.hint)
        assert kept.read_bytes() == before
    write_kept(kept, replace(document, strategies={"posterior": posterior}))
    with pytest.raises(RunError, match="another kind"):  # before any run has finished, too
        kept_of(ran, root, kept.parents[1], [9])


def test_another_agent_takes_the_seeds_place_and_that_is_told(ran: Ran, root: Path, kept: Path) -> None:
    document = read_kept(kept)
    change(kept, runs={**document.runs, 1: replace(document.runs[1], agent_digest="another")})
    asked = kept_of(ran, root, kept.parents[1], [1])
    assert asked.notes == [f"{ID}: training seed 1 replaced: another agent than before"]
    assert read_kept(kept) == document


def test_a_strategy_that_was_not_asked_for_again_stays(ran: Ran, root: Path, kept: Path) -> None:
    before = kept.read_bytes()
    run, out = read_kept(kept).runs[0], ran.rows[0].jobs[0].out
    more = {"returns": run.returns | {"other": run.returns["posterior"]}, "success": run.success | {"other": []}}
    document = read_kept(kept)
    other = document.strategies | {"other": document.strategies["posterior"]}
    change(kept, runs={**document.runs, 0: replace(run, **more)}, strategies=other)
    assert out.is_dir()
    kept_of(ran, root, kept.parents[1], [0, 1])
    after = read_kept(kept)
    assert list(after.runs[0].returns) == [*STRATEGIES, "other"]
    assert after.strategies["other"] == other["other"]
    assert (after.seeds("posterior"), after.seeds("posterior", "other")) == ([0, 1], [0])
    assert kept.read_bytes() != before


def test_a_run_that_diverged_is_named_and_has_no_numbers(ran: Ran, root: Path, kept: Path) -> None:
    change(kept, diverged={0: "step 3: loss is nan", 4: "step 3: loss is nan"})
    kept_of(ran, root, kept.parents[1], [0])
    assert read_kept(kept).diverged == {4: "step 3: loss is nan"}


def test_rows_of_two_algorithms_are_refused(ran: Ran, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has several rows"):
        Keeper(folder=tmp_path, bench=ran.bench).begin(ran.rows)


def test_the_bench_tells_of_each_run_as_it_finishes(root: Path, tmp_path: Path) -> None:
    asked = Ran(matrix(FOCAL, seeds=2), tmp_path / "out", root)
    there = list[list[int]]()

    def keep(row: Any) -> None:
        Keeper(folder=tmp_path, bench=asked.bench).keep(row)
        there.append(list(read_kept(tmp_path / FILE).runs))

    asked.bench.run(asked.estimate, finished=keep)
    assert there == [[0], [0, 1]]


def test_returns_have_five_digits() -> None:
    assert [rounded(value) for value in (-4.1234567, 4321.987, 0.0, 123456.7)] == [-4.1235, 4322.0, 0.0, 123460.0]
