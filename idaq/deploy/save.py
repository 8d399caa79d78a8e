"""Write a policy folder: what an agent does under one belief, for a system that has no idaq.

    idaq.save_policy("policy", agent, agent.policy(belief[None]), formats=["onnx"])

Shapes: Z belief, D observation, A action.
"""

import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import numpy as np
from safetensors.numpy import save

import idaq
from idaq.core.config import to_mapping
from idaq.core.errors import DeployError, PluginError
from idaq.core.files import remove, replacing_folder, sha256_file, write_json
from idaq.core.outside import raised_as
from idaq.core.policy import Policy
from idaq.core.registry import missing_members
from idaq.core.types import Floats
from idaq.deploy.document import POLICY, README, WEIGHTS, PolicyDocument, PolicyFile, PolicySource
from idaq.deploy.formats import POLICY_FORMATS, PolicyFormat
from idaq.deploy.readme import policy_readme
from idaq.learn.algorithm import Agent, BeliefPolicy, ExportingAgent
from idaq.learn.checkpoint import weights_digest
from idaq.learn.dense import DensePolicy

_OBSERVATIONS = 256
"""on which the exported policy is held against the agent's own"""
_TOLERANCE = 1e-4
"""half-widths of the action space: far above rounding, far below another policy"""


def save_policy(
    folder: str | Path,
    agent: Agent,
    policy: Policy,
    *,
    formats: Sequence[str] = ("npz",),
    source: PolicySource | None = None,
    force: bool = False,
) -> PolicyDocument:
    """Write the policy of one problem into a folder that appears as a whole; `formats` are names of policy formats.

    `policy` is the agent's under one belief, as `agent.policy` and the strategies give. `source` says where that
    belief came from. `force` replaces a policy folder that is there, and nothing else.

    Raises DeployError for a folder that is there, and for a policy that cannot leave: it has a memory, is of several
    problems, its agent is no ExportingAgent, or has learned from other spaces than arrays of numbers. PluginError where
    the exported policy acts otherwise than the agent.
    """
    folder = Path(folder).expanduser()
    chosen = {name: POLICY_FORMATS.get(name) for name in dict.fromkeys(formats)}
    belief = _belief(agent, policy)
    dense = _exported(agent, belief)
    difference = _difference(dense, policy)
    if not difference <= _TOLERANCE:
        raise PluginError(
            f"export_policy of {agent.config.algorithm} acts otherwise than the policy that is saved: by {difference:g}"
            f" half-widths of the action space on one of {_OBSERVATIONS} random observations",
            hint="export_policy(belief) must act as policy(belief) does",
        )
    with _new_folder(folder, force) as made:
        document = _write(made, agent, dense, belief, chosen, source, difference)
        text = policy_readme(document, {name: one.how_to_run for name, one in chosen.items()})
        (made / README).write_text(text, encoding="utf-8")
    return document


def _belief(agent: Agent, policy: Policy) -> Floats:
    """(Z,) under which the policy acts. Raises DeployError as `save_policy` says."""
    algorithm = agent.config.algorithm
    if lacking := missing_members(ExportingAgent, agent):
        raise DeployError(
            f"a policy of {algorithm} cannot leave: its agent has no {', '.join(lacking)}",
            hint="write export_policy(belief) -> idaq.DensePolicy, if the policy is dense layers under a fixed belief",
        )
    if agent.spec.view is not None:
        raise DeployError(
            f"a policy of {algorithm} on these spaces cannot leave: their values become numbers and back (one-hot,"
            " images, leaves of a Dict), which dense layers do not do",
            hint="keep the agent where it acts: idaq.load_agent(run), and session.deploy().act(observation)",
        )
    if not isinstance(policy, BeliefPolicy):
        raise DeployError(
            f"a {type(policy).__name__} cannot leave: it is no policy under a fixed belief, and dense layers have no "
            "memory and no random numbers",
            hint="deploy with a strategy that settles on a belief, such as idaq or best-of-prior",
        )
    if len(policy.beliefs) != 1:
        raise DeployError(
            f"a policy of {len(policy.beliefs)} problems was given, of one it can be saved",
            hint="policy.of_problems(np.array([0])) is that of the first",
        )
    return np.asarray(policy.beliefs[0], np.float32)


def _exported(agent: Agent, belief: Floats) -> DensePolicy:
    what = f"export_policy of {agent.config.algorithm}"
    with raised_as(PluginError, what):
        dense: object = cast(ExportingAgent, agent).export_policy(belief)
    if not isinstance(dense, DensePolicy):
        raise PluginError(f"{what} gave a {type(dense).__name__}", hint="idaq.DensePolicy.of(agent.spec, layers)")
    sizes = len(dense.observation_mean), len(dense.action_centre)
    if sizes != (agent.spec.observation_size, agent.spec.action_size):
        raise PluginError(f"{what} gave a policy from {sizes[0]} numbers to {sizes[1]}, which are not the agent's")
    return dense


def _difference(dense: DensePolicy, policy: Policy) -> float:
    """The largest from the agent's own actions, in half-widths of the action space; one observation at a time."""
    normal = np.random.default_rng(0).standard_normal((_OBSERVATIONS, len(dense.observation_mean)))
    observations = (normal * dense.observation_std + dense.observation_mean).astype(np.float32)
    policy.reset()
    own = np.concatenate([policy.act(one[None]) for one in observations])
    difference = np.abs(dense.act(observations) - np.clip(own, dense.action_low, dense.action_high))
    return float((difference / ((dense.action_high - dense.action_low) / 2)).max())


def _write(
    folder: Path,
    agent: Agent,
    dense: DensePolicy,
    belief: Floats,
    formats: dict[str, PolicyFormat],
    source: PolicySource | None,
    difference: float,
) -> PolicyDocument:
    (folder / WEIGHTS).write_bytes(save({**dense.arrays(), "belief": belief}))
    names = [WEIGHTS]
    for name, one in formats.items():
        with raised_as(DeployError, f"policy format {name}"):
            names += one.write(dense, folder)
    document = PolicyDocument(
        algorithm=agent.config.algorithm,
        agent_digest=weights_digest(agent),
        train_seed=agent.config.seed,
        train_steps=agent.config.steps,
        source=source,
        observation_size=len(dense.observation_mean),
        action_size=len(dense.action_centre),
        action_low=dense.action_low.tolist(),
        action_high=dense.action_high.tolist(),
        activations=dense.activations,
        belief_size=len(belief),
        largest_difference=difference,
        formats=list(formats),
        files={name: _file(folder / name) for name in names},
        idaq=idaq.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_json(folder / POLICY, to_mapping(document))
    return document


def _file(path: Path) -> PolicyFile:
    return PolicyFile(size=path.stat().st_size, sha256=sha256_file(path))


@contextmanager
def _new_folder(folder: Path, force: bool) -> Generator[Path]:
    """Yield an empty folder that becomes `folder` on a clean exit. Raises DeployError for what may not be replaced."""
    _check_place(folder, force)
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.old")
    with replacing_folder(folder) as temporary:
        _check_place(folder, force)  # another export may have ended while this one waited for the place
        yield temporary
        if old.exists():
            remove(old)  # of a run that was killed
        if folder.exists():
            folder.rename(old)
    shutil.rmtree(old, ignore_errors=True)


def _check_place(folder: Path, force: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / POLICY).is_file():
        raise DeployError(f"{folder} is there, and is no policy folder", hint="choose another place")
    if not force:
        raise DeployError(f"{folder} holds a policy already", hint="--force replaces it, or choose another place")
