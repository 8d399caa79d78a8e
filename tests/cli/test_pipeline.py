"""From recipe to report, as a user types it; and every way a user mistypes it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from idaq.cli.app import app

from tests.cli.conftest import BRIEF, QUICK, SMALL, Idaq, settings
from tests.format.sealing import alter_metadata

ID = "idaq/point-robot/expert-v0"
PROGRAM = Path(sys.executable).parent / "idaq"
pytestmark = pytest.mark.usefixtures("in_world")


def test_collect(idaq: Idaq) -> None:
    done = idaq("collect", "point-robot", "--workers", "1", *SMALL, "--json")
    assert done.code == 0, done.err
    first = json.loads(done.out)
    assert (first["id"], first["cells"], first["resumed"], first["existed"]) == (ID, 16, 0, False)
    assert "episodes/s" in done.err
    again = idaq("collect", "point-robot", "--workers", "1", *SMALL)
    assert again.code == 0
    assert "already there" in again.out
    assert first["content_digest"] in again.out


def test_another_recipe_under_the_same_id_is_refused(idaq: Idaq) -> None:
    done = idaq("collect", "point-robot", *SMALL, "--set", "seed=99")
    assert done.code == 1
    assert "another recipe" in done.err
    assert "--set id=" in done.err


def test_list_show_and_verify(idaq: Idaq) -> None:
    (entry,) = json.loads(idaq("dataset", "list", "--json").out)
    assert (entry["id"], entry["tasks"], entry["episodes"], entry["steps"]) == (ID, 8, 24, 480)
    assert ID in idaq("dataset", "list").out
    shown = idaq("dataset", "show", ID)
    assert "8 (6 train, 2 test)" in shown.out
    assert "random (reference)" in shown.out
    document = json.loads(idaq("dataset", "show", ID, "--json").out)
    assert len(document["tasks"]) == 8
    assert document["content_digest"] in shown.out
    assert idaq("dataset", "verify", ID).code == 0
    assert json.loads(idaq("dataset", "verify", ID, "--json").out) == {
        "path": str(Path("datasets").absolute() / ID),
        "valid": True,
        "problems": [],
        "warnings": [],
    }


def test_verify_warns_of_a_strangers_code_and_calls_the_dataset_sound(idaq: Idaq, damaged: Path) -> None:
    def alter(metadata: dict[str, Any]) -> None:
        metadata["env_spec"] = metadata["env_spec"].replace("idaq.tasks.point:PointRobotEnv", "evil.module:Env")

    alter_metadata(damaged, alter)
    done = idaq("dataset", "verify", str(damaged))
    assert done.code == 0
    assert "names code: evil.module:Env: recover_environment() would import and run it" in done.out
    machine = idaq("dataset", "verify", str(damaged), "--json")
    assert machine.code == 0
    assert "evil.module:Env" in json.loads(machine.out)["warnings"][0]["what"]
    imported = idaq("dataset", "import", f"minari:{damaged}", "--id", "me/imported/evil-v0")
    assert "warning: names code: evil.module:Env" in imported.out


def test_verify_names_what_is_damaged_and_exits_with_one(idaq: Idaq, world: Path) -> None:
    assert idaq("collect", "point-robot", "--workers", "1", *SMALL, "--set", "id=idaq/broken-v0").code == 0
    file = world / "datasets/idaq/broken-v0/data/main_data.hdf5"
    raw = bytearray(file.read_bytes())
    offset = json.loads(idaq("dataset", "show", "idaq/broken-v0", "--json").out)["counts"]["episodes"]
    from idaq.format.reader import open_stored

    start = int(open_stored(file.parents[1]).episodes.offsets["rewards"][offset - 1])
    raw[start] ^= 1
    file.write_bytes(raw)
    done = idaq("dataset", "verify", "idaq/broken-v0")
    assert done.code == 1
    assert "episode 23" in done.err
    assert "collect it again" in done.err
    machine = idaq("dataset", "verify", "idaq/broken-v0", "--json")
    assert machine.code == 1
    assert json.loads(machine.out)["valid"] is False


def test_plot(idaq: Idaq, world: Path) -> None:
    done = idaq("dataset", "plot", ID, "--out", "returns.png")
    assert done.code == 0
    assert (world / "returns.png").read_bytes().startswith(b"\x89PNG")


def test_explore(idaq: Idaq, world: Path) -> None:
    done = idaq("dataset", "explore", ID, "--out", "pages/all.html", "--film", "2")
    assert done.code == 0, done.err
    assert re.search(r"pages/all.html \(\d\.\d MB; 24 episodes, 24 as curves, 2 filmed\)", done.out)
    told = json.loads(idaq("dataset", "explore", ID, "--out", "one.html", "--episodes", "1", "--json").out)
    assert (told["episodes"], told["curves"], told["films"]) == (24, 8, 0)
    assert told["bytes"] == (world / "one.html").stat().st_size < (world / "pages/all.html").stat().st_size
    assert told["notes"][0].startswith("8 of 24 episodes have curves: 1 of each task")
    for wrong in ("0", "-1", "some", "9999999999"):
        refused = idaq("dataset", "explore", ID, f"--episodes={wrong}")
        assert (refused.code, "auto, all, or how many of each task" in refused.err) == (2, True)


def test_train_adapt_report(idaq: Idaq, world: Path) -> None:
    done = idaq("train", "--dataset", ID, "--out", "runs/point", *settings(QUICK), "--json")
    assert done.code == 0, done.err
    told = {"run": "runs/point", "steps": 40, "resumed_at": 0, "best_at": None, "best_return": None, "early": False}
    assert json.loads(done.out) == told
    again = idaq("train", "--dataset", ID, "--out", "runs/point", *settings(QUICK))
    assert "resumed at 40" in again.out
    adapted = idaq("adapt", "runs/point", *settings(BRIEF))
    assert adapted.code == 0, adapted.err
    for name in ("idaq", "idaq-prediction-error", "posterior", "best-of-prior", "random-first", "offline-context"):
        assert name in adapted.out
    summary = json.loads(
        idaq("adapt", "runs/point", *settings(BRIEF), "--strategies", "offline-context, posterior", "--json").out
    )
    assert summary["dataset_id"] == ID
    assert idaq("adapt", "runs/point", *settings(BRIEF)).code == 0
    report = idaq("report", "runs/point")
    assert report.code == 0, report.err
    page = (world / "runs/point/report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert ID in page
    assert "idaq" in page


def test_reproduce_writes_baselines_and_card(idaq: Idaq, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study on a catalogue of one small entry, with the real command."""
    from idaq.catalogue import entries as catalogue

    text = (catalogue.find_entry("point-robot", "expert").folder / "recipe.toml").read_text()
    folder = world / "catalogue" / "point-robot" / "expert"
    folder.mkdir(parents=True)
    text = text.replace("train = 72, val = 8, test = 20", "train = 5, val = 1, test = 2").replace(
        "episodes = 45", "episodes = 3"
    )
    quick = "[train]\nsteps = 40\nbatch = 8\nmeta_batch = 4\ncontext = 10\n"
    budget = "[adapt]\nepisodes = 4\nreference = 2\nreport_at = [1, 4]\n\n[train.learner]"
    (folder / "recipe.toml").write_text(text.replace("[train]\n", quick).replace("[train.learner]", budget))
    monkeypatch.setattr(catalogue, "resource_root", lambda kind: world / "catalogue")
    command = ("reproduce", "point-robot/expert", "--seeds", "2", "--jobs", "1", "--catalogue", world / "catalogue")
    options = ("--out", "runs/study", "--root", "study")
    done = idaq(*command, *options)
    assert done.code == 0, done.err
    assert "2 training seeds" in done.out
    baselines = json.loads((folder / "baselines.json").read_text())
    assert baselines["dataset_id"] == ID
    assert "idaq reproduce point-robot/expert" in (folder / "card.md").read_text()
    assert json.loads(idaq(*command, *options, "--json").out)["point-robot/expert"] == baselines  # nothing runs twice


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["collect"], 2, "give either a family or --recipe"),
        (["collect", "point-robt"], 2, "did you mean 'point-robot'"),
        (["collect", "point-robot", "--quality", "exprt"], 2, "did you mean 'expert'"),
        (["collect", "point-robot", "--set", "episodes"], 2, "key=value"),
        (["collect", "point-robot", "--set", "episodes=0"], 2, "greater than or equal to 1"),
        (["collect", "point-robot", "--set", "id=../../etc/passwd-v0"], 2, "is not a dataset id"),
        (["collect", "point-robot", "--set", "splits.sizes.train=1000"], 2, "ask for 1028 tasks"),
        (["collect", "--recipe", "missing.toml"], 2, "missing.toml is missing"),
        (["dataset", "show", "idaq/point-robot/exprt-v0"], 1, "did you mean 'idaq/point-robot/expert-v0'"),
        (["dataset", "show", "../../etc"], 1, "there is no dataset"),
        (["dataset", "verify", "nothing-v0"], 1, "there is no dataset"),
        (["train"], 2, "Missing option"),
        (["train", "--dataset", ID, "--set", "stepz=1"], 2, "did you mean 'steps'"),
        (["train", "--dataset", ID, "--set", "learner.gamma=1"], 2, "less than 1"),
        (["reproduce", "--set", "episodes=4"], 2, "--catalogue FOLDER"),
        (["adapt", "runs/none"], 1, "is not a run directory"),
        (["adapt", "runs/point", "--strategies", "idaq-return"], 2, "unknown strategy 'idaq-return'"),
        (["adapt", "runs/point", "--strategies", ","], 2, "no strategy is named"),
        (["report", "runs/none"], 1, "not a run directory"),
        (["reproduce", "point-robot"], 2, "family/quality"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_mistakes_get_a_clear_error(idaq: Idaq, arguments: list[str], code: int, said: str) -> None:
    done = idaq(*arguments)
    assert done.code == code, done.err
    assert said in " ".join(done.err.split())
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "command", [[], ["collect"], ["train"], ["adapt"], ["report"], ["reproduce"], ["dataset"], ["dataset", "verify"]]
)
def test_help_teaches_by_example(idaq: Idaq, command: list[str]) -> None:
    done = idaq(*command, "--help")
    assert done.code == 0
    assert "idaq " + " ".join(command) in done.out.split("Usage:", 1)[1].split("\n", 1)[1]  # beyond the usage line


def helps(command: Any) -> Iterator[str]:
    """What a command, its parameters and the commands below it say of themselves."""
    yield from (text for text in (command.help, *(getattr(p, "help", None) for p in command.params)) if text)
    for below in getattr(command, "commands", {}).values():
        yield from helps(below)


def test_help_shows_all_that_was_written() -> None:
    """Rich takes [word] for markup, and leaves it out."""
    written = list(helps(typer.main.get_command(app)))
    assert len(written) > 100
    for text in written:
        assert not re.search(r"(?<!\\)\[(?!/?(bold|cyan)\])[a-z]", text), text


def test_a_moved_or_altered_dataset_is_noticed(idaq: Idaq, world: Path) -> None:
    done = idaq("adapt", "runs/point", "--root", world / "elsewhere")
    assert done.code == 1
    assert "there is no dataset" in done.err
    assert idaq("collect", "point-robot", "--workers", "1", *SMALL, "--set", "seed=5", "--root", "other").code == 0
    changed = idaq("adapt", "runs/point", "--root", "other")
    assert changed.code == 1
    assert "was trained on" in changed.err


def hears_ctrl_c() -> None:
    """Whoever runs the tests in a shell's background ignores it, and its children would."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(world: Path) -> None:
    command = [str(PROGRAM), "collect", "point-robot", "--workers", "2", "--root", "interrupted", "--json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hears_ctrl_c,
    )
    staging = world / "interrupted" / ".idaq" / "collect"
    while not any("sha256" in journal.read_text() for journal in staging.glob("*/journal.jsonl")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "resumes from there" in err
    assert not (world / "interrupted" / "idaq").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["resumed"] > 0


def test_looking_is_fast_and_loads_no_torch(world: Path) -> None:
    """Seconds over what Python itself takes to start."""
    bare = _seconds([sys.executable, "-c", "pass"])
    assert _seconds([sys.executable, "-c", "import idaq"]) - bare < 0.1
    assert _seconds([str(PROGRAM), "--help"]) - bare < 0.3
    assert _seconds([str(PROGRAM), "dataset", "show", ID]) - bare < 1.0
    code = (
        "import sys; sys.argv = ['idaq', 'dataset', 'show', 'idaq/point-robot/expert-v0']\n"
        "from importlib.metadata import entry_points\n"
        "try: entry_points(group='console_scripts', name='idaq')['idaq'].load()()\n"
        "finally: assert not {'torch', 'scipy', 'matplotlib', 'jax'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _seconds(command: list[str]) -> float:
    """Best of five, as the machine may be busy."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        taken.append(time.perf_counter() - start)
    return min(taken)
