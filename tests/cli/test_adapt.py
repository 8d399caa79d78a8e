"""idaq adapt keeps what it made: told as it is, never replaced unasked, filmed without adapting again."""

import json
import shutil
from pathlib import Path

import pytest

from idaq.adapt.results import RESULTS, TRACE, read_results
from idaq.adapt.trace import STRATEGY
from idaq.collect.collect import Collected
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.cli.conftest import BRIEF, Idaq, settings
from tests.learn.test_loop import small_config

FIRST, SECOND = "best-of-prior", "posterior"


@pytest.fixture(scope="module")
def trained(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    train(open_dataset(collected.path), small_config(steps=20), out)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A trained run, not adapted."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def test_strategies_join_what_is_there_and_it_is_told(idaq: Idaq, run: Path) -> None:
    first = idaq("adapt", run, "--strategies", FIRST, *settings(BRIEF))
    assert f"{RESULTS}: kept nothing; to run {FIRST}" in first.err
    second = idaq("adapt", run, "--strategies", f"{SECOND},{FIRST}", *settings(BRIEF), "--json")
    assert f"{RESULTS}: kept {FIRST}; to run {SECOND}" in second.err
    assert set(json.loads(second.out)["strategies"]) == set(read_results(run).strategies) == {FIRST, SECOND}
    forced = idaq("adapt", run, "--strategies", SECOND, *settings(BRIEF), "--force")
    assert f"{RESULTS}: kept {FIRST}; to run {SECOND}" in forced.err


def test_other_settings_are_refused_replaced_or_written_elsewhere(idaq: Idaq, run: Path, tmp_path: Path) -> None:
    assert idaq("adapt", run, "--strategies", FIRST, *settings(BRIEF)).code == 0
    before = (run / RESULTS).read_bytes()
    other = ("--strategies", SECOND, *settings((*BRIEF, "seeds=3")))
    refused = idaq("adapt", run, *other)
    assert refused.code == 1
    assert "holds other results: config.seeds is 2, not 3" in refused.err
    assert (run / RESULTS).read_bytes() == before
    assert idaq("adapt", run, *other, "--out", tmp_path / "elsewhere").code == 0
    assert (run / RESULTS).read_bytes() == before
    assert idaq("adapt", run, *other, "--force").code == 0
    assert (run / RESULTS).read_bytes() == (tmp_path / "elsewhere" / RESULTS).read_bytes() != before
    assert idaq("adapt", run, run, "--out", tmp_path / "elsewhere").code == 2


def test_a_film_needs_no_second_adaptation(idaq: Idaq, run: Path) -> None:
    """Point robots draw themselves."""
    needed = idaq("adapt", run, "--video", *settings(BRIEF))
    assert needed.code == 0, needed.err
    assert f"kept nothing; to run {STRATEGY}" in needed.err
    assert "video.gif" in needed.err
    (run / "video.gif").unlink()
    before = (run / RESULTS).read_bytes(), (run / TRACE).read_bytes()
    again = idaq("adapt", run, "--video")
    assert f"kept {STRATEGY}; to run nothing" in again.err
    assert (run / "video.gif").stat().st_size > 1000
    assert ((run / RESULTS).read_bytes(), (run / TRACE).read_bytes()) == before
    (run / TRACE).unlink()
    assert f"kept nothing; to run {STRATEGY}" in idaq("adapt", run, "--video").err
    assert ((run / RESULTS).read_bytes(), (run / TRACE).read_bytes()) == before


def test_progress_counts_episodes_of_all_problems_and_strategies(idaq: Idaq, run: Path) -> None:
    """4 adaptation episodes and 2 fresh ones, of 2 test tasks with 2 seeds each, by 2 strategies."""
    done = idaq("adapt", run, "--strategies", f"{FIRST},{SECOND}", *settings(BRIEF))
    assert "48 of 48 episodes" in done.err
    assert "2 of 2 strategies done" in done.err
    assert done.err.splitlines()[0] == f"adapting {run}"


@pytest.mark.slow
def test_several_runs_are_adapted_side_by_side_to_the_same_results(idaq: Idaq, run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    third = Path(shutil.copytree(run, tmp_path / "third"))
    arguments = ("--strategies", f"{FIRST},{SECOND}", *settings(BRIEF))
    assert idaq("adapt", third, *arguments).code == 0
    (other / "results.json").write_bytes((third / "results.json").read_bytes().replace(b'"config"', b'"confiq"'))
    failed = idaq("adapt", run, other, *arguments)
    assert failed.code == 1
    assert f"replace it: idaq adapt {other} --force" in failed.err
    (other / "results.json").unlink()
    done = idaq("adapt", run, other, *arguments, "--jobs", "2")
    assert "96 of 96 episodes" in done.err, done.err
    for one in (run, other):
        assert (one / RESULTS).read_bytes() == (third / RESULTS).read_bytes()
    again = idaq("adapt", run, other, *arguments, "--jobs", "2")
    assert "0 of 0 episodes" in again.err


def test_a_device_is_looked_for_first(idaq: Idaq, run: Path) -> None:
    done = idaq("adapt", run, "--device", "cuda:77")
    assert (done.code, "there is no device 'cuda:77' here" in done.err) == (2, True)
    assert not (run / RESULTS).exists()
