"""policy.json: what a policy folder holds, and where it came from."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from idaq.core.config import config
from idaq.core.types import AtLeastOne, Line, Sha256, VersionOne
from idaq.learn.dense import Activation

POLICY, WEIGHTS, README = "policy.json", "weights.safetensors", "README.md"
PlainName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""A file of the folder itself."""


@config
class PolicyFile:
    """One file that the policy is in."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


@config
class PolicySource:
    """Where the belief came from, and what the agent was trained on; null where that is not known."""

    belief: Line
    """in words"""
    dataset_id: str | None = None
    content_digest: str | None = None
    """of that dataset; empty for datasets of other makers"""


@config
class PolicyDocument:
    """policy.json: everything but the numbers of the weights."""

    policy_version: VersionOne = 1
    algorithm: Line
    """of the agent, as text: nothing is imported because of it"""
    agent_digest: Sha256
    """of all that the agent has learned"""
    train_seed: int
    train_steps: AtLeastOne
    source: PolicySource | None
    """null where whoever saved it did not say"""
    dtype: Literal["float32"] = "float32"
    """that it calculates in: observations are rounded to it"""
    observation_size: AtLeastOne
    """numbers of an observation, in C order where it has several axes"""
    action_size: AtLeastOne
    action_low: list[float]
    """no action is below"""
    action_high: list[float]
    activations: list[Activation]
    """of each layer"""
    belief_size: Annotated[int, Field(ge=0)]
    """numbers of the belief, which is folded into the layers; kept in the weights for the record"""
    largest_difference: Annotated[float, Field(ge=0)]
    """from the agent's own actions on random observations, in half-widths of the action space"""
    formats: list[Line]
    """what it was written for"""
    files: dict[PlainName, PolicyFile]
    """the files that hold the policy"""
    idaq: str
    """version that wrote it"""
    created: str

    @model_validator(mode="after")
    def _hangs_together(self) -> "PolicyDocument":
        if WEIGHTS not in self.files:
            raise ValueError(f"files must name {WEIGHTS}")
        if not self.action_size == len(self.action_low) == len(self.action_high):
            raise ValueError("action_low and action_high must have action_size numbers")
        return self
