"""Adapt one system that your own code steps. Start it again after a crash: it resumes at the episode it had reached."""

from pathlib import Path

import numpy as np
import typer

import idaq

GOAL = np.array([-0.6, 0.8])  # where the robot has to go; neither the agent nor the session is told


def play(policy: idaq.SystemPolicy, steps: int = 20) -> list[tuple]:
    """One episode on the "robot", as a list of (s, a, r, s', terminated, truncated)."""
    place, episode = np.zeros(2, np.float32), []
    policy.reset()
    for step in range(steps):
        action = policy.act(place)
        following = (place + np.clip(action, -0.1, 0.1)).astype(np.float32)
        reward, last = -float(np.linalg.norm(following - GOAL)), step + 1 == steps
        policy.observe(action, reward, following, last)  # for policies with a memory
        episode.append((place, action, reward, following, False, last))
        place = following
    return episode


def main(root: str = "data", out: str = "runs/robot", steps: int = 2000, budget: int = 10) -> None:
    """Learn from data of other goals for STEPS steps, then adapt with BUDGET episodes on the robot."""
    dataset = idaq.open_dataset(idaq.collect(idaq.catalogue_recipe("point-robot"), root).path)
    idaq.train(dataset, idaq.training_config({"steps": steps}, dataset.manifest.recipe.train), out)
    agent, file = idaq.load_agent(out), Path(out) / "robot.session"

    if file.exists():
        session = idaq.Session.load(file, agent)
    else:
        session = idaq.Session(agent, strategy="idaq-mixture", budget=budget)
    while not session.done:
        session.record(play(session.next_policy()))
        session.save(file)
        print(f"episode {len(session.episodes)} of {budget}: return {session.returns[-1]:.2f}")

    final = sum(step[2] for step in play(session.deploy()))
    print(f"deployed: return {final:.2f}, best while adapting {max(session.returns):.2f}")


if __name__ == "__main__":
    typer.run(main)
