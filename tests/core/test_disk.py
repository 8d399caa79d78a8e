"""What the system says of files, as a user reads it; and every command that writes, on disks that cannot be written."""

import ast
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import idaq
from idaq.core.disk import explain
from idaq.core.files import write_text
from tests.disks import read_only, small_disk
from tests.writers import Shared


@pytest.mark.parametrize(
    ("number", "sentence", "hint"),
    [
        (errno.ENOSPC, "the disk is full: no room for /a/b", "free some space"),
        (errno.EDQUOT, "the disk is full: no room for /a/b", "free some space"),
        (errno.EROFS, "/a/b is on a disk that can only be read", "choose another --root or --out"),
        (errno.EACCES, "there is no permission to use /a/b", "check its owner and mode"),
        (errno.EMFILE, "too many files are open", "ulimit -n 4096"),
        (errno.ENOTDIR, "a part of the path /a/b is a file, where a folder is needed", "choose another"),
        (errno.ENAMETOOLONG, "the path /a/b is too long", "choose a shorter name"),
        (errno.EIO, "the disk reports an error at /a/b", "see dmesg"),
        (errno.ENOENT, "there is no /a/b", "check the path"),
        (errno.ELOOP, f"/a/b: {os.strerror(errno.ELOOP)}", "check the path"),
    ],
)
def test_an_error_of_the_system_is_a_sentence_and_a_hint(number: int, sentence: str, hint: str) -> None:
    told = explain(OSError(number, os.strerror(number), "/a/b"))
    assert told.message == sentence
    assert hint in str(told.hint)
    assert str(told.hint).endswith("then run the same command again")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: no room for a file"),
        (OSError(errno.ENOENT, "No usable temporary directory found"), "No usable temporary directory found"),
        (OSError("unable to {read}"), "unable to {read}"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "a or b: Invalid cross-device link"),
        (OSError(errno.EACCES, "denied", b"/\xff"), "there is no permission to use /\udcff"),
    ],
)
def test_an_error_that_names_no_file_or_two_is_told_as_well(error: OSError, sentence: str) -> None:
    assert explain(error).message == sentence


def test_a_file_that_finds_no_room_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path, kilobytes=4), pytest.raises(OSError, match="No space") as caught:
        write_text(tmp_path / "a.txt", "a" * 10_000)
    assert caught.value.filename == str(tmp_path / "a.txt")


WALK = """
import contextlib, io, os, resource, sys
from pathlib import Path
import rich.console, rich.progress, rich.table
import idaq.collect.collect, idaq.evaluate.explorer, idaq.format.zarr.transfer, idaq.learn.loop
import idaq.hub.object_store, idaq.hub.tasks, idaq.share.importers.transitions
import idaq.share.exporters.focal_npy, idaq.share.exporters.lerobot, idaq.share.exporters.minari_per_task
import idaq.share.exporters.npz, idaq.share.exporters.parquet
from idaq.cli import main
for line in sys.stdin:
    limit, bad = line.split()
    if os.fork() == 0:
        break
    os.wait()
    print(flush=True)
else:
    sys.exit()
bad, given, root = Path(bad), sys.argv[1], Path(sys.argv[1]) / "root"
def quick(*values):
    return [part for value in values for part in ("--set", value)]
A, OUT = str(root / "idaq/made/tagged-v0"), str(bad / "out")
COMMANDS = [
    ["collect", "point-robot", "--workers", "1", "--root", bad, *quick("episodes=1", "reference.random_episodes=2",
     "splits.sizes={train = 1, test = 1}", "id=me/x/collected-v0")],
    ["dataset", "subset", A, "me/x/subset-v0", "--split", "train", "--root", bad],
    ["dataset", "merge", "me/x/merge-v0", A, A, "--root", bad],
    ["dataset", "relabel", A, "me/x/relabel-v0", "--description", "other", "--root", bad],
    ["dataset", "import", f"{given}/made.npz", "--id", "me/x/import-v0", "--root", bad],
    ["dataset", "import", f"{given}/made.zarr", "--root", bad],
    *[["dataset", "export", A, f"{OUT}/made.{kind}"] for kind in ("npz", "parquet", "zarr")],
    *[["dataset", "export", A, f"{OUT}/{kind}", "--to", kind] for kind in ("minari-per-task", "focal-npy", "lerobot")],
    ["dataset", "plot", A, "--out", f"{OUT}/returns.png"],
    ["dataset", "explore", A, "--out", f"{OUT}/made.html"],
    ["hub", "push", A, f"file://{OUT}/hub"],
    ["hub", "pull", "idaq/made/tagged-v0", f"file://{given}/hub", "--root", bad],
    ["hub", "pull", "idaq/made/tagged-v0", f"file://{given}/hub", "--tasks", "0:6", "--root", bad],
    ["train", "--dataset", A, "--out", f"{OUT}/run", *quick("steps=2", "batch=4", "meta_batch=2", "context=4",
     "encoder.hidden=4", "learner.hidden=4", "threads=1")],
]
if limit != "-":
    name, _, value = limit.partition("=")
    resource.setrlimit(getattr(resource, name), (int(value), resource.getrlimit(getattr(resource, name))[1]))
told = []
for command in COMMANDS:
    sys.argv = ["idaq", *map(str, command)]
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException as error:
            code = repr(error)
    lines = [line for line in errors.getvalue().splitlines() if line.startswith(("error: ", "  fix: "))]
    told.append([" ".join(sys.argv[1:4]), code, lines])
os.write(1, repr(told).encode())
os._exit(0)
"""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands work from."""
    folder = tmp_path_factory.mktemp("given")
    Shared(folder).make()
    return folder


Told = list[tuple[str, object, list[str]]]
"""of every writing command: the command, its exit code, error and hint"""
Walk = Callable[[Path, str], Told]


@pytest.fixture(scope="module")
def walk(given: Path) -> Iterator[Walk]:
    """Every writing command with its output below a folder, under a limit of the kernel's."""
    environment = {**os.environ, "PYTHONPATH": str(Path(idaq.__file__).parents[1])}
    command = [sys.executable, "-c", WALK, str(given)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin
        assert stdout

        def run(bad: Path, limit: str) -> Told:
            stdin.write(f"{limit} {bad}\n")
            stdin.flush()
            return ast.literal_eval(stdout.readline())

        yield run


def a_file(walk: Walk, bad: Path) -> Told:
    bad.write_text("no folder")
    return walk(bad / "below", "-")


def a_read_only_disk(walk: Walk, bad: Path) -> Told:
    (bad.parent / "empty").mkdir()
    with read_only(bad.parent / "empty", bad):
        return walk(bad, "-")


def a_full_disk(walk: Walk, bad: Path) -> Told:
    bad.mkdir()
    with small_disk(bad, kilobytes=4):
        return walk(bad, "-")


def too_long_a_path(walk: Walk, bad: Path) -> Told:
    return walk(bad / ("x" * 300), "-")


def no_room_for_a_byte(walk: Walk, bad: Path) -> Told:
    bad.mkdir()
    return walk(bad, "RLIMIT_FSIZE=0")


def too_many_open_files(walk: Walk, bad: Path) -> Told:
    bad.mkdir()
    return walk(bad, "RLIMIT_NOFILE=4")


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        (a_file, "is a file, where a folder is needed"),
        (a_read_only_disk, "is on a disk that can only be read"),
        (a_full_disk, "the disk is full: no room for|MB are to come"),
        (too_long_a_path, "is too long"),
        (no_room_for_a_byte, "the disk is full: no room for|No usable temporary directory"),
        (too_many_open_files, "(?i)too many (open )?files"),
    ],
)
def test_every_command_that_writes_says_in_a_sentence_why_it_cannot(
    walk: Walk, tmp_path: Path, where: Callable[[Walk, Path], Told], sentence: str
) -> None:
    told = where(walk, tmp_path / "bad")
    assert len(told) == 18
    for command, code, lines in told:
        assert code == 1, (command, code, lines)
        assert len(lines) == 2 or where is too_many_open_files, (command, lines)  # imports of files tell less there
        assert re.search(sentence, lines[0]), (command, lines)
