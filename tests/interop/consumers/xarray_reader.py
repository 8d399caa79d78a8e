"""xarray: opens the Zarr form as one dataset, of a Dict as a tree of them. Arguments: the exports' folder."""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import xarray

exports = Path(sys.argv[1])
warnings.simplefilter("error")


def columns(place):
    tree = xarray.open_datatree(place, engine="zarr", consolidated=False)
    found = {}
    for node in tree.subtree:
        for name, array in node.data_vars.items():
            found["/".join((node.path, name)).strip("/")] = {"dims": array.dims, "values": array.values.tolist()}
    return found


whole = xarray.open_zarr(exports / "tagged.zarr", consolidated=False)
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("xarray", "zarr", "numpy")},
            "attributes": whole.attrs["idaq"],
            "whole": {name: {"dims": a.dims, "values": a.values.tolist()} for name, a in whole.data_vars.items()},
            "mean_reward": float(whole.rewards.mean("rows:T")),
            "dict": columns(exports / "dict.zarr"),
        }
    )
)
