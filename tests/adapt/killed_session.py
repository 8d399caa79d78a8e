"""python -m tests.adapt.killed_session RUN FILE STRATEGY MOMENT: a session that is killed at one moment of its loop."""

import os
import signal
import sys
from pathlib import Path

from idaq.adapt.session import Session
from idaq.learn.checkpoint import load_agent
from idaq.learn.run import run_tasks
from idaq.tasks import get_family
from tests.adapt.test_session import BUDGET, Robot, own

MOMENTS = ("asked", "in the episode", "recorded", "saved")


def main(run: Path, file: Path, strategy: str, moment: int) -> None:
    """Every fourth life gets as far as a new saved episode."""
    agent, tasks = load_agent(run), run_tasks(run)
    assert tasks is not None
    session = Session.load(file, agent) if file.exists() else Session(agent, strategy, BUDGET, settings=own(strategy))
    robot = Robot(get_family("point-robot"), next(t.task_index for t in tasks.tasks if t.split == "test"))
    death = MOMENTS[moment % len(MOMENTS)]
    policy = session.next_policy()
    _die_at(death, "asked")
    policy.reset()
    policy.act(robot.env.observation_space.sample())
    _die_at(death, "in the episode")
    session.discard()
    session.record(robot.run(session.next_policy(), len(session.episodes)))
    _die_at(death, "recorded")
    session.save(file)
    _die_at(death, "saved")


def _die_at(death: str, moment: str) -> None:
    if death == moment:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
