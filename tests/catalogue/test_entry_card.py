"""The card of a catalogue entry."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from idaq.catalogue.entry_card import write_entry_card
from idaq.catalogue.suite import BASELINES
from idaq.catalogue.suite_card import write_suite_card
from idaq.collect.policy_record import (
    COMPARISON,
    ComparedTask,
    Comparison,
    PolicyRecord,
    PolicyStatistics,
    SacConfig,
    Snapshot,
    write_record,
)
from idaq.core.config import from_mapping, to_mapping
from idaq.core.files import read_json, write_json
from idaq.core.resources import resource_root
from idaq.evaluate.protocol import Summary, markdown_table, number
from idaq.format.recipe import Behaviour
from idaq.format.writer import DatasetSource, write_dataset
from idaq.testing.examples import Plan, entries_of, example_source


def statistics(mean: float) -> PolicyStatistics:
    return PolicyStatistics(mean=mean, std=2.5, magnitude=0.5, spread=0.4, saturated=0.25, change=0.1)


def trained_source(**named: str) -> DatasetSource:
    """The example, said to be collected by a trained policy."""
    source = example_source()
    first, *others = source.recipe.behaviours
    given = {"policy": "expert", **named}
    trained = Behaviour(
        name=first.name, kind="trained", quality="expert", episodes=first.episodes, weights="0" * 64, **given
    )
    return replace(source, recipe=replace(source.recipe, behaviours=[trained, *others]))


def test_the_card_adds_notes_policies_and_the_comparison_to_the_datasets_own(tmp_path: Path) -> None:
    folder, policies = tmp_path / "cheetah-vel/expert", tmp_path / "cheetah-vel/behaviours"
    folder.mkdir(parents=True)
    dataset = write_dataset(trained_source(), tmp_path, "# the dataset's own\n")
    (folder.parent / "notes.md").write_text("## Beside the literature\n")
    write_entry_card(folder, "cheetah-vel/expert", dataset)
    without = (folder / "card.md").read_text()
    assert without.startswith("# the dataset's own\n\n## Beside the literature\n")
    write_policies(policies)
    write_entry_card(folder, "cheetah-vel/expert", dataset)
    card = (folder / "card.md").read_text()
    assert card.startswith(without)
    for text in (
        "| expert | 300 | -28.00 | 1.00 | -30.00 to -26.00 |",
        "`idaq behavior train cheetah-vel` trains them again",
        "| 20 | -30.00 | 2.50 | -50.00 | 2.50 |",
        "Returns of 10 episodes with noise, snapshot `expert`",
        "| return | -20.00 | -40.00 |",
        "| share of actions beyond 0.95 | 0.25 | 0.25 |",
    ):
        assert text in card, card


def test_the_card_tells_of_the_training_that_its_behaviour_comes_from(tmp_path: Path) -> None:
    """One policy a task, of another family; the training beside it goes untold."""
    folder = tmp_path / "sparse/paper"
    folder.mkdir(parents=True)
    dataset = write_dataset(trained_source(policy="per-task/final", trained_on="dense"), tmp_path, "# own\n")
    write_policies(tmp_path / "dense/behaviours")
    (folder.parent / "notes.md").write_text("## Of the family\n")
    (folder / "notes.md").write_text("## Of the entry\n")
    write_entry_card(folder, "sparse/paper", dataset)
    assert (folder / "card.md").read_text() == "# own\n\n## Of the family\n\n## Of the entry\n"
    write_policies(tmp_path / "dense/behaviours/per-task", tasks=[0, 1])
    write_entry_card(folder, "sparse/paper", dataset)
    card = (folder / "card.md").read_text()
    assert card.count("## Behaviour policies") == 1
    assert "One SAC a task of cheetah-vel; return of the mean action" in card


def test_the_card_tells_what_the_data_holds_of_each_group_that_the_recipe_balances(tmp_path: Path) -> None:
    """Two tasks of speed 1 and one of speed 2; returns are those of the episodes themselves."""
    source = example_source()
    tasks = tuple(replace(task, params={"speed": float(1 + (n == 2))}) for n, task in enumerate(source.tasks))
    balanced = replace(source.recipe, splits=replace(source.recipe.splits, balance="speed"))
    dataset = write_dataset(replace(source, tasks=tasks, recipe=balanced), tmp_path, "# the dataset's own\n")
    folder = tmp_path / "catalogue"
    folder.mkdir()
    write_entry_card(folder, "tagged/expert", dataset)
    returns = {entry.task_index: [] for entry in entries_of()}
    for entry in entries_of():
        returns[entry.task_index].append(entry.episode.total_reward)
    first, last = np.array(returns[2] + returns[5]), np.array(returns[9])
    assert (
        (folder / "card.md")
        .read_text()
        .endswith(f"""## By speed

Returns and success of the collected episodes; failures are kept.

| speed | ids of its tasks | split | tasks | episodes | return | std | success |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| 1 | `task-...` | train, test | 2 | 4 | {number(first.mean())} | {number(first.std())} | 50% |
| 2 | `task-...` | test | 1 | 4 | {number(last.mean())} | {number(last.std())} | 25% |
""")
    )


def test_the_card_tells_how_far_learners_came(tmp_path: Path) -> None:
    """Two histories of ten episodes on one task: each episode is paid by its place in its history."""
    plans = [Plan(task=0, length=1, ends="truncated") for _ in range(20)]
    entries = [
        replace(entry, episode=replace(entry.episode, rewards=np.array([float(n % 10)])), behaviour="learner",
                history=n // 10, policy_step=n % 10)
        for n, entry in enumerate(entries_of(plans))
    ]  # fmt: skip
    source = example_source(entries)
    learner = Behaviour(
        name="learner", kind="policy", quality="learning", policy="q-learning", episodes=20, histories=2
    )
    dataset = write_dataset(replace(source, recipe=replace(source.recipe, behaviours=[learner])), tmp_path, "# own\n")
    folder = tmp_path / "catalogue"
    folder.mkdir()
    write_entry_card(folder, "tagged/expert", dataset)
    assert (folder / "card.md").read_text().endswith("| learner | 2 | 10 | 0.00 | 4.00 | 9.00 |\n")


def write_policies(folder: Path, tasks: list[int] | None = None) -> None:
    folder.mkdir(parents=True)
    record = PolicyRecord(
        family="cheetah-vel",
        algorithm="SAC",
        versions={},
        command="idaq behavior train cheetah-vel",
        observation_size=17,
        feature_size=1,
        action_size=6,
        tasks=tasks or [],
        config=SacConfig(),
        curve=[],
        snapshots={"expert": Snapshot(sha256="0" * 64, steps=300, mean=-28.0, std=1.0, minimum=-30.0, maximum=-26.0)},
    )
    write_record(folder, record)
    tasks = [
        ComparedTask(task=10, conditioned=statistics(-10.0), single=statistics(-30.0)),
        ComparedTask(task=20, conditioned=statistics(-30.0), single=statistics(-50.0)),
    ]
    comparison = Comparison(family="cheetah-vel", snapshot="expert", episodes=10, tasks=tasks, commands=["train it"])
    write_json(folder / COMPARISON, to_mapping(comparison))


def test_the_catalogues_cards_hold_their_notes_and_their_measurements() -> None:
    catalogue = resource_root("datasets")
    for path in sorted(catalogue.glob("*/*/card.md")):
        card, notes, baselines = path.read_text(), path.parent.parent / "notes.md", path.parent / BASELINES
        assert not notes.exists() or notes.read_text() in card, path
        if path.parent.parent.name != "ml1" and baselines.exists():
            assert markdown_table(from_mapping(Summary, read_json(baselines), where=str(baselines))) in card, path


def test_the_card_of_ml1_is_what_its_documents_say(tmp_path: Path) -> None:
    suite = shutil.copytree(resource_root("datasets") / "ml1", tmp_path / "ml1")
    before = (suite / "expert" / "card.md").read_text()
    write_suite_card(suite / "expert", before.splitlines()[0].removeprefix("# "))
    assert (suite / "expert" / "card.md").read_text() == before
