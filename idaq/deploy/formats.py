"""What a policy is written for, by name: files that another runtime reads, and a script that runs them there.

Every policy folder has policy.json and weights.safetensors; a format adds what its runtime wants.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from idaq.core.registry import Registry, accept_like, load_built_in
from idaq.learn.dense import DensePolicy

RUNTIMES = Path(__file__).parent / "runtimes"


class PolicyFormat(Protocol):
    """One runtime. A class that has these members is a format too: it is called without arguments."""

    @property
    def description(self) -> str:
        """What it writes, in one line."""
        ...

    @property
    def how_to_run(self) -> str:
        """Markdown for the folder's README: what to install, and the few lines that run it."""
        ...

    def write(self, policy: DensePolicy, folder: Path) -> Sequence[str]:
        """Add files to the folder, which appears as a whole; returns the names of those that hold the policy."""
        ...


@dataclass(frozen=True, kw_only=True)
class BuiltInFormat:
    """A format that ships: a script of runtimes/, and a file that `writer` makes."""

    description: str
    install: str
    """what pip installs where it runs"""
    script: str
    """name without ending"""
    file: str = ""
    """beside weights.safetensors"""
    writer: str = ""
    """`package.module:function` of the policy and the file's path, imported when it writes"""

    @property
    def how_to_run(self) -> str:
        """As `PolicyFormat.how_to_run`."""
        return f"""`pip install {self.install}`, then in this folder

```python
import {self.script}

policy = {self.script}.load()  # elsewhere .load("path/of/this/folder")
action = policy(observation)  # of one observation, or of rows of them
```

or `python {self.script}.py "[0.1, 0.2, ...]"`, which prints the action of one observation."""

    def write(self, policy: DensePolicy, folder: Path) -> Sequence[str]:
        """As `PolicyFormat.write`."""
        name = f"{self.script}.py"
        (folder / name).write_bytes((RUNTIMES / name).read_bytes())
        if not self.writer:
            return []
        write: Callable[[DensePolicy, Path], object] = load_built_in(self.writer)
        write(policy, folder / self.file)
        return [self.file]


def write_npz(policy: DensePolicy, path: Path) -> None:
    """The arrays as one NumPy archive, without pickle, the activations among them as text."""
    arrays = {**policy.arrays(), "activations": np.array(policy.activations)}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]


BUILT_IN = {
    "npz": BuiltInFormat(
        description="weights.npz and run_numpy.py: NumPy alone",
        install="numpy",
        script="run_numpy",
        file="weights.npz",
        writer="idaq.deploy.formats:write_npz",
    ),
    "torch": BuiltInFormat(
        description="run_torch.py, an nn.Module on weights.safetensors: PyTorch and safetensors",
        install="torch safetensors",
        script="run_torch",
    ),
    "onnx": BuiltInFormat(
        description="policy.onnx and run_onnx.py: ONNX Runtime",
        install="onnxruntime",
        script="run_onnx",
        file="policy.onnx",
        writer="idaq.deploy.onnx_graph:write_onnx",
    ),
}
POLICY_FORMATS = Registry[PolicyFormat]("policy format", "idaq.policy_formats", BUILT_IN, accept_like(PolicyFormat))
