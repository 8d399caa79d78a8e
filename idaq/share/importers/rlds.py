"""RLDS datasets in TensorFlow Datasets' files: an example is an episode, its `steps` hold s, a, r and three flags.

TensorFlow Datasets reads them, so it has to be installed, and TensorFlow with it: no kept library reads its records
without. An episode of L steps has L - 1 transitions: step t holds s_t, a_t and r_t, the last one s_T. A dataset's
document names the classes of its features: one that is not of TensorFlow Datasets is refused before it is opened.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from idaq.core.checks import as_column, as_flags, check_finite, check_returns
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.extras import optional
from idaq.core.files import read_json
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.format.outside_columns import as_numbers, extra_columns, flat

FEATURES, INFO = "features.json", "dataset_info.json"
_TRUSTED = "tensorflow_datasets.core.features."
_AT_ONCE = 1000
"""steps that TensorFlow hands over together"""
_STANDARD = ("observation", "action", "reward", "discount", "is_first", "is_last", "is_terminal")


def is_rlds(folder: Path) -> bool:
    """Whether a folder has the documents of TensorFlow Datasets."""
    return (folder / FEATURES).is_file() and (folder / INFO).is_file()


def read_rlds(folder: Path) -> Import:
    """A task a split. Raises DatasetError for features that are no steps, MissingExtraError without TensorFlow."""
    strange = sorted(name for name in _classes(read_json(folder / FEATURES)) if not name.startswith(_TRUSTED))
    if strange:
        raise DatasetError(
            f"{folder / FEATURES} names {strange[0]}: reading it would import that module",
            hint="only features of TensorFlow Datasets itself are read",
        )
    optional("tensorflow")  # TFDS would miss it only later, in a less telling way
    tfds, result = optional("tensorflow_datasets"), Import(tasks=[], origin=folder.name)
    try:
        builder = tfds.builder_from_directory(str(folder))
        if "steps" not in builder.info.features:
            raise DatasetError(f"{folder} holds no steps: its features are {', '.join(builder.info.features)}"[:1000])
        splits: list[str] = list(builder.info.splits)
        several = len(splits) > 1
        for split in splits:
            name = slug(f"{folder.resolve().parent.name[:40]}.{split}" if several else folder.resolve().parent.name)
            episodes = [
                ImportedEpisode(episode=episode)
                for steps in _examples(tfds, builder, split)
                if (episode := _episode(steps, result, f"{folder}, split {split}")) is not None
            ]
            result.tasks.append(ImportedTask(name=name, episodes=episodes))
    except DatasetError:
        raise
    except Exception as error:  # what is damaged leads TensorFlow to errors of any kind
        raise CorruptDatasetError(f"{folder} cannot be read by TensorFlow Datasets: {error}"[:500]) from None
    return result


def _classes(value: Any) -> Iterator[str]:
    """Names of classes that a document of features holds."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("pythonClassName", "type") and isinstance(inner, str) and "." in inner:
                yield inner
            yield from _classes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _classes(inner)


def _examples(tfds: Any, builder: Any, split: str) -> Iterator[dict[str, Array]]:
    """The steps of each episode, leaves by their path."""
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    for example in builder.as_dataset(split=split, read_config=config, shuffle_files=False):
        parts = [flat(part) for part in tfds.as_numpy(example["steps"].batch(_AT_ONCE))]
        yield {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in (parts[0] if parts else ())}


def _episode(steps: Mapping[str, Array], result: Import, where: str) -> Episode | None:
    """Raises DatasetError for steps that lack what RLDS has."""
    notes, file = result.notes, result.origin
    seen = {
        OBSERVATIONS + name.removeprefix("observation"): rows
        for name, array in sorted(steps.items())
        if name.partition("/")[0] == "observation" and (rows := as_numbers(array)) is not None
    }
    if not seen or "action" not in steps:
        raise DatasetError(
            f"{where}: its steps lack numbers as observation and action; they hold {', '.join(steps)}"[:1000]
        )
    length = len(steps["action"]) - 1
    if length < 1:
        notes.add(file, "episodes of one step, which is no transition, are left out", 1)
        return None
    if "reward" not in steps:
        unknown_rewards(result)
    rewards = as_column("reward", steps["reward"], where)[:-1] if "reward" in steps else np.zeros(length, np.float32)
    check_returns(rewards, where)
    last = np.arange(length) == length - 1
    ended = bool(as_flags("is_terminal", steps["is_terminal"], where)[-1]) if "is_terminal" in steps else False
    if "is_terminal" not in steps:
        notes.add(file, "no is_terminal: episodes are taken to end by a time limit", 1)
    undefined = bool(np.any(steps["action"][-1])) or ("reward" in steps and bool(np.any(steps["reward"][-1])))
    said = "last steps whose action and reward, which RLDS leaves undefined, are not 0: they are left out"
    notes.add(file, said, int(undefined))
    columns = seen | {ACTIONS: steps["action"][:-1], REWARDS: rewards}
    for name, array in columns.items():
        check_finite(name, array, where)
    return Episode.from_columns(
        columns | {TERMINATIONS: last & ended, TRUNCATIONS: last & (not ended)} | _extras(steps, length, result)
    )


def _extras(steps: Mapping[str, Array], length: int, result: Import) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, array in steps.items():
        if name.partition("/")[0] in _STANDARD:
            continue
        rows = as_numbers(array)
        if rows is None:
            result.notes.add(result.origin, f"{name} of steps is left out: it is no number", 1)
        else:
            found[name] = rows
    if "discount" in steps:
        plain = np.asarray(steps["discount"])[:length]
        if not np.isin(plain, [0, 1]).all():
            found["discount"] = plain
    return extra_columns(found, result.notes, result.origin)
