"""Films of an adaptation: a real robot drawn off screen, three stages, a GIF and a sheet of stills."""

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from idaq.core.errors import RunError, UsageError
from idaq.evaluate.video import CAPTION, SIDE, Scene, film, film_system, play, write_stills, write_video
from idaq.learn.algorithm import Agent
from idaq.learn.algorithms.focal_config import FocalTd3BcConfig
from idaq.learn.config import AgentSpec
from idaq.learn.latent.config import EncoderConfig, EnsembleConfig
from idaq.learn.learners.config import Td3BcConfig
from idaq.tasks import get_family, rendering
from tests.marks import DRAWS


def an_agent(size: int, action: int) -> Agent:
    config = FocalTd3BcConfig(
        encoder=EncoderConfig(hidden=8, latent=3), learner=Td3BcConfig(hidden=8), ensemble=EnsembleConfig(hidden=8)
    )
    spec = AgentSpec(
        observation_mean=[0.0] * size,
        observation_std=[1.0] * size,
        change_std=[1.0] * size,
        reward_mean=0.0,
        reward_std=1.0,
        action_centre=[0.0] * action,
        action_scale=[1.0] * action,
    )
    return config.create(spec, "cpu").agent(None)


def test_the_three_stages_of_a_trace_are_filmed_and_written(tmp_path: Path) -> None:
    trace = {
        "test_tasks": np.array([4, 9]),
        "returns": np.array([[1.0, 2, 3, 4], [-20.0, -9, -5, -4]]),
        "z": np.zeros((2, 4, 3), np.float32),
        "reference": np.array([2]),
    }
    counted: list[int] = []
    scenes = film(an_agent(2, 2), get_family("point-robot"), trace, 9, counted.append)
    assert [scene.title for scene in scenes] == [
        "reference, episode 1: return -20.00",
        "iterative, episode 3: return -5.00",
        "final, fresh episode: return -4.00",
    ]
    assert counted == [1, 1, 1]
    assert all(scene.frames.shape == (21, SIDE, SIDE, 3) for scene in scenes)
    write_video(scenes, tmp_path / "v.gif")
    write_stills(scenes, tmp_path / "s.png")
    with Image.open(tmp_path / "v.gif") as video, Image.open(tmp_path / "s.png") as stills:
        assert video.size == (3 * SIDE, SIDE + CAPTION)
        assert 2 <= getattr(video, "n_frames", 1) <= 21  # frames that repeat are merged
        assert stills.size == (4 * SIDE, 3 * (SIDE + CAPTION))


def test_a_shorter_scene_waits_at_its_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scenes = [Scene(title="t", frames=rng.integers(0, 255, (n, SIDE, SIDE, 3), np.uint8)) for n in (2, 5)]
    write_video(scenes, tmp_path / "v.gif")
    with Image.open(tmp_path / "v.gif") as video:
        assert getattr(video, "n_frames", 1) == 5


@DRAWS
def test_meta_world_is_drawn_the_right_way_up_without_a_screen() -> None:
    env = get_family("ml1/reach").make(3, render_mode="rgb_array")
    env.reset()
    picture = env.render()
    env.close()
    assert isinstance(picture, np.ndarray)
    assert picture.shape == (SIDE, SIDE, 3)
    red = (picture[..., 0] > 2.0 * picture[..., 1] + 20).nonzero()[0]  # the arm, whose base stands on the floor
    assert red.size > 500
    assert picture.std() > 10


def test_where_nothing_can_draw_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(UsageError, match="neither EGL nor OSMesa is installed") as caught:
        rendering.prepare_offscreen()
    assert "libegl1 or libosmesa6" in str(caught.value.hint)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    rendering.prepare_offscreen()


def test_a_family_that_does_not_draw_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gym.Wrapper, "render", lambda self: None)
    with pytest.raises(UsageError, match="does not draw itself"):
        play(an_agent(2, 2), get_family("point-robot"), 0, np.zeros(3, np.float32))


class Undrawn(gym.Env):
    """Ends at once; its window does not open."""

    observation_space = action_space = gym.spaces.Box(-1, 1, (1,))
    closed = 0

    def reset(self, seed=None, options=None):
        return np.zeros(1), {}

    def step(self, action):
        return np.zeros(1), 0.0, True, False, {}

    def render(self):
        raise ImportError("pygame is not installed")

    def close(self):
        self.closed += 1


class Still:
    def act(self, observation):
        return np.zeros(1)


def test_a_system_that_cannot_draw_is_told_in_words_and_closed() -> None:
    env = Undrawn()
    with pytest.raises(RunError, match="filming the environment: ImportError: pygame is not installed"):
        film_system(env, Still())
    assert env.closed == 1
