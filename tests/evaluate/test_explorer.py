"""The page to look into a dataset holds every task and episode, says what it leaves out, and escapes everything."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.collect import collect
from idaq.core.errors import DatasetError
from idaq.evaluate import curves
from idaq.evaluate.curves import spread
from idaq.evaluate.explorer import write_explorer
from idaq.evaluate.page import data_block
from idaq.format.columns import FlatColumn
from idaq.format.documents import About
from idaq.format.episodes import FlatEpisodes
from idaq.format.layout import column_of
from idaq.format.writer import write_dataset
from idaq.loader import Dataset, open_dataset
from idaq.testing.examples import EXAMPLES
from tests.evaluate.held import curves_in, index_of, numbers_of
from tests.evaluate.test_report import HOSTILE, Page
from tests.hostile.kinds import STEER
from tests.recipes import small_recipe


def test_every_task_and_episode_is_in_the_page(made: Path, tmp_path: Path) -> None:
    dataset = open_dataset(made)
    done = write_explorer(dataset, tmp_path / "x.html")
    page, index = Page((tmp_path / "x.html").read_text()), index_of(tmp_path / "x.html")
    assert (done.episodes, done.curves, done.films) == (8, 8, 0)
    assert [task["id"] for task in index["tasks"]] == [task.task_id for task in dataset.tasks]
    listed, table = index["episodes"], dataset.episodes
    assert listed["return"] == table.total_reward.tolist()
    assert [int(seed) for seed in listed["seed"]] == table.seed.tolist()
    assert "terminated, truncated" in listed["ends"]
    assert [index["tasks"][i]["index"] for i in listed["task"]] == table.task_index.tolist()
    assert dataset.manifest is not None
    assert dataset.manifest.content_digest in page.text


def test_nothing_is_fetched_and_only_its_own_script_may_run(made: Path, tmp_path: Path) -> None:
    write_explorer(open_dataset(made), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    kinds = [attributes["type"] for tag, attributes in page.tags if tag == "script"]
    assert kinds == ["application/json", *["text/plain"] * 8, "module"]
    for tag, attributes in page.tags:
        assert tag not in ("iframe", "link", "object", "embed", "img")
        assert not {"style", "src"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_curves_are_the_numbers_of_the_dataset(made: Path, tmp_path: Path) -> None:
    dataset = open_dataset(made)
    write_explorer(dataset, tmp_path / "x.html")
    for number, episode in enumerate(dataset):
        rows = [column.reshape(len(column), -1).T for column in (episode.observations, episode.actions)]
        whole = np.concatenate([rows[0].ravel(), rows[1].ravel(), episode.rewards])
        np.testing.assert_array_equal(numbers_of(tmp_path / "x.html", number), whole.astype(np.float32))


def test_a_selection_is_shown_alone(mixed: Dataset, tmp_path: Path) -> None:
    few = mixed.select(split="test", behaviour="random")
    write_explorer(few, tmp_path / "x.html")
    index = index_of(tmp_path / "x.html")
    assert (len(index["tasks"]), index["behaviours"]) == (2, ["random"])
    assert index["episodes"]["number"] == curves_in(tmp_path / "x.html") == few.numbers.tolist()
    with pytest.raises(DatasetError, match="selected"):
        write_explorer(few.select(min_return=1e9), tmp_path / "y.html")


def test_a_sample_is_spread_over_tasks_and_returns_and_is_told(mixed: Dataset, tmp_path: Path) -> None:
    done = write_explorer(mixed, tmp_path / "x.html", episodes=2)
    drawn = np.array(curves_in(tmp_path / "x.html"))
    table = mixed.episodes
    for task in mixed.tasks:
        mine = table.total_reward[table.task_index == task.task_index]
        here = table.total_reward[drawn[table.task_index[drawn] == task.task_index]]
        assert sorted(here) == [mine.min(), mine.max()]
    assert len(index_of(tmp_path / "x.html")["episodes"]["number"]) == 72
    told = "16 of 72 episodes have curves: 2 of each task, spread over its returns"
    assert told in done.notes[0]
    assert told in Page((tmp_path / "x.html").read_text()).text
    assert write_explorer(mixed, tmp_path / "y.html", episodes="all").notes == []


def test_a_large_dataset_stays_within_the_budget(
    mixed: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_explorer(mixed, tmp_path / "whole.html")
    assert whole.curves == 72
    monkeypatch.setattr(curves, "BUDGET", 15_000)
    some = write_explorer(mixed, tmp_path / "x.html")
    assert some.curves % 8 == 0
    assert 8 <= some.curves < 72
    assert write_explorer(mixed, tmp_path / "y.html").path.read_bytes() == some.path.read_bytes()
    monkeypatch.setattr(curves, "BUDGET", 2_000)
    fewer = write_explorer(mixed, tmp_path / "z.html")
    assert 0 < fewer.curves < 8
    assert f"1 of {fewer.curves} of 8 tasks" in fewer.notes[0]


def test_long_episodes_and_wide_rows_are_thinned_and_told(
    mixed: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "MOST_ROWS", 8)
    monkeypatch.setattr("idaq.evaluate.explorer.MOST_ROWS", 8)
    monkeypatch.setattr(curves, "MOST_NUMBERS", 1)
    done = write_explorer(mixed, tmp_path / "x.html")
    episode = mixed.episode(0)
    assert index_of(tmp_path / "x.html")["observations"] == [0, 1]  # the place, which the figure needs
    assert index_of(tmp_path / "x.html")["actions"] == [0]
    rows = [episode.observations[::3].T.ravel(), episode.actions[::3, 0], episode.rewards[::3]]
    np.testing.assert_array_equal(numbers_of(tmp_path / "x.html", 0), np.concatenate(rows).astype(np.float32))
    assert done.notes == [
        "1 of the 2 numbers of each action are here.",
        "72 episodes are longer than 8 steps: curves take up to every 3th step of them.",
    ]


def test_pictures_and_discrete_actions_are_drawn_as_far_as_they_go(made: Path, tmp_path: Path) -> None:
    dataset = open_dataset(made)
    lengths = dataset.episodes.length

    def column(dtype: str, shape: tuple[int, ...], extra: bool) -> FlatColumn:
        rows, width = lengths + extra, int(np.prod(shape))
        flat = (np.arange(rows.sum() * width) % 251).astype(dtype)
        return FlatColumn(flat=flat, offsets=(rows.cumsum() - rows) * width, shape=shape, extra_row=extra)

    columns = {
        "observations": column("u1", (9, 9, 3), True),
        "actions": column("i8", (), False),
        "rewards": column("f4", (), False),
        **{name: column("b1", (), False) for name in ("terminations", "truncations")},
    }
    info = {n: column_of(n, c.flat.dtype, c.shape, c.extra_row, About()) for n, c in columns.items()}
    strange = replace(dataset, store=FlatEpisodes(columns, lengths), column_info=info)
    done = write_explorer(strange, tmp_path / "x.html")
    assert done.notes == [
        "Curves are float32, 7 digits of what the dataset holds of actions (int64).",
        "64 of the 243 numbers of each observation are here.",
    ]
    index, steps = index_of(tmp_path / "x.html"), int(lengths[0])
    assert (index["observations"], index["actions"]) == (list(range(64)), [0])
    courses = numbers_of(tmp_path / "x.html", 0)
    assert len(courses) == 64 * (steps + 1) + 2 * steps
    np.testing.assert_array_equal(courses[-2 * steps : -steps], np.arange(steps))


def test_a_family_that_is_not_known_here_is_told_and_never_imported(mixed: Dataset, tmp_path: Path) -> None:
    assert mixed.manifest is not None
    strange = replace(mixed, manifest=replace(mixed.manifest, family="os:system"))
    done = write_explorer(strange, tmp_path / "x.html", films=1)
    assert done.films == 0
    assert done.notes[0].startswith("No path, velocity or film is drawn: a document names the task family 'os:system'")
    assert "--plugin os:system" in done.notes[0]
    index = index_of(tmp_path / "x.html")
    assert (index["place"], index["velocity"]) == (None, None)


def test_films_are_of_the_recorded_episodes_alone(mixed: Dataset, tmp_path: Path) -> None:
    done = write_explorer(mixed, tmp_path / "x.html", films=3)
    filmed = index_of(tmp_path / "x.html")["films"]
    assert done.films == len(filmed) == 3
    assert filmed.keys() < set(map(str, curves_in(tmp_path / "x.html")))
    assert {steps[-1] for steps in filmed.values()} == {20}
    assert mixed.manifest is not None
    windy = replace(mixed, manifest=replace(mixed.manifest, family="point-robot-wind"))
    told = write_explorer(windy, tmp_path / "y.html", films=5)
    assert told.films == 0
    assert "Episode 2 is not filmed: played again, it departs from what was recorded at step 1." in told.notes
    assert any("is not filmed: there is no task 88." in note for note in told.notes)
    assert told.notes[3] == "2 more episodes are not filmed."


def test_trained_bodies_are_played_again_to_the_same_states(tmp_path: Path) -> None:
    recipe = small_recipe("cheetah-dir", "expert", "episodes=1", "splits.sizes={train = 2}")
    dataset = open_dataset(collect(recipe, tmp_path).path)
    done = write_explorer(dataset, tmp_path / "x.html", films=1)
    assert done.films == 1, done.notes


def test_beginnings_of_a_spread_are_spread() -> None:
    assert spread(9) == [8, 0, 4, 2, 6, 1, 3, 5, 7]
    for count in (1, 2, 3, 10, 45):
        assert sorted(spread(count)) == list(range(count))


def test_hostile_names_stay_text(made: Path, tmp_path: Path) -> None:
    dataset = open_dataset(made)
    bad = HOSTILE + STEER
    table = replace(dataset.episodes, behaviour=np.full(len(dataset), bad))
    write_explorer(replace(dataset, dataset_id=bad, episodes=table), tmp_path / "x.html")
    text = (tmp_path / "x.html").read_text()
    page = Page(text)
    assert [letter for letter in text.replace("\n", "") if not letter.isprintable()] == []
    assert page.count("script") == 10
    assert "<svg onload" not in text
    assert index_of(tmp_path / "x.html")["behaviours"][0].startswith(HOSTILE)


def test_no_text_ends_a_block_of_data() -> None:
    assert data_block({"a": "</script><!--&\u2028"}) == '{"a":"\\u003c/script\\u003e\\u003c!--\\u0026\\\\u2028"}'


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_of_any_spaces_is_drawn_and_says_what_is_unknown(name: str, tmp_path: Path) -> None:
    dataset = open_dataset(write_dataset(EXAMPLES[name](), tmp_path, ""))
    write_explorer(dataset, tmp_path / "x.html")
    index = index_of(tmp_path / "x.html")
    assert index["episodes"]["return"] == [dataset.episodes.return_of(n) for n in range(len(dataset))]
    assert index["episodes"]["history"] == [dataset.episodes.history_of(n) for n in range(len(dataset))]
    if name == "dictionary":  # a phase and three numbers of a state stand behind 120 of pictures
        assert {120, 121, 122, 123} <= set(index["observations"])
