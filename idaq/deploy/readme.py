"""README.md of a policy folder: what it is, and how to run it."""

from collections.abc import Mapping

from idaq.core.text import printable
from idaq.deploy.document import PolicyDocument


def policy_readme(document: PolicyDocument, how_to_run: Mapping[str, str]) -> str:
    """Markdown; `how_to_run` has a section for each format."""
    source = document.source
    belief = printable(source.belief) if source else "unknown"
    dataset = printable(source.dataset_id) if source and source.dataset_id else "unknown"
    bounds = "\n".join(
        f"| {number} | {low:g} | {high:g} |"
        for number, (low, high) in enumerate(zip(document.action_low, document.action_high, strict=True))
    )
    sections = "\n\n".join(f"### {name}\n\n{text}" for name, text in how_to_run.items())
    return f"""# A policy

From an observation of {document.observation_size} numbers to an action of {document.action_size}, both in the system's
own units. It is deterministic, has no memory, and needs no idaq to run.

- belief: {belief}
- agent: `{document.algorithm}`, seed {document.train_seed}, {document.train_steps} steps, digest
  `{document.agent_digest[:16]}`
- trained on: {dataset}
- written by idaq {document.idaq} on {document.created}

## What to know before it moves something

- Observations are rounded to float32 and normalised as in training: give them in the same units and the same order
  (C order, where an observation has several axes). NaN is refused, not guessed.
- Every number of an action lies between `low` and `high`. Where the system takes an action of several axes, reshape
  it in C order.
- Outside what it was trained on nothing is known of what it does.

| number of the action | low | high |
|---|---|---|
{bounds}

## How to run it

### with idaq

`idaq policy serve FOLDER` answers observations over HTTP; in Python:

```python
import idaq

policy = idaq.read_policy("path/of/this/folder")
action = policy.act(observation)
```

{sections}

`policy.json` states all of this for programs; `weights.safetensors` holds the arrays. The formula is

```text
x = (observation - observation_mean) / observation_std
x = activation(x @ weight + bias)                       for each layer, {", ".join(document.activations)}
action = clip(x * action_scale + action_centre, action_low, action_high)
```
"""
