"""`idaq adapt --env`: from a run to a policy on a system of the user's own, without its family."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from idaq.collect.collect import Collected
from idaq.deploy.read import read_policy
from idaq.learn.loop import train
from idaq.loader import open_dataset
from tests.learn.test_loop import small_config

IDAQ = str(Path(sys.executable).with_name("idaq"))
ARM = "tests.cli.test_adapt_env:Arm"


class Arm(gym.Env):
    """A point that a user moves to their own goal; they know nothing of families."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, goal=(0.6, 0.8), bound=0.1, slow=0.0, fails_at=None, render_mode=None):
        self.action_space = gym.spaces.Box(-bound, bound, (2,), np.float32)
        self.goal, self.slow, self.fails_at, self.render_mode = np.array(goal), slow, fails_at, render_mode

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = np.zeros(2, np.float32), 0
        return self.place.copy(), {}

    def step(self, action):
        time.sleep(self.slow)
        self.steps += 1
        if self.fails_at == self.steps:
            raise OSError("the arm is unplugged")
        self.place = self.place + np.asarray(action, np.float32)
        far = float(np.linalg.norm(self.place - self.goal))
        return self.place.copy(), -far, False, self.steps == 20, {"success": far < 0.2}

    def render(self):
        return np.full((40, 40, 3), 30 + self.steps, np.uint8)


@pytest.fixture(scope="module")
def run(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "point"
    train(open_dataset(collected.path), small_config(steps=100), run)
    return run


def idaq(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [IDAQ, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"})
    assert not check or done.returncode == 0, done.stderr
    return done


SHORT = ("--set", "episodes=4", "--set", "reference=2")


def test_from_a_run_to_a_policy_a_report_and_a_film(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "arm"
    done = idaq("adapt", str(run), "--env", ARM, *SHORT, "--out", str(out), "--video", "--fresh", "2", "--json")
    told = json.loads(done.stdout)
    assert [episode["steps"] for episode in told["episodes"]] == [20] * 4
    assert len(told["fresh"]) == 2
    assert told["episodes"][0]["success"] in (True, False)
    best = max(episode["total_reward"] for episode in told["episodes"])
    assert told["fresh"][0]["total_reward"] == pytest.approx(best), "this system repeats itself exactly"
    page = (out / "report.html").read_text()
    assert ARM in page
    assert f"{best:.2f}" in page
    assert (out / "video.gif").read_bytes().startswith(b"GIF89a")
    policy = read_policy(out / "policy")
    assert policy.act(np.zeros(2)).shape == (2,)
    refused = idaq("report", str(out), check=False)
    assert refused.returncode == 1
    assert f"fix: open {out / 'report.html'}" in refused.stderr.replace("\n", "")
    assert told["written"] == [str(out / name) for name in ("policy", "report.html", "video.gif")]


def test_it_reads_as_a_table_and_the_same_command_plays_no_episode_twice(run: Path, tmp_path: Path) -> None:
    words = ("adapt", str(run), "--env", ARM, *SHORT, "--strategies", "idaq", "--out", str(tmp_path / "arm"))
    first, again = idaq(*words), idaq(*words)
    assert "reference" in first.stdout
    assert "iterative" in first.stdout
    assert "deployed" in first.stdout
    assert first.stdout == again.stdout
    assert "4 of 4 episodes are recorded" in again.stderr
    assert "return" not in again.stderr, "no fresh episode either"


def test_killed_it_resumes_and_ends_in_the_same_episodes(run: Path, tmp_path: Path) -> None:
    def words(out: str, slow: float) -> list[str]:
        return ["adapt", str(run), "--env", ARM, "--env-arg", f"slow={slow}", *SHORT, "--out", str(tmp_path / out)]

    whole = json.loads(idaq(*words("whole", 0.004), "--json").stdout)
    process = subprocess.Popen([IDAQ, *words("killed", 0.004)], stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if b"episode 2:" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    done = idaq(*words("killed", 0.004), "--json")
    assert "episodes are recorded" in done.stderr
    assert json.loads(done.stdout)["episodes"] == whole["episodes"]


def test_interrupted_it_says_what_is_kept_and_how_to_resume(run: Path, tmp_path: Path) -> None:
    words = ["adapt", str(run), "--env", ARM, "--env-arg", "slow=0.05", *SHORT, "--out", str(tmp_path / "arm")]
    process = subprocess.Popen([IDAQ, *words], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "episode 1:" in line:
            process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    process.stderr.close()
    assert "1 of 4 episodes are kept" in said
    assert "this resumes: idaq adapt" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--env", "Pendulum-v9"), 2, "Pendulum-v9"),
        (("--env", "CartPole-v1"), 2, "boxes of numbers"),
        (("--env", "Pendulum-v1"), 2, "observations of 3 numbers and actions of 1; the agent learned from 2 and 2"),
        (("--env", ARM, "--env-arg", "fails_at=3"), 1, "the arm is unplugged"),
        (("--env", ARM, "--env-arg", "width=3"), 2, "unexpected keyword argument 'width'"),
        (("--env", ARM, "--strategies", "idaq,posterior"), 2, "one strategy"),
        (("--env", ARM, "--strategies", "offline-context"), 1, "offline data"),
        (("--env", "Pendulum-v1:"), 2, "Pendulum-v1:"),
        (("--env", ARM, "--family", "my:family"), 2, "--family says nothing with --env"),
        (("--max-steps", "5"), 2, "--max-steps says nothing without --env"),
    ],
)
def test_what_cannot_be_adapted_to_is_said_in_words(
    run: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = idaq("adapt", str(run), *words, *SHORT, "--out", str(tmp_path / "out"), check=False)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code


def test_other_bounds_are_noted_and_other_settings_refused(run: Path, tmp_path: Path) -> None:
    words = ("adapt", str(run), "--env", ARM, *SHORT, "--out", str(tmp_path / "arm"))
    done = idaq(*words, "--env-arg", "bound=0.2")
    assert "the agent's actions lie in" in done.stdout
    refused = idaq(*words, check=False)
    assert refused.returncode == 1
    assert "env_settings.bound is 0.2, not None" in refused.stderr
    assert idaq(*words, "--force").returncode == 0
