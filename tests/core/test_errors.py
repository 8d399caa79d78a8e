import re

import joblib
import pytest

from idaq.core import errors
from idaq.core.errors import (
    ConfigError,
    CorruptDatasetError,
    DatasetNotFoundError,
    IdaqError,
    RunError,
    UnknownNameError,
    UsageError,
    unknown_name,
)

KINDS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, IdaqError)]


def test_the_tree_at_the_top_of_the_module_names_every_error_below_its_parent() -> None:
    parents = {"IdaqError": "Exception"}
    above = ["IdaqError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"(?P<lead>[│ ]*)[├└]── (?P<name>\w+)", line)
        if found:
            depth = len(found["lead"]) // 4 + 1
            parents[found["name"]] = above[depth - 1]
            above[depth:] = [found["name"]]
    assert parents == {kind.__name__: kind.__bases__[0].__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_usage_errors_exit_with_2_and_all_others_with_1(kind: type[IdaqError]) -> None:
    assert kind("message").exit_code == (2 if issubclass(kind, UsageError) else 1)


def test_an_error_prints_its_message_and_on_a_second_line_what_fixes_it() -> None:
    assert str(RunError("the run is broken")) == "the run is broken"
    assert str(RunError("the run is broken", hint="make check")) == "the run is broken\n  fix: make check"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("point-robto", "did you mean 'point-robot' or 'point-robot-wind' or 'point-robot-sparse'?"),
        ("xyz", "one of: point-robot, point-robot-sparse, point-robot-wind"),
        ("", "one of: point-robot, point-robot-sparse, point-robot-wind"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_ones_or_with_all(name: str, hint: str) -> None:
    error = unknown_name("task family", name, ["point-robot-wind", "point-robot", "point-robot-sparse"])
    assert isinstance(error, UnknownNameError)
    assert str(error) == f"unknown task family {name!r}\n  fix: {hint}"


def test_an_unknown_name_where_nothing_is_known_says_so() -> None:
    assert unknown_name("dataset", "a", []).hint == "one of: none"


def _raise(kind: type[IdaqError]) -> None:
    raise kind("broken at 'a'", hint="fix it")


def test_errors_come_back_from_another_process_as_they_were() -> None:
    for kind in (ConfigError, CorruptDatasetError, DatasetNotFoundError):
        with pytest.raises(kind) as caught:
            joblib.Parallel(n_jobs=2)(joblib.delayed(_raise)(k) for k in (kind, kind))
        assert (caught.value.message, caught.value.hint) == ("broken at 'a'", "fix it")
        assert str(caught.value) == "broken at 'a'\n  fix: fix it"
