"""What this machine has; and that idaq works where Linux's own calls are missing.

Nobody runs macOS or Windows here. The nearest proof: a process without the names that they lack, which imports every
module and does the core's work.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from idaq.core import machine

OTHER_SYSTEM = """
import os, signal, sys
for name in {missing_os!r}:
    delattr(os, name)
for name in {missing_signal!r}:
    delattr(signal, name)
for name in ("fcntl", "resource"):
    sys.modules[name] = None
"""
MACOS = {"missing_os": ["sched_getaffinity"], "missing_signal": []}
WINDOWS = {
    "missing_os": ["sched_getaffinity", "sysconf", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC"],
    "missing_signal": ["pthread_sigmask", "pthread_kill", "setitimer", "SIGKILL", "SIGPROF"],
}
IMPORTS = """
import importlib, pkgutil, idaq, idaq.cli
for path, prefix in ((idaq.__path__, "idaq."), (idaq.cli.__path__, "idaq.cli.")):
    for found in pkgutil.walk_packages(path, prefix):
        if found.name != "idaq.collect.sac":
            importlib.import_module(found.name)
"""
WORK = """
from pathlib import Path
import idaq
from idaq.core import machine
from idaq.catalogue.entries import catalogue_recipe
from idaq.core.files import replacing_folder, write_json
from idaq.core.interrupts import interrupts_held
from idaq.format.guarded import require_readable
from idaq.format.verify import verify
from idaq.share.exporters.npz import export_npz
from idaq.format.reader import open_stored

assert machine.cores() >= 1 and machine.default_threads() >= 1
small = ["episodes=2", "splits.sizes={train = 2, test = 1}", "reference.random_episodes=2"]
done = idaq.collect(catalogue_recipe("point-robot", "expert", small), Path("root"), workers=WORKERS)
assert verify(done.path) == []
assert len(idaq.open_dataset(done.path).transitions()) == 3 * 2 * 20
require_readable(done.path / "data/main_data.hdf5")
export_npz(open_stored(done.path), Path("point.npz"))
for content in ({"a": 1}, {"b": 2}):
    write_json(Path("document.json"), content)
with replacing_folder(Path("folder")) as folder:
    (folder / "file").write_text("text")
with interrupts_held():
    pass
print(machine.total_memory(), done.content_digest)
"""


def _elsewhere(system: dict[str, list[str]], program: str, folder: Path) -> str:
    command = [sys.executable, "-c", OTHER_SYSTEM.format(**system) + program]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_is_imported_without_what_other_systems_lack(tmp_path: Path) -> None:
    _elsewhere(WINDOWS, IMPORTS, tmp_path)


@pytest.mark.parametrize(("system", "workers"), [(MACOS, 2), (WINDOWS, 1)], ids=["macOS", "Windows"])
def test_the_core_works_without_what_other_systems_lack(
    system: dict[str, list[str]], workers: int, tmp_path: Path
) -> None:
    told = _elsewhere(system, WORK.replace("WORKERS", str(workers)), tmp_path).split()
    assert (told[0] == "None") == (system is WINDOWS)
    assert (tmp_path / "folder/file").read_text() == "text"
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".tmp"]


def test_this_machine_has_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.cores() == len(os.sched_getaffinity(0))
    total, free = machine.total_memory(), machine.free_memory()
    assert total is not None
    assert free is not None
    assert 0 < free < total
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert machine.default_threads() == min(machine.cores(), 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    assert machine.default_threads() == 8


def test_what_the_system_does_not_say_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(name: str) -> int:
        raise ValueError(f"unrecognized configuration name: {name}")

    monkeypatch.setattr(os, "sysconf", ask)
    assert machine.total_memory() is None


def test_flags_that_a_system_does_not_have_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "O_BINARY", 1 << 29, raising=False)
    monkeypatch.delattr(os, "O_NOFOLLOW")
    assert machine.open_flags("O_WRONLY", "O_NOFOLLOW") == os.O_WRONLY | os.O_CLOEXEC | 1 << 29
