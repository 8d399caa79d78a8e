"""Collect a dataset of many tasks, and look into it."""

import typer

import idaq


def main(root: str = "data", episodes: int = 45) -> None:
    """Collect point-robot: 100 goals, EPISODES each, below ROOT."""
    done = idaq.collect(idaq.catalogue_recipe("point-robot", settings=[f"episodes={episodes}"]), root)
    print(done.path, done.content_digest)

    dataset = idaq.open_dataset(done.path)
    print(f"{len(dataset)} episodes of {len(dataset.tasks)} tasks")
    for task in dataset.tasks[:3]:
        mine = dataset.select(tasks=[task.task_index])
        returns = [episode.total_reward for episode in mine]
        print(f"{task.task_id} ({task.split}): {task.params}, mean return {sum(returns) / len(returns):.2f}")

    train = dataset.select(split="train", min_return=-5.0)  # reads no data
    table = train.transitions()  # in memory or mapped from disk, by size
    print(f"{len(table)} transitions to learn from")


if __name__ == "__main__":
    typer.run(main)
