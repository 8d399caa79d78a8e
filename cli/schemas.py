"""Writes schemas/*.json from the documents' definitions: python -m idaq.cli.schemas"""

import json
from collections.abc import Iterable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import Results
from idaq.adapt.run_job import JobRecord
from idaq.adapt.session_file import SessionRecord
from idaq.adapt.strategy import STRATEGIES
from idaq.adapt.system_run import SystemRecord
from idaq.benchmark.leaderboard import Leaderboard
from idaq.benchmark.matrix import Matrix
from idaq.benchmark.study.results import KeptResults
from idaq.benchmark.study.tried import Tried
from idaq.catalogue.suite import SuiteBaselines, SuiteData
from idaq.collect.policy_record import Comparison, PolicyRecord
from idaq.core.config import json_schema
from idaq.core.files import write_text
from idaq.core.resources import resource_root
from idaq.deploy.document import PolicyDocument
from idaq.evaluate.protocol import Summary
from idaq.format.documents import Manifest, MetadataIdaq, TaskRecord
from idaq.format.recipe import Recipe
from idaq.format.recording import Recording
from idaq.learn.config import ALGORITHMS
from idaq.learn.run import RunRecord


def _any_of(kinds: Iterable[type]) -> Any:
    """The union of types."""
    return reduce(or_, kinds)


DOCUMENTS: dict[str, Any] = {
    "recipe": Recipe,
    "manifest": Manifest,
    "metadata-idaq": MetadataIdaq,
    "recording": Recording,
    "task": TaskRecord,
    "train-config": _any_of(ALGORITHMS.get(name) for name in ALGORITHMS.builtin),
    "adapt-config": AdaptConfig,
    "strategy-config": _any_of(type(STRATEGIES.get(name)) for name in STRATEGIES.builtin),
    "run": RunRecord,
    "policy": PolicyDocument,
    "results": Results,
    "job": JobRecord,
    "bench": Matrix,
    "leaderboard": Leaderboard,
    "study-results": KeptResults,
    "study-tried": Tried,
    "session": SessionRecord,
    "system": SystemRecord,
    "baselines": Summary,
    "suite-baselines": SuiteBaselines,
    "suite-data": SuiteData,
    "policy-record": PolicyRecord,
    "policy-comparison": Comparison,
}


def schemas() -> dict[str, str]:
    """File name -> text of every schema."""
    return {f"{name}.json": json.dumps(json_schema(cls), indent=2) + "\n" for name, cls in DOCUMENTS.items()}


def write(folder: Path) -> None:
    """Write all schemas into `folder`."""
    for name, text in schemas().items():
        write_text(folder / name, text)


if __name__ == "__main__":
    write(resource_root("schemas"))
