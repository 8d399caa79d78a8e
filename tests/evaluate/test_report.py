"""The report: one whole HTML file, whatever is missing and whatever the documents say."""

import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from idaq.adapt.results import TRACE
from idaq.catalogue.entries import catalogue_recipe
from idaq.collect.collect import collect
from idaq.core.errors import RunError
from idaq.core.metrics import METRICS
from idaq.evaluate.report import median_task, read_whole_trace, write_report
from idaq.evaluate.runs import load_runs
from idaq.loader import Dataset, open_dataset
from tests.evaluate.factory import make_results, make_run

HOSTILE = 'x/<script>alert(1)</script>\'"&$--><svg onload="go()">-v0'
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a page holds; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    settings = ["episodes=3", "splits.sizes={train = 4, val = 1, test = 3}", "reference.random_episodes=2"]
    recipe = catalogue_recipe("point-robot", "expert", settings)
    return open_dataset(collect(recipe, tmp_path_factory.mktemp("data")).path)


def runs_on(folder: Path, dataset: Dataset, seeds: int = 2) -> list[Path]:
    """Runs that look as if trained on `dataset`."""
    assert dataset.manifest is not None
    tests = [task for task in dataset.all_tasks if task.split == "test"]
    training = [task.task_index for task in dataset.all_tasks if task.split == "train"]
    paths = []
    for seed in range(seeds):
        made = make_results(train_seed=seed, tasks=len(tests), digest=dataset.manifest.content_digest)
        named = [
            replace(there, task_id=task.task_id, task_index=task.task_index, params=task.params)
            for there, task in zip(made.tasks, tests, strict=True)
        ]
        paths.append(make_run(folder / f"run{seed}", replace(made, tasks=named), training=training))
    return paths


def check_self_contained(text: str, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "iframe", "link", "object", "embed", "img")
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/png;")), (tag, attributes)
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', text))
    assert used <= set(ids)


def test_a_full_report(tmp_path: Path, dataset: Dataset) -> None:
    out = write_report(runs_on(tmp_path, dataset), dataset, tmp_path / "report.html")
    assert out == tmp_path / "report.html"
    text = out.read_text(encoding="utf-8")
    page = Page(text)
    check_self_contained(text, page)
    assert page.count("svg") == page.count("figcaption") == page.count("details") == 6
    assert page.count("h1") == 1
    assert "After 4 online episodes on each of 3 new tasks, idaq reaches" in page.text
    assert "ahead of the best rival, best-of-prior" in page.text
    for said in (
        dataset.manifest.content_digest,  # type: ignore[union-attr]
        "2 training runs (seeds 0, 1; 40 steps), 3 test tasks, 2 adaptation seeds",
        "random actions (-20.00, 0%) to the behaviour policies of the same tasks (-4.50, 100%)",
        "4 train, 1 val, 3 test",
        "train.learner.alpha",
        "numpy 2.4.6",
        "--set splits.sizes.train=4",
        "idaq report runs/idaq-point-robot-expert-v0-seed0 runs/idaq-point-robot-expert-v0-seed1",
    ):
        assert said in page.text, said
    assert "usable" not in page.text
    assert "at hand" not in page.text
    assert str(tmp_path) not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'name="viewport"' in text


def test_the_same_runs_make_the_same_report(tmp_path: Path, dataset: Dataset) -> None:
    runs = runs_on(tmp_path, dataset)
    first = write_report(runs, None, tmp_path / "a.html").read_bytes()
    assert write_report(runs[::-1], None, tmp_path / "b.html").read_bytes() == first


def test_a_report_without_dataset_trace_and_log_says_what_makes_them(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_results())
    (run / METRICS).unlink()
    text = write_report([run], None, tmp_path / "report.html").read_text()
    page = Page(text)
    check_self_contained(text, page)
    assert page.count("svg") == 2
    assert "The dataset idaq/point-robot/expert-v0 is not at hand. This makes it: idaq collect point-robot" in page.text
    assert (
        f"no usable trace of the run's adaptation. This makes it: {shlex.join(['idaq', 'adapt', str(run)])}"
        in page.text
    )
    assert "no usable training log (metrics.jsonl). This makes it: idaq train --dataset" in page.text


def test_with_a_trace_but_no_dataset_training_tasks_are_grey(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", make_results(), training=[20, 21, 22])
    page = Page(write_report([run], None, tmp_path / "report.html").read_text())
    assert page.count("svg") == 5
    assert "Training tasks are grey" in page.text


@pytest.mark.parametrize("damage", ["torn", "other tasks", "nan", "no prior", "short"])
def test_a_damaged_trace_is_a_missing_one(tmp_path: Path, damage: str) -> None:
    path = make_run(tmp_path / "run", make_results(), training=[20, 21, 22])
    (run,) = load_runs([path])
    assert read_whole_trace(run) is not None
    trace = load_file(path / TRACE)
    if damage == "torn":
        (path / TRACE).write_bytes((path / TRACE).read_bytes()[:200])
    else:
        if damage == "other tasks":
            trace["test_tasks"] = trace["test_tasks"][::-1].copy()
        if damage == "nan":
            trace["z"][0, 0, 0] = np.nan
        if damage == "no prior":
            del trace["prior"]
        if damage == "short":
            trace["returns"] = trace["returns"][:, 1:].copy()
        save_file(trace, path / TRACE)
    assert read_whole_trace(run) is None


@pytest.mark.parametrize("log", ['{"step": 0, "q": 1}\n{"st', "[1]\n", '{"q": "high", "step": 0}\n', "\xff"])
def test_a_damaged_log_is_a_missing_one(tmp_path: Path, log: str) -> None:
    run = make_run(tmp_path / "run", make_results())
    (run / METRICS).write_text(log, encoding="latin-1")
    assert "no usable training log" in write_report([run], None, tmp_path / "report.html").read_text()


def test_hostile_documents_are_text(tmp_path: Path) -> None:
    made = make_results(dataset_id=HOSTILE, levels={"idaq": -4.0, "offline-context": -3.0, HOSTILE: -5.0})
    tasks = [replace(task, params={HOSTILE: [1.0, float(i)]}, task_id=HOSTILE) for i, task in enumerate(made.tasks)]
    run = make_run(tmp_path / "run", replace(made, tasks=tasks), training=[20, 21, 22])
    document = json.loads((run / "run.json").read_text())
    document["versions"] = {HOSTILE: HOSTILE}
    document["created"] = HOSTILE
    document["config"]["split"] = HOSTILE
    (run / "run.json").write_text(json.dumps(document))
    with (run / METRICS).open("w") as file:
        file.write(json.dumps({"step": 0, HOSTILE: 1.0}) + "\n")
    text = write_report([run], None, tmp_path / "report.html").read_text()
    page = Page(text)
    check_self_contained(text, page)
    assert "<script" not in text
    assert "<svg onload" not in text
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert page.count("svg") == 5


def test_a_dataset_with_other_content_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    run = make_run(tmp_path / "run", make_results())
    with pytest.raises(RunError, match="other content"):
        write_report([run], dataset, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(RunError, match="no results"):
        write_report([], None, tmp_path / "report.html")


def test_the_median_task() -> None:
    returns = np.array([[0.0, -1.0], [0.0, -9.0], [0.0, -5.0]])
    assert median_task({"returns": returns, "test_tasks": np.array([7, 8, 9])}) == 9
