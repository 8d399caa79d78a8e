"""What commands print with takes any label as it is."""

import pytest
from idaq.cli.output import progress, working

LABEL = "training runs/[bold]/[/x]"


def test_a_progress_bar_shows_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(LABEL, 2, "steps") as advance:
        advance(2)
    shown = capsys.readouterr().err
    assert LABEL in " ".join(shown.split())
    assert "2/2" in shown


def test_a_spinner_takes_brackets() -> None:
    with working(LABEL):  # raises MarkupError where they are read as markup
        pass
