"""A folder of `idaq record`: one task, its episodes, and the environment that they are of."""

from pathlib import Path
from typing import Any

from idaq.core.errors import DatasetError
from idaq.core.notes import Notes
from idaq.format.importing import Import, ImportedTask
from idaq.format.reader import read_space
from idaq.format.recording import DOCUMENT, Folder


def is_recording(path: Path) -> bool:
    """Whether a folder is one that `idaq record` made."""
    return (path / DOCUMENT).is_file()


def read_recording(path: Path) -> Import:
    """All whole episodes. Raises DatasetError where there is none yet, CorruptDatasetError for what is damaged."""
    folder = Folder(path)
    recording, numbers = folder.read(), folder.numbers()
    if not numbers:
        raise DatasetError(f"{path} holds no episode yet", hint="run the same idaq record again")
    spaces: dict[str, Any] = {"observation_space": recording.observation_space, "action_space": recording.action_space}
    read = [folder.episode(number, recording.behaviour) for number in numbers]
    task = ImportedTask(
        name=recording.task, params=recording.params, env=recording.env, episodes=[episode for episode, _ in read]
    )
    notes = Notes()
    said = f"actions of {recording.policy} were clipped to the action space when they were recorded"
    notes.add(path.name, said, sum(clipped for _, clipped in read))
    return Import(
        tasks=[task],
        origin=path.name,
        observation_space=read_space(spaces, "observation_space", str(path)),
        action_space=read_space(spaces, "action_space", str(path)),
        env_spec_json=recording.env_spec,
        notes=notes,
    )
