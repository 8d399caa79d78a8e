"""A session's file may come from anybody: what `record` would not take is refused, and no later version is misread."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

import idaq.adapt.session_file as session_file
from idaq.adapt.session import Session
from idaq.core.digest import episode_digest
from idaq.core.errors import RunError, UnknownNameError
from idaq.core.types import FIXED_COLUMNS, Episode
from idaq.learn.algorithm import Agent
from idaq.tasks.systems import PlayedEpisode
from tests.adapt.test_system import STEPS, agent, run, walked

__all__ = ["agent", "run"]
OTHER = f"{3**70:032x}-0-00000000"
"""a state of the generator"""
Change = Callable[[dict[str, Any], dict[str, Any]], object]


@pytest.fixture
def file(agent: Agent, tmp_path: Path) -> Path:
    session = Session(agent, "idaq", 3, settings={"reference": 1, "candidates": 3, "context": 4})
    for _ in range(2):
        session.record(walked(session.next_policy()))
    session.save(tmp_path / "one.session")
    return tmp_path / "one.session"


def forge(file: Path, change: Change) -> None:
    """The file with other contents, whose digests are right."""
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    record, tensors = json.loads(header["__metadata__"]["idaq.session"]), load(content)
    change(record, tensors)
    for number, entry in enumerate(record["episodes"][:2]):
        columns = {name: np.asarray(tensors[f"{number}/{name}"]) for name in ("observations", *FIXED_COLUMNS)}
        entry["digest"] = episode_digest(Episode.from_columns(columns), task_index=0, seed=None)
    file.write_bytes(save(tensors, metadata={"idaq.session": json.dumps(record)}))


def column(name: str, array: Any) -> Change:
    return lambda _, tensors: tensors.update({f"1/{name}": array})


def key(name: str, value: object) -> Change:
    return lambda record, _: record.update({name: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (key("session_version", 2), "session_version 2, which this idaq does not know"),
        (key("budget", 0), "budget"),
        (key("budget", "3"), "budget"),
        (key("generator_states", []), "0 generator states for 2 episodes"),
        (key("episodes", []), "3 generator states for 0 episodes"),
        (column("rewards", np.full(STEPS, np.nan)), "episode 1: rewards of step 0 hold NaN"),
        (column("rewards", np.ones(1)), "episode 1: 1 rewards do not fit"),
        (column("rewards", np.ones((), np.float32)), "episode 1: 1 rewards do not fit"),
        (column("observations", np.zeros((STEPS + 1, 7))), "episode 1: observations have the shape"),
        (column("terminations", np.full(STEPS, 3)), "episode 1: terminated: true and false are needed"),
        (column("belief", np.zeros((1, 99), np.float32)), "under another belief"),
        (lambda _, tensors: tensors["1/belief"].__iadd__(0.1), "episode 1 was played under another belief"),
        (
            lambda record, _: record["generator_states"].__setitem__(1, OTHER),
            "episode 1 was played under another belief",
        ),
        (lambda _, tensors: tensors.update({"1/belief": tensors["1/belief"].astype(np.float64)}), "is not float32"),
        (lambda _, tensors: tensors.pop("0/belief"), "belief"),
        (lambda record, _: record["episodes"][0].update(seed=9), "episode 0 does not agree with its digest"),
        (lambda record, _: record.update(episodes=record["episodes"] * 10**5), "generator states for 200000"),
    ],
)
def test_a_forged_session_is_refused_in_words(agent: Agent, file: Path, change: Change, words: str) -> None:
    forge(file, change)
    with pytest.raises(RunError, match=words):
        Session.load(file, agent)


def test_a_belief_of_another_machine_is_kept_to_its_last_digit(agent: Agent, file: Path) -> None:
    played = load(file.read_bytes())["1/belief"] + np.float32(1e-6)
    forge(file, column("belief", played))
    session = Session.load(file, agent)
    session.save(file)
    np.testing.assert_array_equal(load(file.read_bytes())["1/belief"], played)


def test_it_goes_on_with_the_random_numbers_that_the_file_names(agent: Agent, tmp_path: Path) -> None:
    def following(change: Change) -> list[float]:
        Session(agent, "random-first", 3).save(tmp_path / "one.session", force=True)
        forge(tmp_path / "one.session", change)
        return Session.load(tmp_path / "one.session", agent).next_policy().act(np.zeros(2)).tolist()

    assert following(lambda *_: None) != following(key("generator_states", [OTHER]))


def test_seed_and_success_are_kept(agent: Agent, tmp_path: Path) -> None:
    session = Session(agent, "best-of-prior", 3)
    for seed, success in ((None, True), (2**64 - 1, False), (0, None)):
        columns = walked(session.next_policy())
        flags = {"terminated": columns.pop("terminations"), "truncated": columns.pop("truncations")}
        session.record(PlayedEpisode(**columns, **flags, seed=seed, success=success))
    session.save(tmp_path / "one.session")
    there = Session.load(tmp_path / "one.session", agent).episodes
    assert [(one.seed, one.success) for one in there] == [(None, True), (2**64 - 1, False), (0, None)]


def test_what_is_not_forged_is_read(agent: Agent, file: Path) -> None:
    forge(file, lambda *_: None)
    assert len(Session.load(file, agent).episodes) == 2


def test_a_strategy_of_no_name_is_told_without_moving_the_cursor(agent: Agent, file: Path) -> None:
    forge(file, key("strategy", "\x1b[2Jidaq"))
    with pytest.raises(UnknownNameError) as error:
        Session.load(file, agent)
    assert error.value.message.isprintable()


@pytest.mark.parametrize("header", [b'{"__metadata__":null}', b'{"__metadata__":[]}', b"{}", b"[]", b"null"])
def test_a_header_that_says_nothing_is_refused(agent: Agent, tmp_path: Path, header: bytes) -> None:
    (tmp_path / "one.session").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(RunError, match="is no session, or damaged"):
        Session.load(tmp_path / "one.session", agent)


def test_no_file_is_written_that_is_too_large_to_be_read(
    agent: Agent, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, before = Session.load(file, agent), file.read_bytes()
    monkeypatch.setattr(session_file, "LARGEST_TABLE", len(before) + 10)
    session.record(walked(session.next_policy()))
    with pytest.raises(RunError, match="can be read again"):
        session.save(file)
    assert file.read_bytes() == before
