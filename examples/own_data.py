"""Arrays of one's own become a dataset of many tasks that is verified, shareable, and can be trained on."""

from pathlib import Path

import numpy as np
import typer

import idaq

GRIPS = {"dry": 0.9, "wet": 0.5, "ice": 0.2}  # what differs between the tasks, and is not measured


def log(grip: float, episodes: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """What your logger has: one row a step, 30 steps an episode. A car brakes before a wall."""
    rows = []
    for _ in range(episodes):
        distance, speed = rng.uniform(10, 20), rng.uniform(5, 8)
        for step in range(30):
            brake = np.clip(0.25 * speed / distance / grip + rng.normal(0, 0.1), 0, 1)
            before, last = (distance, speed), step == 29
            distance, speed = distance - 0.1 * speed, max(0.0, speed - grip * brake)
            rows.append((*before, brake, -abs(distance - 8) / 8, distance, speed, False, last))
    s0, s1, a, r, n0, n1, terminated, truncated = np.array(rows, np.float32).T
    columns = {"observations": np.stack([s0, s1], 1), "actions": a[:, None], "rewards": r}
    ends = {"terminated": terminated.astype(bool), "truncated": truncated.astype(bool)}
    return {**columns, "next_observations": np.stack([n0, n1], 1), **ends}


def main(root: str = "data", logs: str = "logs", episodes: int = 40, steps: int = 500) -> None:
    """Write one .npz for each grip into LOGS, import them below ROOT, and train for STEPS steps."""
    Path(logs).mkdir(exist_ok=True)
    files = [Path(logs) / f"{name}.npz" for name in GRIPS]
    for file, grip in zip(files, GRIPS.values(), strict=True):
        np.savez(file, **log(grip, episodes, np.random.default_rng(0)))

    done = idaq.import_dataset(files, "me/brakes/logged-v0", authors=["me"], license="MIT", root=root)
    print(f"{done.path}: {done.tasks} tasks, {done.episodes} episodes")
    print(*(f"  {note}" for note in done.notes), sep="\n")  # each cut, cast, drop and assumption

    dataset = idaq.open_dataset(done.path)
    settings = {"steps": steps, "meta_batch": 4, "encoder": {"next_observation": True}}
    idaq.train(dataset, idaq.training_config(settings), "runs/brakes")
    print(idaq.load_agent("runs/brakes").prior.beliefs.shape, "beliefs: one for each task")


if __name__ == "__main__":
    typer.run(main)
