"""Writes schemas/*.json from the documents' definitions: python -m idaq.cli.schemas"""

import json
from pathlib import Path

from idaq.adapt.config import AdaptConfig
from idaq.adapt.results import Results
from idaq.catalogue.suite import SuiteBaselines, SuiteData
from idaq.collect.policy_record import Comparison, PolicyRecord
from idaq.core.config import json_schema
from idaq.core.files import write_text
from idaq.core.resources import resource_root
from idaq.evaluate.protocol import Summary
from idaq.format.documents import Manifest, MetadataIdaq, TaskRecord
from idaq.format.recipe import Recipe
from idaq.learn.config import TrainConfig
from idaq.learn.run import RunRecord

DOCUMENTS: dict[str, type] = {
    "recipe": Recipe,
    "manifest": Manifest,
    "metadata-idaq": MetadataIdaq,
    "task": TaskRecord,
    "train-config": TrainConfig,
    "adapt-config": AdaptConfig,
    "run": RunRecord,
    "results": Results,
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
