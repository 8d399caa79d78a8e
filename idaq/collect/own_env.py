"""An environment of the user's own, which is told its task by its keyword arguments: one for each parameter of a task,
under the parameter's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from idaq.core.config import from_mapping
from idaq.core.errors import DatasetError, PluginError, UsageError
from idaq.core.outside import raised_as
from idaq.core.types import TaskParams
from idaq.format.documents import EnvReference
from idaq.format.gym_spaces import supported
from idaq.tasks.systems import Env, env_spec_of, make_env


@dataclass(frozen=True, kw_only=True)
class OwnEnv:
    """A Gymnasium id or `package.module:function`, and the arguments that it gets for every task."""

    name: str
    settings: Mapping[str, Any]
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    spec_json: str
    """as Minari states it in metadata.json: without a task's parameters"""
    entry_point: str
    kwargs: Mapping[str, Any]
    max_episode_steps: int | None

    def make(self, params: TaskParams) -> Env:
        """The environment of a task.

        Raises PluginError where it does not take one of its parameters, UsageError for one that is set as well.
        """
        both = sorted(self.settings.keys() & params.keys())
        if both:
            said = f"{self.name} gets {', '.join(both)} twice: from --env-arg, and as a parameter of a task"
            raise UsageError(said, hint="--env-arg is for what is the same for all tasks: leave it out")
        try:
            return make_env(self.name, {**self.settings, **params})
        except PluginError as error:
            rule = f"it must take each parameter of a task as a keyword argument: {', '.join(params)}"
            raise PluginError(error.message, hint=rule if params else error.hint, details=error.details) from error

    def reference(self, params: TaskParams) -> EnvReference:
        """As a task of a dataset states it. Raises ConfigError for arguments that JSON does not hold."""
        stated = {
            "id": self.name,
            "entry_point": self.entry_point,
            "kwargs": {**self.kwargs, **params},
            "max_episode_steps": self.max_episode_steps,
        }
        return from_mapping(EnvReference, stated, where=f"the environment {self.name}")


def own_env(name: str, settings: Mapping[str, Any], params: TaskParams | None = None) -> OwnEnv:
    """What a user has named, made once to see what it is; with `params`, where it cannot be made without.

    Raises UsageError for an unknown Gymnasium id, PluginError for what makes no environment, DatasetError for spaces
    that no dataset holds.
    """
    try:
        env = make_env(name, settings)
    except PluginError:
        if not params:
            raise
        env = make_env(name, {**settings, **params})
    with raised_as(PluginError, f"describing {name}"):
        spec = env_spec_of(name, settings, env)
        spec_json, spaces = spec.to_json(), (env.observation_space, env.action_space)
        env.close()
    for kind, space in zip(("observations", "actions"), spaces, strict=True):
        try:
            supported(space, kind)
        except DatasetError as error:
            hint = "wrap it: gymnasium.wrappers.FlattenObservation makes one row of numbers"
            said = f"the environment {name} has {error.message}"
            raise DatasetError(said, hint=hint if kind == "observations" else error.hint) from None
    return OwnEnv(
        name=name,
        settings=dict(settings),
        observation_space=spaces[0],
        action_space=spaces[1],
        spec_json=spec_json,
        entry_point=str(spec.entry_point or ""),
        kwargs=dict(spec.kwargs),
        max_episode_steps=spec.max_episode_steps,
    )
