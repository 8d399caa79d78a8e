"""What is told of a user's data is counted, and each kind is one line."""

from idaq.core.notes import Notes


def test_counts_of_one_kind_add_up_and_name_the_first_place() -> None:
    notes = Notes()
    notes.add("a.npz", "steps left out", 2)
    notes.add("a.npz", "steps left out", 3)
    notes.add("b.npz", "steps left out", 1)
    notes.add("b.npz", "no bounds are known")
    notes.add("b.npz", "that never happened", 0)
    assert list(notes) == ["a.npz and 1 more: 6 steps left out", "b.npz: no bounds are known"]
    assert len(notes) == 2


def test_notes_of_several_sources_are_one() -> None:
    one, other = Notes(), Notes()
    one.add("a", "cut", 1)
    other.add("b", "cut", 4)
    one.extend(other)
    assert list(one) == ["a and 1 more: 5 cut"]


def test_names_from_files_cannot_steer_a_terminal() -> None:
    notes = Notes()
    notes.add("\x1b[2Jx\n.npz", "members \udcff are not read", 1)
    assert list(notes) == ["\\x1b[2Jx\\n.npz: 1 members \\udcff are not read"]
