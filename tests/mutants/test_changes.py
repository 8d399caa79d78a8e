"""The tool that changes the code: which changes it makes, and that those made by hand still stand in the code."""

from tests.mutants.__main__ import changes_by_hand, groups
from tests.mutants.changes import changes_of

SOURCE = '''"""A docstring is left alone."""

from math import floor

LIMIT: int = 3
Numbers = list[int]


def least(a: int, b: int = 1) -> int:
    """So is this one."""
    if a < 0:
        raise ValueError("and what an error says")
    print(a)
    return min(
        a + LIMIT,
        floor(b),
    )
'''


def test_every_change_is_one_of_meaning() -> None:
    found = [(change.line, change.was, change.now) for change in changes_of("least.py", SOURCE)]
    assert found == [
        (5, "LIMIT: int = 3", "LIMIT: int = None"),
        (5, "LIMIT: int = 3", "LIMIT: int = 4"),
        (9, "def least(a: int, b: int = 1) -> int:", "def least(a: int, b: int = 2) -> int:"),
        (11, "if a < 0:", "if a <= 0:"),
        (11, "if a < 0:", "if a < 1:"),
        (13, "print(a)", "pass"),
        (13, "print(a)", "print(None)"),
        (14, "a + LIMIT,", "None,"),
        (14, "floor(b),", "None,"),
        (14, "return min(", "return max("),
        (15, "a + LIMIT,", "a - LIMIT,"),
        (16, "floor(b),", "floor(None),"),
        (16, "floor(b),", "ceil(b),"),
    ]


def test_tests_are_chosen_by_the_whole_statement_that_changes() -> None:
    lines = {change.line: change.lines for change in changes_of("least.py", SOURCE)}
    assert lines == {5: (5, 5), 9: (9, 9), 11: (11, 11), 13: (13, 13), 14: (14, 17), 15: (14, 17), 16: (14, 17)}


def test_changes_made_by_hand_still_stand_in_modules_that_are_judged() -> None:
    judged = {module for group in groups() for module in group.modules}
    for name, change in changes_by_hand().items():
        assert change.module in judged, name
        compile(change.source, name, "exec")


def test_every_group_has_modules_and_tests() -> None:
    assert groups()
    for group in groups():
        assert group.modules
        assert group.tests
