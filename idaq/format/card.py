"""The dataset card: README.md of a dataset, with the hub's front matter. Figures, not adjectives."""

import json
import os
from pathlib import Path

import numpy as np

from idaq.core.reading import read_document
from idaq.format import layout
from idaq.format.documents import TaskRecord, mean_random
from idaq.format.reader import StoredDataset
from idaq.format.recipe import Behaviour, Recipe

HUB_LICENSES = frozenset((
    "unknown", "mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "gpl-3.0", "lgpl-3.0",
    "agpl-3.0", "mpl-2.0", "odbl", "odc-by", "pddl", "isc", "unlicense",
))  # fmt: skip
"""of the names that the Hugging Face hub knows, those that data comes under"""


def dataset_card(recipe: Recipe, tasks: tuple[TaskRecord, ...], origin: str = "") -> str:
    """Markdown with YAML front matter. `origin` says what made the dataset, where that was not a collection."""
    measured = [task.reference.behaviour for task in tasks if task.reference.behaviour is not None]
    behaviour = np.array([returns.mean for returns in measured])
    random = mean_random(tasks)
    episodes = sum(returns.n for returns in measured)
    splits = ", ".join(f"{size} {name}" for name, size in recipe.splits.sizes.items())
    behaviours = "\n".join(_behaviour_row(behaviour, "up to " if origin else "") for behaviour in recipe.behaviours)
    seed = "" if origin else f", recipe seed {recipe.seed}"
    spread = "behaviour unknown: rewards are not known"
    if len(measured) == len(tasks):
        spread = f"behaviour {behaviour.mean():.3f} (from {behaviour.min():.3f} to {behaviour.max():.3f})"
    again = origin or "The recipe in `data/idaq/manifest.json` makes it again, to the same content digest."
    return f"""---
{_license(recipe.license)}
task_categories:
- reinforcement-learning
tags:
- minari
- offline-rl
- meta-rl
- idaq
---
# {recipe.id}

{recipe.description}

- family `{recipe.family}`: {len(tasks)} tasks ({splits}), {episodes} episodes{seed}
- authors: {", ".join(recipe.authors) or "unknown"}; licence: {recipe.license or "unknown"}
- mean return over tasks: {spread}, random {"not measured" if random is None else f"{random:.3f}"}

| behaviour | kind | quality | noise | random share | episodes a task |
|---|---|---|---|---|---|
{behaviours}

Load it with `minari.load_dataset("{recipe.id}")`, or task by task with `idaq.loader.open_dataset("{recipe.id}")`.
Check it with `idaq dataset verify {recipe.id}`. {again}
"""


def _license(license: str | None) -> str:
    """The front matter's lines: one of the hub's own names, or `other` with the name it has."""
    name = (license or "unknown").lower()
    return f"license: {name}" if name in HUB_LICENSES else f"license: other\nlicense_name: {json.dumps(license)}"


def _behaviour_row(behaviour: Behaviour, at_most: str) -> str:
    b = behaviour
    if b.kind == "unknown":
        return f"| {b.name} | unknown | {b.quality} | unknown | unknown | {at_most}{b.episodes} |"
    kind = f"{b.kind} {b.policy}" if b.policy else b.kind
    return f"| {b.name} | {kind} | {b.quality} | {b.noise:g} | {b.random_share:g} | {at_most}{b.episodes} |"


def read_card(dataset: Path) -> str:
    """README.md of a dataset's folder; empty if it has none. Raises CorruptDatasetError if it is no such document."""
    path = dataset / layout.CARD
    return read_document(path).decode("utf-8", errors="replace") if os.path.lexists(path) else ""


def stored_card(stored: StoredDataset) -> str:
    """The card of a dataset on disk, with its size and digest."""
    manifest, made = stored.manifest, stored.manifest.provenance
    parents = ", ".join(parent.dataset_id for parent in made.parents)
    origin = f"Made by {made.operation}{f', from {parents}' if parents else ''}." if made.operation else ""
    size = f"{stored.hdf5.stat().st_size / 1e6:.1f} MB, {manifest.counts.steps} steps"
    facts = f"\n{size}. Content digest `{manifest.content_digest}`, written by idaq {made.idaq}.\n"
    return dataset_card(manifest.recipe, stored.tasks, origin) + facts
