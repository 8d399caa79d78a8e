"""Documents: what they hold comes back, and what the format forbids is refused."""

import dataclasses
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idaq.core.config import from_mapping, json_schema, to_mapping
from idaq.core.errors import ConfigError
from idaq.core.files import parse_json
from idaq.core.types import FIXED_COLUMNS, Success
from idaq.format import documents
from idaq.format.documents import Column, Counts, FileRecord, Manifest, MetadataIdaq, Provenance, TaskRecord
from idaq.format.recipe import Behaviour, Recipe, Reference, Splits
from tests.format.made import made_source

finite = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**63 - 1)
slugs = st.from_regex(r"[a-z0-9](?:[a-z0-9._-]{0,5}[a-z0-9])?", fullmatch=True)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.text(max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | finite | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(names, plain, max_size=3)
behaviours = st.builds(
    Behaviour,
    name=slugs,
    kind=st.sampled_from(["scripted", "random", "mixture"]),
    quality=st.sampled_from(["expert", "medium", "random"]),
    episodes=st.integers(1, 1_000_000),
    noise=st.floats(0, 1e300),
    random_share=st.floats(0, 1),
)
recipes = st.builds(
    Recipe,
    id=st.sampled_from(["idaq/point-robot/expert-v0", "a/b-v12"]),
    family=names,
    description=names,
    seed=st.integers(0, 2**63 - 1),
    splits=st.builds(
        Splits, seed=st.integers(0, 2**63 - 1), sizes=st.dictionaries(slugs, counts, min_size=1, max_size=3)
    ),
    behaviours=st.lists(behaviours, min_size=1, max_size=3, unique_by=lambda behaviour: behaviour.name),
    reference=st.builds(Reference, random_episodes=st.integers(2, 1_000_000)),
    train=objects,
    adapt=objects,
)
statistics = st.builds(
    documents.ReturnStatistics, mean=finite, std=st.floats(0, 1e300), n=st.integers(1, 2**40), how=names
)
successes = st.builds(Success, metric=names, op=st.sampled_from(["<=", ">="]), threshold=finite, unit=names)
tasks = st.builds(
    TaskRecord,
    task_id=slugs,
    task_index=counts,
    params=st.dictionaries(names, finite | st.lists(finite, max_size=3), max_size=3),
    split=slugs,
    success=st.none()
    | st.builds(Success, metric=names, op=st.sampled_from(["<=", ">="]), threshold=finite, unit=names),
    env=st.builds(documents.EnvReference, kwargs=objects, max_episode_steps=st.none() | st.integers(1, 2**40)),
    family=slugs,
    reset_options=objects,
    reference=st.builds(documents.References, random=statistics, behaviour=statistics),
)
all_counts = st.builds(Counts, tasks=counts, episodes=counts, steps=counts)
lines = st.none() | st.just("m/s")
columns = st.builds(
    Column,
    shape=st.lists(st.integers(1, 2**40), max_size=3),
    chunk_rows=st.none() | st.integers(1, 2**31),
    unit=lines,
    meaning=lines,
)
manifests = st.builds(
    Manifest,
    format_version=st.just(1),
    dataset_id=st.just("idaq/made/tagged-v0"),
    family=slugs,
    recipe=recipes,
    splits=st.dictionaries(slugs, st.lists(counts, max_size=3), max_size=3),
    columns=st.fixed_dictionaries(dict.fromkeys(("observations", *FIXED_COLUMNS), columns)),
    counts=all_counts,
    provenance=st.builds(Provenance, simulators=st.dictionaries(names, names, max_size=2)),
    files=st.lists(st.builds(FileRecord, size=counts, sha256=hashes), max_size=3),
    **{name: hashes for name in Manifest.__annotations__ if name.endswith(("_digest", "_sha256"))},
)
metadata_objects = st.builds(MetadataIdaq, format_version=st.just(1), manifest_sha256=hashes, counts=all_counts)

KINDS = {Recipe: recipes, TaskRecord: tasks, Manifest: manifests, MetadataIdaq: metadata_objects}


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_comes_back_from_its_plain_data_and_from_json(kind: type[Any]) -> None:
    validator = jsonschema.Draft202012Validator(json_schema(kind))
    validator.check_schema(json_schema(kind))

    @settings(max_examples=60)
    @given(KINDS[kind])
    def round_trip(document: Any) -> None:
        value = to_mapping(document)
        assert from_mapping(kind, value, where="x") == document
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        assert from_mapping(kind, parse_json(text, "x"), where="x", strict=True) == document
        validator.validate(json.loads(text))

    round_trip()


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_with_any_field_missing_or_added_is_refused(kind: type[Any]) -> None:
    @settings(max_examples=20)
    @given(KINDS[kind])
    def refuses(document: Any) -> None:
        value = to_mapping(document)
        with pytest.raises(ConfigError, match="there is no such field"):
            from_mapping(kind, {**value, "extra": 1}, where="x", strict=True)
        for field in dataclasses.fields(kind):
            if field.default is field.default_factory is dataclasses.MISSING:
                rest = {name: v for name, v in value.items() if name != field.name}
                with pytest.raises(ConfigError, match=f"{field.name}: Field required"):
                    from_mapping(kind, rest, where="x", strict=True)

    refuses()


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None])
@pytest.mark.parametrize("kind", [MetadataIdaq, Manifest, Recipe])
def test_no_version_but_the_integer_1_is_read(kind: type[Any], version: object) -> None:
    value = to_mapping({MetadataIdaq: META, Recipe: MANIFEST_RECIPE}.get(kind, META))
    field = "recipe_version" if kind is Recipe else "format_version"
    with pytest.raises(ConfigError, match=f"{field}: (Input should be 1|must be the integer 1)"):
        from_mapping(kind, {**value, field: version}, where="x", strict=kind is not Recipe)


META = MetadataIdaq(format_version=1, manifest_sha256="0" * 64, counts=Counts(tasks=1, episodes=1, steps=1))
MANIFEST_RECIPE = made_source().recipe


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        (MetadataIdaq, {"manifest_sha256": "0" * 63}, "manifest_sha256: String should match pattern"),
        (MetadataIdaq, {"manifest_sha256": "A" * 64}, "manifest_sha256: String should match pattern"),
        (MetadataIdaq, {"manifest_sha256": "0" * 64 + "\n"}, "manifest_sha256: String should match pattern"),
        (MetadataIdaq, {"counts": {"tasks": -1, "episodes": 1, "steps": 1}}, "counts.tasks: Input should be greater"),
        (MetadataIdaq, {"counts": {"tasks": "1", "episodes": 1, "steps": 1}}, "counts.tasks: Input should be a valid"),
        (Column, {"dtype": "|O8"}, "dtype: Input should be"),
        (Column, {"dtype": ">f4"}, "dtype: Input should be"),
        (Column, {"dtype": "<M8"}, "dtype: Input should be"),
        (Column, {"shape": [0]}, "shape.0: Input should be greater than or equal to 1"),
        (Column, {"shape": [-1]}, "shape.0: Input should be greater than or equal to 1"),
        (Column, {"chunk_rows": 0}, "chunk_rows: Input should be greater than or equal to 1"),
        (Column, {"chunk_rows": 2**31 + 1}, "chunk_rows: Input should be less than or equal to 2147483648"),
        (Column, {"rows": "T+2"}, "rows: Input should be 'T' or 'T+1'"),
        (TaskRecord, {"task_id": "../task"}, "task_id: String should match pattern"),
        (TaskRecord, {"task_id": "task\n"}, "task_id: String should match pattern"),
        (TaskRecord, {"task_id": "a" * 65}, "task_id: String should match pattern"),
        (TaskRecord, {"task_id": "tâche"}, "task_id: String should match pattern"),
        (TaskRecord, {"task_index": -1}, "task_index: Input should be greater than or equal to 0"),
        (TaskRecord, {"params": {"goal": "north"}}, "params.goal"),
    ],
)
def test_a_value_that_the_format_forbids_is_refused_with_its_place(
    kind: type[Any], change: dict[str, Any], text: str
) -> None:
    column = Column(dtype="<f4", shape=[2], rows="T", chunk_rows=None, unit=None, meaning=None, known=True)
    whole = {MetadataIdaq: META, Column: column, TaskRecord: made_source().tasks[0]}[kind]
    with pytest.raises(ConfigError) as caught:
        from_mapping(kind, {**to_mapping(whole), **change}, where="doc", strict=True)
    assert caught.value.message.startswith("doc: ")
    assert text in caught.value.message
