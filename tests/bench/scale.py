"""Time and memory of each command at many episodes: python -m tests.bench.scale FOLDER EPISODES... [--tasks 1000]

Collects point robots (20 steps of 2 + 2 numbers) into FOLDER, runs each command in a process of its own, and prints a
row a command: seconds of the processor, seconds from start to end, imports included, and the largest anonymous memory,
which is what the machine must have: pages of a mapped file are given back. What was made is removed again, but with
--keep; it takes up to 10 KB an episode.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from idaq.core.types import Array, Task
from idaq.tasks import Family
from idaq.tasks.point import MAX_ACTION, PointRobotLockstep, Variant

ID, PART = "idaq/crowd/expert-v0", "idaq/crowd/part-v0"
STEPS = {
    "collect": "own collect",
    "open": "own open",
    "list": "idaq dataset list",
    "show": f"idaq dataset show {ID}",
    "select": "own select",
    "subset, a tenth": f"idaq dataset subset {ID} {PART} --tasks 0:{{tenth}}",
    "verify": f"idaq dataset verify {ID}",
    "push to a folder": f"idaq hub push {ID} file://{{hub}}",
    "export to Zarr": f"idaq dataset export {ID} {{zarr}}",
    "open Zarr": "own open-zarr",
    "read all of Zarr": "own read-zarr",
}
REMOVED = {"subset, a tenth": f"root/{PART}", "push to a folder": "", "read all of Zarr": "all.zarr"}


@cache
def variant(tasks: int) -> Variant:
    angles = np.linspace(0, np.pi, tasks)
    goals = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return Variant(goals=goals, winds=np.zeros_like(goals), horizon=20, sparse=False)


class Crowd(PointRobotLockstep):
    """Point robots of any number of goals."""

    def __init__(self) -> None:
        self._variant = variant(int(os.environ["TASKS"]))


def controller(observations: Array, task_indices: NDArray[np.int64]) -> Array:
    return (variant(int(os.environ["TASKS"])).goals[task_indices] - observations) / MAX_ACTION


def family() -> Family:
    goals = variant(int(os.environ["TASKS"])).goals.tolist()
    spec = EnvSpec(
        id="idaq/point-robot-v0",
        entry_point="idaq.tasks.point:PointRobotEnv",
        max_episode_steps=20,
        kwargs={"variant": "point-robot"},
    )
    return Family(
        name="crowd",
        description="many goals",
        tasks=tuple(Task(task_id=f"goal-{i}", task_index=i, params={"goal": goal}) for i, goal in enumerate(goals)),
        horizon=20,
        env_spec=spec,
        batched=Crowd,
        controller=controller,
        task_changes_dynamics=False,
    )


def collect_crowd(folder: Path, episodes: int) -> None:
    from idaq.catalogue.entries import catalogue_recipe
    from idaq.collect.collect import collect

    tasks = int(os.environ["TASKS"])
    settings = (
        f"id={ID}",
        "family=crowd",
        f"episodes={episodes // tasks}",
        f"splits.sizes={{train = {tasks - tasks // 5}, test = {tasks // 5}}}",
        "reference.random_episodes=2",
    )
    collect(catalogue_recipe("point-robot", "expert", settings), folder / "root", family=family())


def child(folder: Path, step: str, episodes: int) -> None:
    """One of the steps that are no command."""
    if step == "collect":
        collect_crowd(folder, episodes)
        return
    from idaq.loader import open_dataset

    zarr = "zarr" in step
    dataset = open_dataset(folder / "all.zarr" if zarr else ID, folder / "root")
    if step == "select":
        assert len(dataset.select(split="test")) == episodes // 5
    elif step == "read-zarr":
        for number in range(len(dataset)):
            assert dataset.episode(number)


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Seconds, seconds of processor, and the peak of anonymous memory in MB, of a command. Raises RuntimeError."""
    start, before, peak = time.perf_counter(), processor_seconds(), 0
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        lines = status.read_text().splitlines()
        peak = max(peak, *(int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {process.stderr.read() if process.stderr else ''}")
    return time.perf_counter() - start, processor_seconds() - before, peak / 1024


def processor_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, hub: Path, episodes: int, tasks: int, steps: list[str]) -> None:
    """Every step on so many episodes; a row each as it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "TASKS": str(tasks), "MINARI_DATASETS_PATH": str(folder / "root")}
    filled = {"hub": hub, "zarr": folder / "all.zarr", "tenth": tasks // 10}
    for name in steps:
        program, *arguments = STEPS[name].format(**filled).split()
        own = ["-m", "tests.bench.scale", str(folder), str(episodes), "--child"]
        start = own if program == "own" else ["-c", "from idaq.cli import main; main()"]
        seconds, busy, megabytes = measure([sys.executable, *start, *arguments], environment)
        size = sum(path.stat().st_size for path in (folder / "root" / ID).rglob("*") if path.is_file()) / 1e6
        print(
            f"| {name} | {episodes:,} | {busy:.1f} s | {seconds:.1f} s | {megabytes:.0f} MB | {size:.0f} MB |",
            flush=True,
        )
        if name in REMOVED:
            shutil.rmtree(hub if name.startswith("push") else folder / REMOVED[name], ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("episodes", type=int, nargs="+")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--steps", nargs="+", default=list(STEPS))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--hub", type=Path, help="where to push to; by default a folder in FOLDER")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.folder, chosen.child, chosen.episodes[0])
        return
    print("| step | episodes | processor | time | memory | dataset |\n|---|---|---|---|---|---|")
    for episodes in chosen.episodes:
        try:
            hub = chosen.hub or chosen.folder / "hub"
            run(chosen.folder, hub, episodes, chosen.tasks, chosen.steps)
        finally:
            if not chosen.keep:
                shutil.rmtree(chosen.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
