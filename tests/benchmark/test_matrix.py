"""The matrix as a document: what it may say, and what is refused with words that help."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.adapt.strategy import adaptation_plan
from idaq.benchmark.bench import recipe_of
from idaq.benchmark.matrix import Matrix, load_matrix, shipped
from idaq.core.config import from_mapping, to_mapping
from idaq.core.errors import ConfigError, IdaqError, UnknownNameError
from idaq.learn.config import ALGORITHMS
from tests.benchmark.conftest import CLONING, FOCAL, ID, QUICK, mapping, matrix

MINIMAL = """
bench_version = 1
name = "mine"
hours = 2
seeds = [4, 2, 4]
strategies = ["posterior"]
datasets = [{ id = "a/b/c-v0", train = { "learner.gamma" = 0.9, learner = { alpha = 1 } } }, { id = "a/b/d-v1" }]
[[algorithms]]
algorithm = "my.module:Config"
[[algorithms]]
algorithm = "my.module:Config"
label = "on-c"
datasets = ["*/c-*"]
"""


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINIMAL)
    asked = load_matrix(str(tmp_path / "mine.toml"))
    assert asked.train_seeds == [4, 2]
    assert asked.datasets[0].train == {"learner": {"gamma": 0.9, "alpha": 1}}
    assert [(d.id, a.name) for d, a in asked.rows()] == [
        ("a/b/c-v0", "my.module-Config"), ("a/b/c-v0", "on-c"), ("a/b/d-v1", "my.module-Config"),
    ]  # fmt: skip
    assert from_mapping(Matrix, json.loads(json.dumps(to_mapping(asked))), where="again") == asked


def test_what_ships_is_found_by_name_and_names_what_there_is() -> None:
    assert {"tiny", "point-robots", "bodies", "ml1", "dark-room"} <= set(shipped())
    for name in shipped():
        asked = load_matrix(name)
        assert asked.name == name.rpartition("/")[2]
        assert {algorithm.algorithm for algorithm in asked.algorithms} <= set(ALGORITHMS.builtin)
    with pytest.raises(UnknownNameError, match="unknown matrix 'tony'") as caught:
        load_matrix("tony")
    assert caught.value.hint == "did you mean 'tiny'?"


def test_an_id_with_a_star_stands_for_each_dataset_of_the_catalogue() -> None:
    asked = matrix(datasets=[{"id": "idaq/point-robot*/expert-v0", "train": QUICK}, {"id": "mine/data-v3"}])
    names = ["point-robot", "point-robot-sparse", "point-robot-wind"]
    assert [dataset.id for dataset in asked.datasets] == [*(f"idaq/{name}/expert-v0" for name in names), "mine/data-v3"]
    assert [dataset.train for dataset in asked.datasets[:3]] == [asked.datasets[0].train] * 3
    assert asked.datasets[0].train["steps"] == QUICK["steps"]
    assert len(matrix(datasets=[{"id": "idaq/ml1-*/expert-v0"}]).datasets) == 50


SETS = {"study/point-robots": 9, "study/ml1": 50, "study/ml1-held": 6, "study/bodies": 12, "study/held-out": 2}


@pytest.mark.parametrize("name", SETS)
def test_a_suite_of_the_study_has_one_configuration(name: str) -> None:
    asked = load_matrix(name)
    assert len(asked.rows()) == len(asked.datasets) == SETS[name]
    plans = [adaptation_plan(asked.strategies, asked.protocol.settings, recipe_of(one).adapt) for one in asked.datasets]
    assert [plan for plan in plans if plan != plans[0]] == []
    assert all(recipe_of(dataset).train["split"] == "train+val" for dataset in asked.datasets)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"sedes": 3}, "sedes: there is no such field", "did you mean 'seeds' or 'strategies'?"),
        ({"datasets": [{"id": ID, "trian": {}}]}, "datasets.0.trian: there is no such field", "did you mean 'train'?"),
        ({"protocol": {"episode": 3}}, "protocol.episode: there is no such field", "did you mean 'episodes'?"),
        ({"bench_version": 2}, "bench_version", None),
        ({"bench_version": True}, "bench_version", None),
        ({"hours": 0}, "hours", None),
        ({"hours": float("nan")}, "hours", None),
        ({"seeds": True}, "seeds", None),
        ({"seeds": 10**9}, "seeds", None),
        ({"seeds": []}, "seeds", None),
        ({"datasets": []}, "datasets", None),
        ({"datasets": [{"id": "../../etc/passwd"}]}, "is not a dataset id", None),
        ({"datasets": [{"id": ID}, {"id": ID}]}, "the dataset idaq-point-robot-expert-v0 stands twice", None),
        ({"datasets": [{"id": "a/b-c/d-v0"}, {"id": "a-b/c/d-v0"}]}, "the dataset a-b-c-d-v0 stands twice", None),
        ({"datasets": [{"id": "idaq/ml2-*/expert-v0"}]}, "unknown dataset 'idaq/ml2-*/expert-v0'", None),
        ({"datasets": [{"id": "idaq/ml1-*/expert-v*"}]}, "is not a dataset id", None),
        ({"datasets": [{"id": "*/data/expert-v0"}]}, "is not a dataset id", None),
        ({"datasets": [{"id": "idaq/ml1-*/expert-v0", "entry": "ml1/reach/expert"}]}, "it takes no entry", None),
        ({"datasets": [{"id": ID}, {"id": "idaq/point-*/expert-v0"}]}, "expert-v0 stands twice", None),
        ({"datasets": [{"id": ID, "train": {"seed": 3}}]}, "seed is not set here", None),
        ({"datasets": [{"id": ID, "train": {"a.b": 1, "a": {"b": 2}}}]}, "a is given twice", None),
        ({"datasets": [{"id": ID, "train": {"a": 1, "a.b": 1}}]}, "a.b is given twice", None),
        ({"algorithms": [FOCAL, FOCAL]}, "the label focal-td3bc stands twice", None),
        ({"algorithms": [{**FOCAL, "label": "../up"}]}, "label", None),
        ({"algorithms": [{"algorithm": "é" * 300}]}, "give the row a label", None),
        ({"algorithms": [{**FOCAL, "datasets": ["idaq/point-robots/*"]}]}, "unknown dataset", None),
        ({"algorithms": [{**FOCAL, "on": {"idaq/point-robot/expert-v1": {}}}]}, "did you mean", None),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        matrix(**changes)
    assert message in caught.value.message
    assert hint is None or caught.value.hint == hint


WORDS = st.sampled_from(
    [
        "a",
        "seed",
        "learner.gamma",
        ID,
        "idaq/point-*/expert-v0",
        "*",
        "../x",
        "a.b.",
        "",
        ".",
        "my:Config",
        "\x00",
        "é" * 300,
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
KEYS = sorted(mapping())


@given(st.dictionaries(st.sampled_from(KEYS) | WORDS, VALUES, max_size=4), st.sampled_from([*KEYS, None]))
def test_whatever_a_file_holds_is_a_matrix_or_a_config_error(changes: dict[str, Any], without: str | None) -> None:
    text = {**mapping(FOCAL, CLONING), **changes}
    text.pop(without or "", None)
    try:
        asked = from_mapping(Matrix, text, where="hostile.toml")
    except ConfigError:
        return
    for dataset, algorithm in asked.rows():
        assert "/" not in dataset.folder
        assert "/" not in algorithm.name
        assert ".." not in (dataset.folder, algorithm.name)


@given(st.text(max_size=200))
def test_whatever_a_name_is_is_no_crash(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.toml"
    path.write_text(f'bench_version = 1\nname = "a"\n{text}', encoding="utf-8", errors="replace")
    with pytest.raises(IdaqError):
        load_matrix(str(path))
