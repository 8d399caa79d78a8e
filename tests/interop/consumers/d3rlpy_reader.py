"""d3rlpy: idaq's converter, d3rlpy's own transitions, and 1,000 steps of TD3+BC. Arguments: the exports' folder."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

root = Path(sys.argv[1]) / "root"
os.environ["MINARI_DATASETS_PATH"] = str(root)
import d3rlpy  # noqa: E402
import numpy as np  # noqa: E402

from idaq.loader import open_dataset  # noqa: E402
from idaq.share.frameworks import to_d3rlpy  # noqa: E402


def read(mdp):
    rows = []
    for number, episode in enumerate(mdp.episodes):
        for index in range(episode.transition_count):
            row = mdp.transition_picker(episode, index)
            rows.append((row.observation, row.action, row.reward[0], row.next_observation, bool(row.terminal), number))
    names = ("observation", "action", "reward", "next_observation", "terminated", "episode")
    return {name: np.array(column).tolist() for name, column in zip(names, zip(*rows))}  # noqa: B905


def fit(mdp):
    d3rlpy.seed(0)
    learner = d3rlpy.algos.TD3PlusBCConfig(batch_size=64).create(device="cpu:0")
    learner.fit(
        mdp,
        n_steps=1000,
        n_steps_per_epoch=1000,
        show_progress=False,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
    )
    actions = learner.predict(np.concatenate([episode.observations for episode in mdp.episodes]))
    return {"transitions": mdp.transition_count, "finite": bool(np.isfinite(actions).all()), "shape": actions.shape}


def read_grid(mdp):
    """Discrete actions: transitions, and 200 steps of CQL."""
    rows = read(mdp)
    learner = d3rlpy.algos.DiscreteCQLConfig(batch_size=16).create(device="cpu:0")
    silent = d3rlpy.logging.NoopAdapterFactory()
    learner.fit(mdp, n_steps=200, n_steps_per_epoch=200, show_progress=False, logger_adapter=silent)
    chosen = learner.predict(np.concatenate([episode.observations for episode in mdp.episodes]))
    return {**rows, "actions": mdp.dataset_info.action_size, "chosen": sorted(set(chosen.tolist()))}


def read_parts(mdp):
    """Several observations at once: their parts of each episode's first row, and their shapes."""
    first = mdp.episodes[0].observations
    return {"shapes": [part.shape[1:] for part in first], "camera": first[0][0].tolist()}


def misread(dataset):
    """Episodes of which d3rlpy's own reader of Minari datasets gives other observations."""
    mdp, _env = d3rlpy.datasets.get_minari("idaq/point-robot/expert-v0")
    pairs = enumerate(zip(mdp.episodes, dataset))  # noqa: B905
    return [number for number, (found, true) in pairs if (found.observations != true.observations[:-1]).any()]


def more(name):
    return to_d3rlpy(open_dataset(f"idaq/made/{name}-v0", Path(sys.argv[1]) / "more"))


tagged, real = (open_dataset(name, root) for name in ("idaq/made/tagged-v0", "idaq/point-robot/expert-v0"))
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("d3rlpy", "gymnasium", "torch", "numpy")},
            "whole": read(to_d3rlpy(tagged)),
            "misread": misread(real),
            "one_task": read(to_d3rlpy(tagged, tasks=[9])),
            "returns": [float(episode.compute_return()) for episode in to_d3rlpy(tagged).episodes],
            "fit_one_task": fit(to_d3rlpy(real, tasks=[real.tasks[0].task_id])),
            "fit_all": fit(to_d3rlpy(real)),
            "grid": read_grid(more("grid")),
            "pictures": read(more("pictures")),
            "dict": read_parts(more("dict")),
        }
    )
)
