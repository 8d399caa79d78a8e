"""Demonstrations are recorded on a system of one's own, each durable when it ends; what is resumed is what would have
been."""

import itertools
import os
import pty
import sys
import threading
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idaq.collect.keyboard import Keyboard, keyed, single_keys
from idaq.collect.record import CheckedActions, record
from idaq.collect.reference import short_seed
from idaq.core.errors import (
    CollectError,
    ConfigError,
    CorruptDatasetError,
    DatasetError,
    NonFiniteError,
    PluginError,
    UsageError,
)
from idaq.format.reader import open_stored
from idaq.format.recording import Folder, recording_folder
from idaq.format.verify import verify
from idaq.share.importers import import_dataset
from tests.share.pendulums import SOURCE, make_module

MORE = """

class Remembers:
    def __init__(self):
        self.steps = 0

    def reset(self):
        self.steps = 0

    def observe(self, action, reward, next_observation, ended):
        self.steps += 1

    def act(self, observation):
        return [0.01 * self.steps]


def hard(observation):
    return [5.0]


def wrong(observation):
    return [0.0, 0.0]


def endless(observation):
    return [float("nan")]


number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return make_module(tmp_path / "code", monkeypatch, SOURCE + MORE)


def recorded(module: str, out: Path, episodes: int = 3, policy: str = "random", **more: Any) -> Folder:
    options = {"env": f"{module}:pendulum", "settings": {"limit": 8}, "task": "heavy", "params": {"mass": 2.0}}
    record(out, policy=policy, episodes=episodes, **(options | more))
    return Folder(out)


def content(folder: Folder) -> list[tuple[Any, ...]]:
    read = [folder.episode(number, "x")[0] for number in folder.numbers()]
    return [(one.seed, *(getattr(one.episode, c).tobytes() for c in ("observations", "actions"))) for one in read]


def test_an_episode_is_what_the_task_did(module: str, tmp_path: Path) -> None:
    """Played again by hand: the seed, the actions and the mass give the same states."""
    folder = recorded(module, tmp_path / "out")
    assert folder.numbers() == [0, 1, 2]
    for number in folder.numbers():
        one, clipped = folder.episode(number, "random")
        assert (one.seed, clipped) == (short_seed(0, 0, 0, number), 0)
        env = gym.make("Pendulum-v1", max_episode_steps=8)
        env.unwrapped.m = 2.0  # type: ignore[attr-defined]
        states = [env.reset(seed=one.seed)[0]]
        steps = [env.step(action) for action in one.episode.actions]
        np.testing.assert_array_equal(one.episode.observations, np.stack(states + [step[0] for step in steps]))
        np.testing.assert_array_equal(one.episode.rewards, [float(step[1]) for step in steps])
        assert one.episode.truncated.tolist() == [False] * 7 + [True]
        assert not one.episode.terminated.any()


def test_the_same_command_records_what_is_not_there(module: str, tmp_path: Path) -> None:
    whole, told = recorded(module, tmp_path / "whole", 5), list[int]()
    parts = recorded(module, tmp_path / "parts", 2)
    (tmp_path / "parts/episode-00000.npz").unlink()
    recorded(module, tmp_path / "parts", 5, progress=told.append)
    assert content(parts) == content(whole)
    assert told == [1, 1, 1, 1, 1]
    told.clear()
    assert recorded(module, tmp_path / "parts", 3, progress=told.append).numbers() == [0, 1, 2, 3, 4]
    assert told == [3]  # of the three asked for


def test_a_recording_is_a_dataset_whose_environment_is_known(module: str, tmp_path: Path) -> None:
    recorded(module, tmp_path / "heavy", policy=f"{module}:push")
    recorded(module, tmp_path / "light", task="light", params={"mass": 0.5})
    folders = [tmp_path / "light", tmp_path / "heavy"]
    done = import_dataset(folders, "me/pendulum/both-v0", splits={"test": "heavy"}, root=tmp_path)
    data = open_stored(done.path)
    assert verify(done.path) == []
    assert [(task.task_id, task.params, task.split) for task in data.tasks] == [
        ("light", {"mass": 0.5}, "train"),
        ("heavy", {"mass": 2.0}, "test"),
    ]
    assert data.tasks[1].env.kwargs == {"limit": 8, "mass": 2.0}
    assert data.episodes.behaviour.tolist() == ["random"] * 3 + ["push"] * 3
    assert data.episodes.seed_known.all()
    assert not data.episodes.success_known.any()
    assert list(done.notes) == ["light, heavy: authors and licence unknown; --author and --license state them"]


def test_a_policy_may_have_a_memory(module: str, tmp_path: Path) -> None:
    folder = recorded(module, tmp_path / "out", policy=f"{module}:Remembers")
    for number in folder.numbers():
        actions = folder.episode(number, "x")[0].episode.actions
        np.testing.assert_allclose(actions.ravel(), 0.01 * np.arange(8), atol=1e-7)


def test_actions_outside_are_clipped_counted_and_told_at_import(module: str, tmp_path: Path) -> None:
    options = {"env": f"{module}:pendulum", "settings": {"limit": 8}, "task": "heavy"}
    done = record(tmp_path / "out", policy=f"{module}:hard", episodes=2, **options)  # type: ignore[arg-type]
    assert done.clipped == 16
    assert Folder(tmp_path / "out").episode(0, "x")[0].episode.actions.ravel().tolist() == [2.0] * 8
    notes = import_dataset([tmp_path / "out"], "me/a/b-v0", root=tmp_path).notes
    assert f"out: 16 actions of {module}:hard were clipped to the action space when they were recorded" in notes


@pytest.mark.parametrize(
    ("changed", "kind", "said"),
    [
        ({"policy": "MODULE:wrong"}, PluginError, r"no action of shape \(1,\)"),
        ({"policy": "MODULE:endless"}, PluginError, "no action of shape"),
        ({"policy": "MODULE:number"}, PluginError, "MODULE:number is a int"),
        ({"policy": "MODULE:nothing"}, PluginError, "nothing"),
        ({"policy": "expert"}, UsageError, "--policy 'expert' is none"),
        ({"task": "Heavy!"}, UsageError, "--task 'Heavy!' is no task id"),
        ({"episodes": 0}, UsageError, "0 episodes cannot be recorded"),
        ({"behaviour": "Mein Üben"}, ConfigError, "the recording of heavy: behaviour: "),
        ({"seed": 2**63}, ConfigError, "the recording of heavy: seed: "),
        ({"settings": {"limit": 4, "mass": 1.0}}, UsageError, "gets mass twice: from --env-arg, and as a parameter"),
        ({"params": {"colour": 1.0}}, PluginError, "unexpected keyword argument 'colour'"),
        ({"env": "Blackjack-v1", "settings": {}, "params": {}}, DatasetError, "has observations of the space Tuple"),
        ({"env": "Pendulum-v1", "settings": {"g": float("nan")}, "params": {}}, UsageError, "plain data"),
    ],
)
def test_what_cannot_be_recorded_is_said_in_words(
    module: str, tmp_path: Path, changed: dict[str, Any], kind: type[Exception], said: str
) -> None:
    given: dict[str, Any] = {k: v.replace("MODULE", module) if isinstance(v, str) else v for k, v in changed.items()}
    with pytest.raises(kind, match=said.replace("MODULE", module)):
        recorded(module, tmp_path / "out", **given)
    assert not list((tmp_path / "out").glob("episode*"))


def test_nan_ends_a_recording_and_keeps_what_was_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCE.replace("    return env\n", "    return Breaks(env)\n") + (
        "\n\nclass Breaks(gymnasium.Wrapper):\n    episodes = 0\n\n"
        "    def reset(self, **more):\n        self.episodes += 1\n        return super().reset(**more)\n\n"
        "    def step(self, action):\n        found = list(super().step(action))\n"
        "        found[1] = float('nan') if self.episodes == 3 else found[1]\n        return tuple(found)\n"
    )
    module = make_module(tmp_path / "code", monkeypatch, source)
    with pytest.raises(NonFiniteError, match="step 1 of the episode gave NaN"):
        recorded(module, tmp_path / "out", 5)
    assert Folder(tmp_path / "out").numbers() == [0, 1]


def test_another_recording_or_other_files_are_left_alone(module: str, tmp_path: Path) -> None:
    recorded(module, tmp_path / "out")
    with pytest.raises(CollectError, match="holds another recording: seed 0, not 1"):
        recorded(module, tmp_path / "out", seed=1)
    with pytest.raises(CollectError, match=r"params {'mass': 2.0}, not {'mass': 3.0}"):
        recorded(module, tmp_path / "out", params={"mass": 3.0})
    (tmp_path / "home").mkdir()
    (tmp_path / "home/letter.txt").write_text("Dear")
    with pytest.raises(CollectError, match=r"holds other files: letter\.txt"):
        recorded(module, tmp_path / "home")


def test_two_recorders_do_not_share_a_folder(module: str, tmp_path: Path) -> None:
    with recording_folder(tmp_path / "out"):
        errors = list[Exception]()

        def second() -> None:
            try:
                recorded(module, tmp_path / "out")
            except CollectError as error:
                errors.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert "another recorder writes" in str(errors[0])
    assert recorded(module, tmp_path / "out").numbers() == [0, 1, 2]


@pytest.mark.parametrize("damage", ["cut", "empty", "pickle", "short", "no step", "foreign"])
def test_a_damaged_episode_is_named_with_what_replaces_it(module: str, tmp_path: Path, damage: str) -> None:
    folder, file = recorded(module, tmp_path / "out"), tmp_path / "out/episode-00001.npz"
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-40])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "pickle":
        np.savez(file, **(arrays | {"actions": np.array([{}], object)}))  # type: ignore[arg-type]
    elif damage == "no step":
        of_none = {name: column[: name == "observations"] for name, column in arrays.items() if column.ndim}
        np.savez(file, **(arrays | of_none))  # type: ignore[arg-type]
    elif damage == "short":
        np.savez(file, **(arrays | {"rewards": arrays["rewards"][:-1]}))  # type: ignore[arg-type]
    else:
        del arrays["fact:seed"]
        np.savez(file, **arrays)  # type: ignore[arg-type]
    with pytest.raises(CorruptDatasetError, match="episode-00001"):
        import_dataset([tmp_path / "out"], "me/a/b-v0", root=tmp_path)
    file.unlink()
    assert recorded(module, tmp_path / "out").numbers() == folder.numbers() == [0, 1, 2]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), mask=st.integers(1, 255))
def test_a_flipped_byte_is_found_or_changes_nothing(module: str, tmp_path: Path, where: float, mask: int) -> None:
    """Every member has a checksum; what has none (dates, say) is not read."""
    if not (tmp_path / "out").exists():
        recorded(module, tmp_path / "out", 1)
    file = tmp_path / "out/episode-00000.npz"
    content, before = bytearray(file.read_bytes()), Folder(tmp_path / "out").episode(0, "x")[0].episode
    content[int(where * (len(content) - 1))] ^= mask
    (tmp_path / "bad").mkdir(exist_ok=True)
    (tmp_path / "bad/episode-00000.npz").write_bytes(content)
    try:
        after = Folder(tmp_path / "bad").episode(0, "x")[0].episode
    except DatasetError:
        return
    for name in ("observations", "actions", "rewards", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))


def test_a_damaged_document_is_named(module: str, tmp_path: Path) -> None:
    recorded(module, tmp_path / "out")
    document = tmp_path / "out/recording.json"
    for text in ("{", "{}", document.read_text().replace('"heavy"', '"../heavy"')):
        document.write_text(text)
        with pytest.raises(CorruptDatasetError, match=r"recording\.json"):
            import_dataset([tmp_path / "out"], "me/a/b-v0", root=tmp_path)


def test_an_empty_recording_says_so(module: str, tmp_path: Path) -> None:
    recorded(module, tmp_path / "out", 1)
    (tmp_path / "out/episode-00000.npz").unlink()
    with pytest.raises(DatasetError, match="holds no episode yet"):
        import_dataset([tmp_path / "out"], "me/a/b-v0", root=tmp_path)


def test_checked_actions_have_the_dtype_of_the_space() -> None:
    class Gives:
        def act(self, observation: np.ndarray, /) -> Any:
            return [0.5]

    checked = CheckedActions(Gives(), gym.spaces.Box(-1, 1, (1,)))
    assert checked.act(np.zeros(1)).dtype == np.float32
    assert checked.clipped == 0


def test_an_action_that_is_clipped_in_two_numbers_is_one_action() -> None:
    class Gives:
        def act(self, observation: np.ndarray, /) -> Any:
            return [5.0, -5.0, 0.5]

    checked = CheckedActions(Gives(), gym.spaces.Box(-1, 1, (3,)))
    assert checked.act(np.zeros(1)).tolist() == [1.0, -1.0, 0.5]
    assert checked.clipped == 1


LOW, HIGH = np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)


@pytest.mark.parametrize(
    ("held", "action"),
    [
        ("", [0, 0.5]),
        ("a", [-2, 0.5]),
        ("d", [2, 0.5]),
        ("ad", [0, 0.5]),
        ("dw", [2, 1]),
        ("s", [0, 0]),
        ("j", [0, 0.5]),
    ],
)
def test_keys_move_the_numbers_of_an_action(held: str, action: list[float]) -> None:
    np.testing.assert_array_equal(keyed(set(held), LOW, HIGH), np.array(action, np.float32))


def test_a_person_needs_a_terminal(module: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="reads keys from a terminal, and there is none") as caught:
        recorded(module, tmp_path / "out", policy="human")
    assert "--policy package.module:thing" in str(caught.value.hint)


def test_with_a_display_the_environment_draws_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: int
) -> None:
    """An environment that says with which render mode it was made."""
    source = SOURCE.replace("limit=20):", "limit=20, render_mode=None):").replace(
        "    return env\n",
        """
    env.metadata = env.metadata | {"render_modes": ["human"], "render_fps": 1000}
    modes.append(render_mode)
    return env
""",
    )
    module = make_module(tmp_path / "code", monkeypatch, source + "\n\nmodes = []\n")
    monkeypatch.setenv("DISPLAY", ":77")
    recorded(module, tmp_path / "out", 1, policy="human")
    assert import_module(module).modes[-1] == "human"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The typing end of a terminal that is this process's stdin."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield ours
    os.close(ours)


def test_a_person_at_a_terminal_moves_the_pendulum(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: int
) -> None:
    """A real pseudo-terminal: a held key gives the lowest action, an arrow the highest; then none is held."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("idaq.collect.keyboard._HOLD", 0.2)

    def types() -> None:
        time.sleep(0.5)
        os.write(keys, b"a")
        time.sleep(0.6)
        os.write(keys, b"\x1b[C")

    typist = threading.Thread(target=types)
    typist.start()
    with pytest.warns(UserWarning, match="pendulum is not drawn: this session has no display"):
        folder = recorded(module, tmp_path / "out", 1, policy="human", settings={"limit": 60})
    typist.join()
    one, _ = folder.episode(0, "human")
    actions = one.episode.actions.ravel().tolist()
    assert len(actions) == 60
    runs = [actions[0], *(b for a, b in itertools.pairwise(actions) if a != b)]
    assert runs == [0.0, -2.0, 0.0, 2.0, 0.0]


@pytest.mark.usefixtures("keys")
def test_a_terminal_is_given_back_as_it_was() -> None:
    import termios

    before = termios.tcgetattr(sys.stdin.fileno())
    with single_keys():
        assert termios.tcgetattr(sys.stdin.fileno()) != before
    assert termios.tcgetattr(sys.stdin.fileno()) == before


def test_an_action_of_many_numbers_has_no_keys() -> None:
    class Arm(gym.Env[Any, Any]):
        action_space = gym.spaces.Box(-1, 1, (7,))

    with pytest.raises(UsageError, match="keys move 4 numbers of an action at most; these have 7"):
        Keyboard(Arm())


def test_parameters_that_a_recording_states_are_not_overruled(module: str, tmp_path: Path) -> None:
    """They are what its environment was made with."""
    recorded(module, tmp_path / "out")
    with pytest.raises(UsageError, match=r"out states the parameters {'mass': 2.0} of its task; --param gives"):
        import_dataset([tmp_path / "out"], "me/a/b-v0", params={"mass": 7.0}, root=tmp_path)
    assert import_dataset([tmp_path / "out"], "me/a/b-v0", params={"mass": 2.0}, root=tmp_path).tasks == 1
