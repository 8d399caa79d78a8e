"""A user of Python names places by strings, as at a command line."""

from pathlib import Path

import pytest

import idaq


def test_strings_lead_from_a_recipe_to_an_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.setenv("HOME", str(tmp_path))
    sizes = ["episodes=2", "splits.sizes={train = 2, test = 1}", "reference.random_episodes=2"]
    done = idaq.collect(idaq.catalogue_recipe("point-robot", settings=sizes))
    assert done.path == tmp_path / "datasets/idaq/point-robot/expert-v0"
    small = {"steps": 2, "batch": 2, "meta_batch": 2, "context": 2, "threads": 1}
    idaq.train(idaq.open_dataset("idaq/point-robot/expert-v0"), idaq.training_config(small), "~/runs/point")
    agent = idaq.load_agent("~/runs/point")
    assert (tmp_path / "runs/point/run.json").is_file()
    assert agent.prior is not None
    assert len(agent.prior.beliefs) == 2
