"""OGBench: its own loader, in both of its forms. Arguments: the exports' folder."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import ogbench

exports = Path(sys.argv[1])


def lists(rows):
    return {name: values.tolist() for name, values in rows.items()}


compact = ogbench.load_dataset(str(exports / "ogbench.npz"), compact_dataset=True)
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("ogbench", "gymnasium", "numpy")},
            "rows": lists(ogbench.load_dataset(str(exports / "ogbench.npz"), action_dtype=np.float64)),
            "compact": lists(compact),
            "pictures": lists(
                ogbench.load_dataset(str(exports / "ogbench-pictures.npz"), ob_dtype=np.uint8, action_dtype=np.int32)
            ),
            "grid": lists(ogbench.load_dataset(str(exports / "ogbench-grid.npz"), action_dtype=np.int32)),
        }
    )
)
