"""An exporter: one CSV file of all rewards, a row a step."""

from pathlib import Path

import idaq


class RewardsCsv:
    """`idaq dataset export ID rewards.csv`."""

    description = "one CSV file: task, episode, step, reward"
    ending, is_folder, takes_urls = ".csv", False, False

    def write(self, stored, out, progress) -> None:
        with idaq.new_file(Path(out)) as place, place.open("w") as file:
            file.write("task,episode,step,reward\n")
            for entry in idaq.each_episode(stored, progress):
                for step, reward in enumerate(entry.episode.rewards.tolist()):
                    file.write(f"{entry.task.task_id},{entry.number},{step},{reward!r}\n")
