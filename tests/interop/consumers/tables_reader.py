"""pandas, Polars and DuckDB on the Parquet export; h5py on the dataset itself. Arguments: the exports' folder."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import duckdb
import h5py
import numpy as np
import pandas
import polars

exports = Path(sys.argv[1])
path = exports / "tagged.parquet"


def plain(value):
    return value.tolist() if hasattr(value, "tolist") else value


def with_pandas():
    frame = pandas.read_parquet(path)
    return {name: [plain(value) for value in frame[name]] for name in frame.columns}


def with_polars():
    frame = polars.read_parquet(path)
    return {name: frame[name].to_list() for name in frame.columns}


def with_duckdb():
    found = duckdb.sql(f"select * from '{path}' order by episode, step")
    rows = found.fetchall()
    return {name: [row[place] for row in rows] for place, name in enumerate(found.columns)}


def with_h5py():
    columns = {name: [] for name in ("observation", "action", "reward", "next_observation", "terminated", "truncated")}
    with h5py.File(exports / "root/idaq/made/tagged-v0/data/main_data.hdf5") as file:
        for number in range(len(file)):
            episode = file[f"episode_{number}"]
            columns["observation"] += episode["observations"][:-1].tolist()
            columns["next_observation"] += episode["observations"][1:].tolist()
            columns["action"] += episode["actions"][:].tolist()
            columns["reward"] += episode["rewards"][:].tolist()
            columns["terminated"] += episode["terminations"][:].tolist()
            columns["truncated"] += episode["truncations"][:].tolist()
    return columns


def everything():
    """The columns of a dataset with a Dict of spaces and extra columns, by pandas."""
    frame = pandas.read_parquet(exports / "dict.parquet")
    return {name: [plain(value) for value in frame[name]] for name in frame.columns}


queries = {
    "polars": polars.scan_parquet(path).filter(polars.col("task_index") == 9).select(polars.len()).collect().item(),
    "duckdb": duckdb.sql(f"select count(*) from '{path}' where task_id = 'task-9'").fetchall()[0][0],
    "pandas": len(pandas.read_parquet(path, filters=[("task_index", "==", 9)])),
}
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("pandas", "polars", "duckdb", "h5py", "pyarrow", "numpy")},
            "pandas": with_pandas(),
            "polars": with_polars(),
            "duckdb": with_duckdb(),
            "h5py": with_h5py(),
            "npz": {name: np.load(exports / "all.npz")[name].tolist() for name in ("observations", "truncated")},
            "of_task_9": queries,
            "dict": everything(),
            "dict_rows": [
                polars.read_parquet(exports / "dict.parquet").height,
                duckdb.sql(f"select count(\"infos/height\") from '{exports / 'dict.parquet'}'").fetchall()[0][0],
            ],
        }
    )
)
