"""The page to look into a dataset shows every task and episode, runs nothing, and escapes everything."""

from dataclasses import replace
from pathlib import Path

import pytest

from idaq.core.errors import DatasetError
from idaq.evaluate.explorer import write_explorer
from idaq.loader import Dataset, open_dataset
from tests.evaluate.test_report import HOSTILE, Page, check_self_contained
from tests.hostile.kinds import STEER


def test_every_task_and_episode_is_on_the_page(made: Path, tmp_path: Path) -> None:
    dataset = open_dataset(made)
    write_explorer(dataset, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    page = Page(text)
    check_self_contained(text, page)
    assert page.count("details") == 3
    assert page.count("ellipse") == len(dataset)
    text = page.text
    for seed in dataset.episodes.seed.tolist():
        assert str(seed) in text
    assert "terminated, truncated" in text
    assert dataset.manifest is not None
    assert dataset.manifest.content_digest in text


def test_a_selection_is_shown_alone(mixed: Dataset, tmp_path: Path) -> None:
    few = mixed.select(split="test", behaviour="random")
    write_explorer(few, tmp_path / "x.html")
    page = Page((tmp_path / "x.html").read_text())
    assert page.count("details") == 2
    with pytest.raises(DatasetError, match="selected"):
        write_explorer(few.select(min_return=1e9), tmp_path / "y.html")


def test_hostile_names_stay_text(made: Path, tmp_path: Path) -> None:
    dataset = replace(open_dataset(made), dataset_id=HOSTILE + STEER)
    write_explorer(dataset, tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    check_self_contained(text, Page(text))
    assert [letter for letter in text.replace("\n", "") if not letter.isprintable()] == []
