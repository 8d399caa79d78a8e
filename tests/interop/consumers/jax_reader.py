"""JAX arrays, and a Flashbax item buffer that samples. Arguments: the exports' folder."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import jax

from idaq.core.errors import DatasetError
from idaq.loader import open_dataset
from idaq.share.frameworks import to_flashbax, to_jax

exports = Path(sys.argv[1])
tagged = open_dataset("idaq/made/tagged-v0", exports / "root")


def lists(rows):
    return {name: values.tolist() for name, values in rows.items()}


def refusal(dataset):
    try:
        to_jax(dataset)
    except DatasetError as error:
        return error.message
    return ""


buffer, state = to_flashbax(tagged, 40)
found = {
    "versions": {name: version(name) for name in ("jax", "flashbax", "numpy")},
    "whole": lists(to_jax(tagged)),
    "sampled": lists(buffer.sample(state, jax.random.key(0)).experience),
    "refusal": refusal(open_dataset("idaq/made/grid-v0", exports / "more")),
}
jax.config.update("jax_enable_x64", True)
grid = to_jax(open_dataset("idaq/made/grid-v0", exports / "more"), floats=None)
print(json.dumps({**found, "grid": lists(grid), "kind": str(grid["reward"].dtype)}))
