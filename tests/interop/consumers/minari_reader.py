"""Minari: load, iterate, filter, sample, recover environments, normalise, show. Arguments: the exports' folder."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

exports = Path(sys.argv[1])
os.environ["MINARI_DATASETS_PATH"] = str(exports / "root")
import minari  # noqa: E402
import numpy as np  # noqa: E402

WHOLE, TASKS = "idaq/made/tagged-v0", [f"idaq/made/tagged/task-{task}-v0" for task in (2, 5, 9)]


def read(dataset_id):
    dataset = minari.load_dataset(dataset_id)
    columns = {name: [] for name in ("observation", "action", "reward", "next_observation", "terminated", "truncated")}
    columns["task_index"] = []
    facts = dataset.storage.get_episode_metadata(range(dataset.total_episodes))
    for episode, fact in zip(dataset.iterate_episodes(), facts):  # noqa: B905 - a consumer's own style
        columns["observation"] += episode.observations[:-1].tolist()
        columns["next_observation"] += episode.observations[1:].tolist()
        columns["action"] += episode.actions.tolist()
        columns["reward"] += episode.rewards.tolist()
        columns["terminated"] += episode.terminations.tolist()
        columns["truncated"] += episode.truncations.tolist()
        columns["task_index"] += [int(fact["task_index"])] * len(episode.rewards)
    return columns


def columns_of(value, name):
    if not isinstance(value, dict):
        return {name: np.asarray(value)}
    return {k: v for key in sorted(value) for k, v in columns_of(value[key], f"{name}/{key}").items()}


def digests(folder):
    """SHA-256 of every column of every episode of a dataset that lies in a folder."""
    found = []
    try:
        dataset = minari.MinariDataset(folder / "data")
    except Exception as error:  # it is stamped for a newer Minari, which 0.5.0 looks at too late
        return repr(error)
    for episode in dataset.iterate_episodes():
        columns = columns_of(episode.observations, "observations") | columns_of(episode.infos or {}, "infos")
        columns |= {name: getattr(episode, name) for name in ("actions", "rewards", "terminations", "truncations")}
        digest = {name: hashlib.sha256(np.ascontiguousarray(values).tobytes()) for name, values in columns.items()}
        found.append({name: state.hexdigest() for name, state in sorted(digest.items())})
    return found


def recover(dataset_id):
    env = minari.load_dataset(dataset_id).recover_environment()
    _, info = env.reset(seed=0)
    observation, *_ = env.step(env.action_space.sample())
    env.close()
    return {"id": env.spec.id, "task": int(info["task_index"]), "observation": list(observation.shape)}


whole = minari.load_dataset(WHOLE)
whole.set_seed(0)
show = subprocess.run(
    [Path(sys.executable).parent / "minari", "show", WHOLE], capture_output=True, text=True, check=False
)
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("minari", "gymnasium", "numpy")},
            "golden": {path.name: digests(path) for path in sorted((exports / "golden").glob("*-v0"))},
            "listed": sorted(minari.list_local_datasets()),
            "whole": read(WHOLE),
            "per_task": [read(dataset_id) for dataset_id in TASKS],
            "long_episodes": [int(e.id) for e in whole.filter_episodes(lambda e: len(e.rewards) > 10)],
            "sampled": [[int(e.id), len(e.rewards)] for e in whole.sample_episodes(4)],
            "environments": [recover(dataset_id) for dataset_id in TASKS],
            "score_of_random": float(minari.get_normalized_score(minari.load_dataset(TASKS[0]), np.array([-1.0]))[0]),
            "show": [show.returncode, WHOLE in show.stdout, show.stderr[-500:]],
        }
    )
)
