"""Croissant 1.1 of a dataset, with the RAI vocabulary: what search engines and catalogues of data read.

`mlcroissant` writes and validates it, from what the documents of the dataset state; what they do not know is left out.
Sources: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html and croissant-rai-spec.html beside it.

`mlcroissant` can iterate every record set: `splits`, `behaviours` and `columns` stand in the document itself, `tasks`
and `episodes` come from Parquet. It reads no HDF5, so the steps are described, by `columns`, and are no record set.
"""

import copy
import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from idaq.core.config import to_mapping
from idaq.core.errors import DatasetError
from idaq.core.extras import optional
from idaq.core.files import sha256_file
from idaq.core.ids import parse_id
from idaq.format import layout
from idaq.format.card import LICENSES, find_license
from idaq.format.limits import biases, limits
from idaq.format.reader import StoredDataset
from idaq.format.tasks_table import FIELDS, PARAMS, TASKS_TABLE, tasks_parquet, tasks_table

CROISSANT = "croissant.json"
VERSION = "http://mlcommons.org/croissant/1.1"
RAI = "http://mlcommons.org/croissant/RAI/1.0"
_CONTEXT = {
    "annotation": "cr:annotation",
    "arrayShape": "cr:arrayShape",
    "containedIn": "cr:containedIn",
    "excludes": "cr:excludes",
    "isArray": "cr:isArray",
    "prov": "http://www.w3.org/ns/prov#",
    "readLines": "cr:readLines",
    "sdVersion": "cr:sdVersion",
    "unArchive": "cr:unArchive",
    "value": "cr:value",
}
"""what version 1.1 adds to the names that mlcroissant 1.1.1 writes by itself; and those of provenance"""
_SPLITS = {"train": "cr:TrainingSplit", "val": "cr:ValidationSplit", "test": "cr:TestSplit"}
_FORMATS = {
    "hdf5": "application/x-hdf5",
    "json": "application/json",
    "jsonl": "application/jsonlines",
    "parquet": "application/x-parquet",
}
"""media types by the ending of a file"""
_EPISODES = {
    "episode": "number of the episode in the dataset",
    "task_index": "index of its task, as in tasks/task_index",
    "behaviour": "name of its behaviour policy, as in behaviours/name",
    "history": "which learning history of its task and behaviour it is of",
    "policy_step": "environment steps that its policy had learned from before it",
    "seed": "seed of the reset and of the noise; null where it is unknown",
    "length": "number of steps",
    "return": "sum of rewards, undiscounted; null where the rewards are unknown",
    "success": "whether it solved its task; null where that is unknown",
    "terminated": "whether its last step ended the task",
    "truncated": "whether its last step was cut off by a time limit",
    "digest": "SHA-256 of its values, task and seed",
}
"""meaning of each column of episodes.parquet but the offsets"""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Where and when a dataset is published, as far as that is known."""

    page: str | None = None
    """address that shows it to people"""
    files: str | None = None
    """address of the folder that holds the files; without it they are stated relative to croissant.json"""
    when: date | None = None


def croissant(stored: StoredDataset, published: Published = Published()) -> dict[str, Any]:
    """The document of a dataset as it lies on a hub, with tasks.parquet beside the card.

    Raises MissingExtraError without mlcroissant, DatasetError where its own validator refuses the document.
    """
    nodes = _Nodes(optional("mlcroissant"))
    manifest, recipe = stored.manifest, stored.manifest.recipe
    document = nodes.make(
        "Metadata",
        None,
        name=manifest.dataset_id,
        conforms_to=[VERSION, RAI],
        description=recipe.description or None,
        version=f"{parse_id(manifest.dataset_id).version}.0.0",
        url=published.page,
        license=_license(nodes, recipe.license),
        creators=[nodes.make("Person", None, name=author) for author in recipe.authors],
        cite_as=recipe.citation,
        keywords=["reinforcement learning", "offline RL", "meta-RL", "Minari", "idaq", recipe.family],
        date_created=_moment(manifest.provenance.created),
        date_published=None if published.when is None else published.when.isoformat(),
        distribution=_files(nodes, stored, published.files),
        record_sets=[
            _splits(nodes, stored),
            _behaviours(nodes, stored),
            _columns(nodes, stored),
            _tasks(nodes, stored),
            _episodes(nodes, stored),
        ],
        extra_properties=_provenance(stored),
        **_responsible(stored),
    ).to_json()
    validate(document)
    return document


def croissant_text(stored: StoredDataset, published: Published = Published()) -> str:
    """`croissant` as it lies in a file."""
    return json.dumps(croissant(stored, published), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def validate(document: dict[str, Any]) -> None:
    """Ask mlcroissant whether this is a valid document. Raises DatasetError, MissingExtraError."""
    library = optional("mlcroissant")
    with _quiet():
        try:
            library.Dataset(jsonld=copy.deepcopy(document))  # which alters it
        except library.ValidationError as error:
            raise DatasetError(f"no valid Croissant file: {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of what else could be stated, which idaq's own notes tell, and warnings of rdflib 7 to itself."""
    log = logging.getLogger("absl")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        log.setLevel(before)


class _Nodes:
    """Makes the nodes of one document."""

    def __init__(self, library: Any) -> None:
        self.types = library.DataType
        self._library = library
        self._shared = library.Context(
            conforms_to=VERSION, rdf=library.Rdf(context=dict(sorted({**library.Rdf().context, **_CONTEXT}.items())))
        )

    def make(self, kind: str, identity: str | None, **settings: Any) -> Any:
        """A node by the name of its class, with or without an `@id`."""
        named = {} if identity is None else {"id": identity, "name": identity.rpartition("/")[2]}
        return getattr(self._library, kind)(ctx=self._shared, **(named | settings))

    def field(self, of: str, name: str, kind: Any, meaning: str, file: str | None = None, **settings: Any) -> Any:
        """A field of record set `of`: a column of the Parquet file, or a key of the rows in the document."""
        if file is not None:
            column = self.make("Extract", None, column=name)
            settings["source"] = self.make("Source", None, file_object=file, extract=column)
        identity = f"{of}/{quote(name, safe='/')}"
        return self.make("Field", identity, name=name, data_types=[kind], description=meaning, **settings)

    def rows(
        self,
        name: str,
        meaning: str,
        fields: Mapping[str, tuple[str, str]],
        rows: Sequence[Mapping[str, Any]],
        **settings: Any,
    ) -> Any:
        """A record set that stands in the document: `fields` are types and meanings by name, the first is the key."""
        return self.make(
            "RecordSet",
            name,
            description=meaning,
            key=[f"{name}/{next(iter(fields))}"],
            fields=[self.field(name, key, getattr(self.types, kind), what) for key, (kind, what) in fields.items()],
            data=[{f"{name}/{key}": row[key] for key in fields} for row in rows],
            **settings,
        )

    def table(
        self, name: str, meaning: str, key: str, file: str, columns: Mapping[str, tuple[pa.DataType, str]]
    ) -> Any:
        """A record set that is read from a file of Parquet; `columns` are types and meanings by name."""
        fields = []
        for column, (kind, what) in columns.items():
            settings: dict[str, Any] = {"is_array": True, "array_shape": "-1"} if pa.types.is_list(kind) else {}
            if (name, column) == ("tasks", "split"):
                settings["references"] = self.make("Source", None, field="splits/name")
            fields.append(self.field(name, column, self.type_of(kind), what, file, **settings))
        return self.make("RecordSet", name, description=meaning, key=[f"{name}/{key}"], fields=fields)

    def type_of(self, kind: pa.DataType) -> Any:
        """The data type of a column of Parquet, without its list."""
        value = kind.value_type if pa.types.is_list(kind) else kind
        names = {"string": "TEXT", "bool": "BOOL", "double": "FLOAT64", "float": "FLOAT32"}
        return getattr(self.types, names.get(str(value), str(value).upper()))


def _files(nodes: _Nodes, stored: StoredDataset, address: str | None) -> list[Any]:
    """Every file that a push sends, but the card and this document."""
    data = layout.data_folder(stored.path)
    table = tasks_parquet(stored.tasks)
    found = {f"data/{record.path}": (record.size, record.sha256) for record in stored.manifest.files}
    for name in (layout.MANIFEST, layout.METADATA):
        found[f"data/{name}"] = (data / name).stat().st_size, sha256_file(data / name)
    found[TASKS_TABLE] = len(table), hashlib.sha256(table).hexdigest()
    return [
        nodes.make(
            "FileObject",
            path,
            content_url=path if address is None else f"{address.rstrip('/')}/{quote(path)}",
            content_size=f"{size} B",
            encoding_formats=[_FORMATS[path.rpartition(".")[2]]],
            sha256=digest,
        )
        for path, (size, digest) in found.items()
    ]


def _splits(nodes: _Nodes, stored: StoredDataset) -> Any:
    rows = [
        {"name": name, "tasks": len(tasks), "url": _SPLITS.get(name)} for name, tasks in stored.manifest.splits.items()
    ]
    fields = {"name": ("TEXT", "name of the split"), "tasks": ("INT64", "how many tasks are in it")}
    if all(row["url"] for row in rows):
        fields["url"] = ("URL", "what the split is for")
    return nodes.rows("splits", "The splits of the tasks.", fields, rows, data_types=[nodes.types.SPLIT])


def _behaviours(nodes: _Nodes, stored: StoredDataset) -> Any:
    fields = {
        "name": ("TEXT", "name of the behaviour policy, as in episodes/behaviour"),
        "kind": ("TEXT", "how it chooses actions"),
        "quality": ("TEXT", "how good it is"),
        "policy": ("TEXT", "which policy it is, where it has a name"),
        "noise": ("FLOAT64", "standard deviation of the noise on its actions"),
        "random_share": ("FLOAT64", "chance that a step is random"),
        "episodes": ("INT64", "episodes of each task, at most"),
    }
    rows = [to_mapping(behaviour) for behaviour in stored.manifest.recipe.behaviours]
    for row in rows:
        if row["kind"] == "unknown":
            row |= {"noise": None, "random_share": None}
    return nodes.rows("behaviours", "The policies that chose the actions.", fields, rows)


def _columns(nodes: _Nodes, stored: StoredDataset) -> Any:
    fields = {
        "name": ("TEXT", "name of the dataset in each episode's group of main_data.hdf5"),
        "dtype": ("TEXT", "type of its numbers, in NumPy's notation"),
        "shape": ("TEXT", "shape of one row, as JSON"),
        "rows": ("TEXT", "how many rows an episode of T steps has"),
        "unit": ("TEXT", "unit of the numbers"),
        "meaning": ("TEXT", "what the numbers are"),
        "known": ("BOOL", "false where nobody knows the values, which are written as 0"),
    }
    columns = stored.manifest.columns.items()
    rows = [{**to_mapping(column), "name": name, "shape": str(column.shape)} for name, column in columns]
    return nodes.rows("columns", "What is recorded of each step.", fields, rows)


def _tasks(nodes: _Nodes, stored: StoredDataset) -> Any:
    table = tasks_table(stored.tasks)
    columns = {
        name: FIELDS.get(name, (table.schema.field(name).type, f"parameter {name.removeprefix(PARAMS)} of the task"))
        for name in table.column_names
    }
    return nodes.table("tasks", "The tasks, one a record.", "task_index", TASKS_TABLE, columns)


def _episodes(nodes: _Nodes, stored: StoredDataset) -> Any:
    """Without the seeds where some are unknown: pandas makes floats of such a column, and those are other seeds."""
    schema = pq.read_schema(layout.data_folder(stored.path) / layout.EPISODES)
    columns = {
        field.name: (field.type, _EPISODES.get(field.name, "first byte of the column in main_data.hdf5"))
        for field in schema
        if field.name != "seed" or stored.episodes.seed_known.all()
    }
    return nodes.table("episodes", "The episodes, one a record.", "episode", f"data/{layout.EPISODES}", columns)


def _license(nodes: _Nodes, text: str | None) -> list[Any] | None:
    """By SPDX's address where the recipe names one that is known there, else by its name."""
    if text is None:
        return None
    known = find_license(text)
    address = {} if known is None else {"url": f"https://spdx.org/licenses/{LICENSES[known]}.html"}
    return [nodes.make("CreativeWork", None, name=text, **address)]


def _moment(text: str) -> str | None:
    """A time of a document, where it is one: in ISO 8601."""
    try:
        return datetime.fromisoformat(text).isoformat()
    except ValueError:
        return None


def _provenance(stored: StoredDataset) -> dict[str, Any]:
    """Of PROV-O: what made it, of which datasets."""
    made, recipe = stored.manifest.provenance, stored.manifest.recipe
    activity = {
        "@type": "prov:Activity",
        "prov:label": made.operation or "collection",
        "prov:endedAtTime": _moment(made.created),
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": f"idaq {made.idaq}"},
    }
    parents: list[dict[str, Any]] = [
        {"@type": "prov:Entity", "prov:label": parent.dataset_id, "identifier": parent.content_digest}
        for parent in made.parents
    ]
    if recipe.source is not None:
        parents.append({"@type": "prov:Entity", "prov:label": recipe.source})
    activity = {name: value for name, value in activity.items() if value is not None}
    found: dict[str, Any] = {"prov:wasGeneratedBy": activity, "identifier": stored.manifest.content_digest}
    return found | ({"prov:wasDerivedFrom": parents} if parents else {})


def _responsible(stored: StoredDataset) -> dict[str, Any]:
    """Of RAI, by mlcroissant's names: what the documents tell, and nothing that they do not."""
    made, recipe = stored.manifest.provenance, stored.manifest.recipe
    versions = ", ".join(f"{name} {version}" for name, version in made.simulators.items())
    if made.operation:
        collection = f"Not collected as it is: made by {made.operation}."
    else:
        behaviours = ", ".join(f"{b.name} ({b.kind}, {b.episodes} episodes a task)" for b in recipe.behaviours)
        simulators = f", simulated by {versions}" if versions else ""
        collection = f"Behaviour policies acted in each task: {behaviours}{simulators}."
    return {
        "data_collection": collection,
        "data_collection_type": None if made.operation else ["Software Collection"],
        "data_collection_raw_data": recipe.source,
        "data_preprocessing_protocol": list(made.notes) or None,
        "data_limitations": limits(stored) or None,
        "data_biases": biases(stored),
        "data_use_cases": ["Offline meta-reinforcement learning: learning to adapt to new tasks from data of others."],
    }
