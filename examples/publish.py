"""Publish a dataset to a hub (here a folder; hf:// and s3:// are alike), pull some of its tasks, and export them."""

from pathlib import Path

import typer

import idaq


def main(root: str = "data", hub: str = "file://shared", elsewhere: str = "elsewhere", tasks: int = 10) -> None:
    """Push from ROOT to HUB, and pull the first TASKS tasks into ELSEWHERE."""
    path = idaq.collect(idaq.catalogue_recipe("point-robot", settings=["episodes=10"]), root).path
    with idaq.open_remote(hub) as there:
        pushed = idaq.push(path, there)
        print(f"{pushed.dataset_id} is at {pushed.url}, content digest {pushed.content_digest}")

        found = idaq.look_up(there, pushed.dataset_id, expect=pushed.content_digest)
        part = idaq.pull_tasks(found, range(tasks), elsewhere, "me/point-robot/part-v0")
    print(f"{part.path}: {len(idaq.open_dataset(part.path).tasks)} tasks")

    table = Path(elsewhere) / "part.parquet"
    if not table.exists():
        done = idaq.export(part.path, table)
        print(f"{table}: {done.counts.steps} transitions")


if __name__ == "__main__":
    typer.run(main)
