"""metrics.jsonl survives what interrupts a training."""

from pathlib import Path

import pytest

from idaq.core.metrics import METRICS, append_metrics, read_metrics, steps_logged, truncate_metrics


def steps(out: Path) -> list[int | float]:
    return [line["step"] for line in read_metrics(out)]


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    append_metrics(tmp_path, 3, {"loss": 0.5})
    append_metrics(tmp_path, 4, {})
    assert read_metrics(tmp_path) == [{"step": 3, "loss": 0.5}, {"step": 4}]


def test_a_number_that_json_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_metrics(tmp_path, 0, {"loss": float("nan")})


def test_a_resumed_training_keeps_the_lines_before_its_step(tmp_path: Path) -> None:
    for step in (0, 10, 20):
        append_metrics(tmp_path, step, {})
    truncate_metrics(tmp_path, 20)
    assert steps(tmp_path) == [0, 10]


def test_a_line_torn_by_a_kill_goes_and_all_after_it(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_bytes(b'{"step": 0}\n{"st\xff\n{"step": 2}\n')
    truncate_metrics(tmp_path, 100)
    assert steps(tmp_path) == [0]


def test_a_training_that_begins_has_an_empty_log(tmp_path: Path) -> None:
    truncate_metrics(tmp_path, 0)
    assert steps(tmp_path) == []


def test_how_many_steps_are_logged_is_read_from_the_end(tmp_path: Path) -> None:
    assert steps_logged(tmp_path) == 0
    append_metrics(tmp_path, 0, {"loss": 1.0})
    append_metrics(tmp_path, 99, {"loss": 0.5})
    assert steps_logged(tmp_path) == 100
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 1')  # another process is writing
    assert steps_logged(tmp_path) == 100
    (tmp_path / METRICS).write_text("x" * 100_000 + '\n{"step": 7}\n')
    assert steps_logged(tmp_path) == 8
    (tmp_path / METRICS).write_text("no JSON\n")
    assert steps_logged(tmp_path) == 0
