"""The last steps of an experience as a belief: what a sequence model is conditioned on, as numbers.

Shapes: P problems, L steps of an experience, K kept, D observation, A action, W = 2 D + A + 3 numbers of a step.
"""

import numpy as np
from jaxtyping import Float32

from idaq.learn.config import AgentSpec
from idaq.loader.contexts import Experience
from idaq.loader.transitions import Transitions


def pack(experience: Experience, steps: int) -> Float32[np.ndarray, "P Z"]:
    """The last `steps` of each problem, in order, as rows [s, a, r, s', start, valid] side by side: Z = K * W.

    Rows beyond what a problem has are zeros at the end.
    """
    moves = experience.transitions
    flags = np.stack([moves.rewards, experience.starts, experience.valid], -1).astype(np.float32)
    rows = [moves.observations, moves.actions, flags[..., :1], moves.next_observations, flags[..., 1:]]
    packed = np.concatenate(rows, -1)
    counts = experience.valid.sum(1, keepdims=True)
    places = np.maximum(counts - steps, 0) + np.arange(steps)
    kept = np.zeros((len(packed), steps, packed.shape[-1]), np.float32)
    problem, step = np.nonzero(places < counts)
    kept[problem, step] = packed[problem, places[problem, step]]
    return kept.reshape(len(packed), -1)


def unpack(beliefs: Float32[np.ndarray, "P Z"], spec: AgentSpec) -> Experience:
    """What was packed, (P, K); terminations are not kept."""
    size, action = spec.observation_size, spec.action_size
    rows = beliefs.reshape(len(beliefs), -1, 2 * size + action + 3)
    observations, actions, rewards, following, flags = np.split(rows, np.cumsum([size, action, 1, size]), axis=-1)
    return Experience(
        transitions=Transitions(
            observations=observations,
            actions=actions,
            rewards=rewards[..., 0],
            next_observations=following,
            terminated=np.zeros(rows.shape[:2], bool),
        ),
        starts=flags[..., 0] > 0,
        valid=flags[..., 1] > 0,
    )
