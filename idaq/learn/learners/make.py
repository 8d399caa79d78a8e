"""Learners by the `kind` of their settings."""

from typing import Any

from idaq.learn.learners.bc import Bc
from idaq.learn.learners.config import BcConfig, IqlConfig, LearnerConfig, SacConfig
from idaq.learn.learners.iql import Iql
from idaq.learn.learners.learner import Learner
from idaq.learn.learners.sac import Sac
from idaq.learn.learners.td3bc import Td3Bc


def make_learner(config: LearnerConfig, input_size: int, action_size: int) -> Learner[Any]:
    """The learner of these settings, its weights drawn from torch's generator."""
    if isinstance(config, BcConfig):
        return Bc(config, input_size, action_size)
    if isinstance(config, IqlConfig):
        return Iql(config, input_size, action_size)
    if isinstance(config, SacConfig):
        return Sac(config, input_size, action_size)
    return Td3Bc(config, input_size, action_size)
