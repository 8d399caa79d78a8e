"""What one adaptation looks like: the first reference episode, the first iterative one, and the final one, filmed.

Shapes: F frames, H x W pixels, Z latent.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from idaq.core.errors import RunError, UsageError
from idaq.core.files import replacing
from idaq.core.outside import raised_as
from idaq.core.types import Advance, Array, ignore_progress
from idaq.evaluate.protocol import number
from idaq.tasks import Family
from idaq.tasks.systems import Acts, Env, run_episode

if TYPE_CHECKING:
    from idaq.learn.algorithm import Agent  # imports torch

FRAMES, SIDE, CAPTION = 50, 256, 26
STILLS = 4
VIDEO_FILE, STILLS_FILE = "video.gif", "stills.png"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One filmed episode."""

    title: str
    frames: NDArray[np.uint8]
    """(F, SIDE, SIDE, 3)"""


def film(
    agent: "Agent", family: Family, trace: Mapping[str, Array], task: int, progress: Advance = ignore_progress
) -> list[Scene]:
    """Play three episodes of a test task again and draw them; `progress` counts episodes.

    Raises UsageError for a family that does not draw itself.
    """
    z_EZ, scenes = trace["z"][_row(trace, task)], []
    for episode, title in scene_titles(trace, task).items():
        scenes.append(Scene(title=title, frames=play(agent, family, task, z_EZ[episode])))
        progress(1)
    return scenes


def scene_titles(trace: Mapping[str, Array], task: int) -> dict[int, str]:
    """Which episodes of a test task are filmed, and what each of them is."""
    returns, reference = trace["returns"][_row(trace, task)], int(trace["reference"].item())
    last = len(returns) - 1
    chosen = {0: "reference", min(reference, last - 1): "iterative", last: "final"}
    which = {episode: "fresh episode" if episode == last else f"episode {episode + 1}" for episode in chosen}
    return {episode: f"{chosen[episode]}, {which[episode]}: return {number(returns[episode])}" for episode in chosen}


def _row(trace: Mapping[str, Array], task: int) -> int:
    return int(np.flatnonzero(trace["test_tasks"] == task)[0])


def play(agent: "Agent", family: Family, task: int, z_Z: Array) -> NDArray[np.uint8]:
    """Frames of an episode with the meta-policy under one latent: at most FRAMES of them, evenly spaced."""
    from idaq.adapt.system import SystemPolicy  # imports torch

    env = family.make(task, render_mode="rgb_array")
    every = max(1, family.horizon // FRAMES)
    policy, frames, step, done = SystemPolicy(agent.policy(z_Z[None].astype(np.float32)), agent), [], 0, False
    observation, _ = env.reset(seed=0)
    while not done:
        if step % every == 0:
            frames.append(square(env.render()))
        observation, _, terminated, truncated, _ = env.step(policy.act(observation))
        step, done = step + 1, terminated or truncated
    frames.append(square(env.render()))
    env.close()
    return np.stack(frames)


def film_system(env: Env, policy: Acts, max_steps: int | None = None) -> Scene:
    """A fresh episode of a policy on an environment that renders: at most FRAMES pictures, evenly spaced.

    Closes the environment. Raises UsageError for one that does not draw itself, RunError for one that fails.
    """
    drawn: list[NDArray[np.uint8]] = []
    with closing(env), raised_as(RunError, "filming the environment"):
        episode = run_episode(
            env, policy, seed=0, max_steps=max_steps, on_step=lambda *_: drawn.append(square(env.render()))
        )
    chosen = np.unique(np.linspace(0, len(drawn) - 1, FRAMES).astype(int))
    title = f"deployed policy: return {episode.total_reward:.0f}"
    return Scene(title=title, frames=np.stack([drawn[frame] for frame in chosen]))


def write_video(scenes: Sequence[Scene], path: Path) -> None:
    """The scenes side by side as an animated GIF, the shorter ones waiting at their end."""
    length = max(len(scene.frames) for scene in scenes)
    pictures = []
    for frame in range(length):
        columns = [_captioned(s.frames[min(frame, len(s.frames) - 1)], s.title) for s in scenes]
        pictures.append(Image.fromarray(np.concatenate(columns, 1)))
    with replacing(path) as temporary:
        pictures[0].save(temporary, "GIF", save_all=True, append_images=pictures[1:], duration=100, loop=0)


def write_stills(scenes: Sequence[Scene], path: Path) -> None:
    """One row a scene, STILLS moments from its start to its end, as a PNG."""
    rows = []
    for scene in scenes:
        moments = np.linspace(0, len(scene.frames) - 1, STILLS).astype(int)
        rows.append(_captioned(np.concatenate([_framed(frame) for frame in scene.frames[moments]], 1), scene.title))
    with replacing(path) as temporary:
        Image.fromarray(np.concatenate(rows, 0)).save(temporary, "PNG", optimize=True)


def square(rendered: object) -> NDArray[np.uint8]:
    """What an environment has drawn, (SIDE, SIDE, 3). Raises UsageError where it has drawn nothing."""
    if not isinstance(rendered, np.ndarray):
        raise UsageError("the environment does not draw itself")
    return np.asarray(Image.fromarray(rendered).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


def _framed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With a thin grey edge: white pictures stand apart on a white page."""
    framed = Image.fromarray(picture)
    ImageDraw.Draw(framed).rectangle((0, 0, SIDE - 1, SIDE - 1), outline=(160, 166, 174))
    return np.asarray(framed)


def _captioned(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    height, width, _ = picture.shape
    canvas = Image.new("RGB", (width, height + CAPTION), "white")
    canvas.paste(Image.fromarray(picture), (0, CAPTION))
    ImageDraw.Draw(canvas).text((8, 6), text, fill="black", font=ImageFont.load_default(13))
    return np.asarray(canvas)
