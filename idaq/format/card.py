"""The dataset card: README.md of a dataset, with the hub's front matter. Figures, not adjectives."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from idaq.core.reading import read_document
from idaq.format import layout
from idaq.format.documents import Column, Manifest, mean_random
from idaq.format.limits import limits
from idaq.format.reader import StoredDataset
from idaq.format.recipe import Behaviour, Recipe

LICENSES = {
    "mit": "MIT", "apache-2.0": "Apache-2.0", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0-1.0", "cc-by-3.0": "CC-BY-3.0", "cc-by-4.0": "CC-BY-4.0", "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0", "cc-by-nc-4.0": "CC-BY-NC-4.0", "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0",
    "cc-by-nd-4.0": "CC-BY-ND-4.0", "cc-by-nc-nd-4.0": "CC-BY-NC-ND-4.0", "gpl-3.0": "GPL-3.0", "lgpl-3.0": "LGPL-3.0",
    "agpl-3.0": "AGPL-3.0", "mpl-2.0": "MPL-2.0", "odbl": "ODbL-1.0", "odc-by": "ODC-By-1.0", "pddl": "PDDL-1.0",
    "isc": "ISC", "unlicense": "Unlicense",
}  # fmt: skip
"""SPDX's identifiers by the Hugging Face hub's names: of those that both know, those that data comes under"""


def dataset_card(stored: StoredDataset) -> str:
    """Markdown with YAML front matter, from the documents of a dataset alone."""
    manifest, recipe = stored.manifest, stored.manifest.recipe
    sections = [
        f"{_front_matter(recipe)}# {recipe.id}\n\n{recipe.description}",
        _facts(stored),
        _table(["behaviour", "kind", "quality", "noise", "random share", "episodes a task"], _behaviours(manifest)),
        "## Columns",
        _table(["column", "rows", "numbers", "unit", "meaning"], map(_column, manifest.columns.items())),
        *_listed("Limits", limits(stored)),
        *_listed("Cut, cast, dropped or assumed", manifest.provenance.notes),
        "## Use",
        _use(stored),
    ]
    return "\n\n".join(sections) + "\n"


def find_license(text: str | None) -> str | None:
    """The hub's name of a licence that a recipe states by that or by its SPDX identifier; None for any other text."""
    name = (text or "").lower()
    return next((known for known, spdx in LICENSES.items() if name in (known, spdx.lower())), None)


def _front_matter(recipe: Recipe) -> str:
    """The hub's YAML: one of its own names of licences, `unknown`, or `other` with the name it has."""
    name = "unknown" if recipe.license in (None, "unknown") else find_license(recipe.license)
    license = f"license: {name}" if name else f"license: other\nlicense_name: {json.dumps(recipe.license)}"
    return f"""---
{license}
task_categories:
- reinforcement-learning
tags:
- minari
- offline-rl
- meta-rl
- idaq
---
"""


def _facts(stored: StoredDataset) -> str:
    recipe, counts = stored.manifest.recipe, stored.manifest.counts
    splits = ", ".join(f"{len(tasks)} {name}" for name, tasks in stored.manifest.splits.items())
    seed = "" if stored.manifest.provenance.operation else f", recipe seed {recipe.seed}"
    measured = [task.reference.behaviour.mean for task in stored.tasks if task.reference.behaviour is not None]
    spread = "behaviour unknown, as the rewards are"
    if len(measured) == len(stored.tasks):
        spread = f"behaviour {np.mean(measured):.3f} (from {min(measured):.3f} to {max(measured):.3f})"
    random = mean_random(stored.tasks)
    lines = [
        f"family `{recipe.family}`: {counts.tasks} tasks ({splits}), {counts.episodes} episodes{seed}",
        f"authors: {', '.join(recipe.authors) or 'unknown'}; licence: {recipe.license or 'unknown'}",
        f"source: {recipe.source or 'unknown'}",
        f"mean return over tasks: {spread}, random {'not measured' if random is None else f'{random:.3f}'}",
    ]
    cite = "" if recipe.citation is None else f"\n\nCite it as:\n\n~~~text\n{recipe.citation}\n~~~"
    return _bullets(lines) + cite


def _behaviours(manifest: Manifest) -> list[list[str]]:
    at_most = "up to " if manifest.provenance.operation else ""
    return [_behaviour(behaviour, at_most) for behaviour in manifest.recipe.behaviours]


def _behaviour(b: Behaviour, at_most: str) -> list[str]:
    if b.kind == "unknown":
        return [b.name, "unknown", b.quality, "unknown", "unknown", f"{at_most}{b.episodes}"]
    kind = f"{b.kind} {b.policy}" if b.policy else b.kind
    return [b.name, kind, b.quality, f"{b.noise:g}", f"{b.random_share:g}", f"{at_most}{b.episodes}"]


def _column(item: tuple[str, Column]) -> list[str]:
    name, column = item
    shape = f" ({', '.join(map(str, column.shape))})" if column.shape else ""
    meaning = column.meaning or "not stated"
    if not column.known:
        meaning += "; the values are unknown and written as 0"
    return [f"`{name}`", column.rows, f"{np.dtype(column.dtype).name}{shape}", column.unit or "not stated", meaning]


def _use(stored: StoredDataset) -> str:
    manifest, made, name = stored.manifest, stored.manifest.provenance, stored.manifest.dataset_id
    parents = ", ".join(parent.dataset_id for parent in made.parents)
    origin = f"Made by {made.operation}{f', from {parents}' if parents else ''}." if made.operation else ""
    recipe = (
        "The recipe in `data/idaq/manifest.json` makes it again, to the same content digest on processors that round"
        " alike."
    )
    again = origin or recipe
    return f"""Load it with `minari.load_dataset("{name}")`, or task by task with `idaq.loader.open_dataset("{name}")`.
Check it with `idaq dataset verify {name}`. {again}

{stored.hdf5.stat().st_size / 1e6:.1f} MB, {manifest.counts.steps} steps. Content digest `{manifest.content_digest}`, \
written by idaq {made.idaq}."""


def _table(head: Iterable[str], rows: Iterable[list[str]]) -> str:
    lines = [list(head), ["---"] * len(list(head)), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", _bullets(lines)] if lines else []


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def read_card(dataset: Path) -> str:
    """README.md of a dataset's folder; empty if it has none. Raises CorruptDatasetError if it is no such document."""
    path = dataset / layout.CARD
    return read_document(path).decode("utf-8", errors="replace") if os.path.lexists(path) else ""
