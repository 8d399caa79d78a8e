"""Every setting of a run has the value of whoever goes first: the row there, the row, the dataset, the recipe."""

from pathlib import Path
from typing import Any

import pytest

from idaq.adapt.strategies import BestOfPrior, Idaq
from idaq.benchmark.bench import Bench
from idaq.benchmark.matrix import Matrix
from idaq.benchmark.rows import Place, Row, check_settings, make_rows, selected
from idaq.core.errors import ConfigError, PluginError, UnknownNameError, UsageError
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.loader import open_dataset
from tests.benchmark.conftest import CLONING, FOCAL, ID, matrix


def rows(asked: Matrix, root: Path, *notes: list[str], allow: tuple[str, ...] = ()) -> dict[str, Row]:
    place = Place(out=Path("out"), root=root, allow=allow)
    told: list[str] = notes[0] if notes else []
    check_settings(asked, told.append)
    return {row.label: row for row in make_rows(asked, {ID: open_dataset(ID, root)}, place)}


def focal(row: Row) -> FocalTd3BcConfig:
    assert isinstance(row.config, FocalTd3BcConfig)
    return row.config


def test_each_setting_has_the_value_of_who_goes_first(root: Path) -> None:
    asked = matrix(
        FOCAL,
        {**FOCAL, "label": "own", "train": {"learner.gamma": 0.7, "meta_batch": 6}},
        {**FOCAL, "label": "there", "train": {"learner.gamma": 0.7}, "on": {ID: {"learner.gamma": 0.6, "batch": 9}}},
        datasets=[{"id": ID, "train": {"learner.gamma": 0.8, "batch": 7}}],
    )
    plain, own, there = rows(asked, root).values()
    assert focal(plain).learner.alpha == 0.25  # the recipe's: the library's is 2.5
    assert focal(plain).learner.gamma == 0.8  # the dataset's beats the recipe's 0.9
    assert (focal(plain).batch, focal(plain).meta_batch) == (7, 16)
    assert (focal(own).learner.gamma, focal(own).batch, focal(own).meta_batch) == (0.7, 7, 6)
    assert (focal(there).learner.gamma, focal(there).batch, focal(there).learner.alpha) == (0.6, 9, 0.25)
    assert {focal(row).threads for row in (plain, own, there)} == {1}
    assert [job.train.settings["seed"] for job in plain.jobs.values()] == [0, 1]
    assert str(own.jobs[1].out) == "out/idaq-point-robot-expert-v0/own-seed1"


class PlainConfig(FocalTd3BcConfig):
    """Another algorithm, of the same settings."""


def test_the_recipes_settings_are_of_its_own_algorithm_alone(root: Path) -> None:
    other = rows(matrix({"algorithm": f"{__name__}:PlainConfig"}, datasets=[{"id": ID}]), root)
    (row,) = other.values()
    assert row.label == "tests.benchmark.test_rows-PlainConfig"
    assert isinstance(row.config, PlainConfig)
    assert (row.config.learner.alpha, row.config.learner.gamma) == (2.5, 0.99)


def test_what_passes_some_rows_by_is_told_once_and_what_reaches_none_is_refused(root: Path) -> None:
    notes = list[str]()
    bare = {"algorithm": "tests.plugins.idaq_maze.maml:MamlConfig", "label": "maml"}
    datasets: list[dict[str, Any]] = [
        {"id": ID, "train": {"ensemble.members": 3, "steps": 5}, "adapt": {"reference": 1}}
    ]
    made = rows(matrix(FOCAL, bare, datasets=datasets, strategies=["idaq", "posterior"]), root, notes)
    assert notes == [
        f"training settings of {ID}: ensemble.members is not a setting of maml",
        f"adaptation settings of {ID}: reference is not a setting of posterior",
    ]
    assert "ensemble" not in made["maml"].jobs[0].train.settings
    assert (made["maml"].config.steps, focal(made["focal-td3bc"]).ensemble.members) == (5, 3)
    with pytest.raises(ConfigError, match=r"no algorithm of the matrix has learner\.gama") as caught:
        rows(matrix(datasets=[{"id": ID, "train": {"learner.gama": 0.9}}]), root)
    assert "learner.gamma" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="no strategy of the matrix has reference"):
        rows(matrix(datasets=[{"id": ID, "adapt": {"reference": 9}}]), root)
    with pytest.raises(ConfigError, match=r"learner\.alpha"):
        rows(matrix({**FOCAL, "train": {"learner.alpha": "much"}}), root)


def test_settings_are_refused_before_anything_is_collected(tmp_path: Path) -> None:
    asked = matrix(FOCAL, datasets=[{"id": ID, "train": {"learner.gama": 0.9}}])
    bench = Bench(matrix=asked, named="small.toml", place=Place(out=tmp_path / "runs", root=tmp_path / "data"))
    with pytest.raises(ConfigError, match=r"learner\.gama"):
        bench.rows()
    assert list(tmp_path.iterdir()) == []


def test_a_setting_of_one_of_several_kinds_reaches_the_kind_that_is_there(root: Path) -> None:
    borel = rows(matrix({"algorithm": "borel"}, datasets=[{"id": ID, "train": {"learner.gamma": 0.8}}]), root)["borel"]
    assert borel.jobs[0].train.settings["learner"] == {"kind": "sac", "gamma": 0.8}


def test_the_protocol_is_the_matrixs_then_the_datasets(root: Path) -> None:
    datasets = [{"id": ID, "adapt": {"seeds": 3, "idaq": {"reference": 1}}}]
    row = rows(matrix(datasets=datasets, strategies=["idaq", "best-of-prior"]), root)["cloning"]
    protocol = row.plan.config
    assert (protocol.episodes, protocol.report_at, protocol.seeds, protocol.threads) == (2, [1, 2], 3, 1)
    idaq, prior = row.plan.strategies["idaq"], row.plan.strategies["best-of-prior"]
    assert isinstance(idaq, Idaq)
    assert isinstance(prior, BestOfPrior)
    assert idaq.reference == 1
    assert row.tasks == 2
    assert row.episodes(["idaq", "best-of-prior"]) == 2 * 2 * 3 * (2 + 2)
    by_half = rows(matrix(strategies=["idaq", "best-of-prior"]), root)["cloning"]
    assert by_half.episodes(["idaq"]) == 2 * 2 * ((1 + 1) + (2 + 1))


def test_what_is_measured_on_training_tasks_counts(root: Path) -> None:
    """So many of them, each under the policy of each, twice."""
    datasets = [{"id": ID, "adapt": {"cross_tasks": 2}}]
    row = rows(matrix(datasets=datasets, strategies=["best-average", "best-of-prior"]), root)["cloning"]
    alone, told = row.episodes(["best-of-prior"]), row.episodes(["best-average", "best-of-prior"])
    assert told == 2 * alone + 2 * row.training_tasks * 2


def test_names_that_lead_nowhere(root: Path) -> None:
    with pytest.raises(UnknownNameError, match="focal-td3bd"):
        rows(matrix({"algorithm": "focal-td3bd"}), root)
    with pytest.raises(UnknownNameError, match="posteriors"):
        rows(matrix(strategies=["posteriors"]), root)
    with pytest.raises(PluginError, match="no module"):
        rows(matrix({"algorithm": "no_such_module:Config"}), root)


def test_rows_are_selected_by_dataset_label_or_both() -> None:
    asked = matrix(FOCAL, CLONING, datasets=[{"id": ID}, {"id": "a/b/c-v0"}])

    def names(*only: str) -> list[str]:
        return [f"{dataset.id}/{algorithm.name}" for dataset, algorithm in selected(asked, only)]

    assert names() == [f"{ID}/focal-td3bc", f"{ID}/cloning", "a/b/c-v0/focal-td3bc", "a/b/c-v0/cloning"]
    assert names("cloning") == [f"{ID}/cloning", "a/b/c-v0/cloning"]
    assert names("*point-robot*") == names(ID) == [f"{ID}/focal-td3bc", f"{ID}/cloning"]
    assert names(f"{ID}/cl*", "a/*/focal*") == [f"{ID}/cloning", "a/b/c-v0/focal-td3bc"]
    with pytest.raises(UsageError, match="'clonin' names no row of small") as caught:
        names("focal-td3bc", "clonin")
    assert "cloning" in (caught.value.hint or "")
