"""Recorded episodes played again and filmed: the recorded actions, under the recorded seed, on the recorded task.

Shapes: T steps, F frames of SIDE x SIDE pixels.
"""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from idaq.core.errors import IdaqError, UsageError
from idaq.core.types import Array, Episode
from idaq.evaluate.video import SIDE, square
from idaq.tasks import Family

FRAMES, COLUMNS = 48, 8
_QUALITY = 70


@dataclass(frozen=True, kw_only=True)
class Film:
    """One episode in pictures."""

    steps: list[int]
    """(F,) how many steps had been taken when each picture was drawn"""
    picture: str
    """a data: URL: the F pictures row by row, COLUMNS in each"""


def replay(family: Family, task: int, episode: Episode, seed: int | None) -> Film:
    """Play an episode again and draw it.

    Raises UsageError where its seed is unknown and matters, where nothing is drawn, or where what is seen is not what
    was recorded: a film of another episode would be worse than none.
    """
    if seed is None and not family.deterministic:
        raise UsageError("its seed is unknown")
    steps = np.unique(np.linspace(0, len(episode), min(len(episode) + 1, FRAMES)).astype(int)).tolist()
    try:
        frames = _play(family, task, episode, seed, set(steps))
    except IdaqError:
        raise
    except Exception as error:  # the family's code, and the simulator's below it
        raise UsageError(f"{type(error).__name__}: {error}") from error
    return Film(steps=steps, picture=_sheet(frames))


def _play(family: Family, task: int, episode: Episode, seed: int | None, drawn: set[int]) -> list[NDArray[np.uint8]]:
    env = family.make(task, render_mode="rgb_array")
    try:
        observation, _ = env.reset(seed=None if seed is None else seed, options={"task": task})
        _check_same(observation, episode.observations[0], 0)
        frames = [square(env.render())]
        for step, action in enumerate(episode.actions, 1):
            observation, *_ = env.step(action)
            _check_same(observation, episode.observations[step], step)
            if step in drawn:
                frames.append(square(env.render()))
    finally:
        env.close()
    return frames


def _check_same(seen: Array, recorded: Array, step: int) -> None:
    if not (np.shape(seen) == recorded.shape and np.allclose(seen, recorded, rtol=1e-4, atol=1e-5)):
        raise UsageError(f"played again, it departs from what was recorded at step {step}")


def _sheet(frames: list[NDArray[np.uint8]]) -> str:
    rows = -(-len(frames) // COLUMNS)
    sheet = np.zeros((rows * SIDE, COLUMNS * SIDE, 3), np.uint8)
    for number, frame in enumerate(frames):
        row, column = divmod(number, COLUMNS)
        sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = frame
    file = io.BytesIO()
    Image.fromarray(sheet).save(file, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
