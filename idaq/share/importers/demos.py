"""HDF5 files with a group for each demonstration: robomimic's, and those of the same shape (LIBERO, ManiSkill, yours).

`data/demo_k/{obs/*, actions, rewards, dones, next_obs/*}`, or the groups at the root and under any name that ends in a
number. Observations of T rows, with `next_obs` or without; or of T + 1 rows, as ManiSkill's `traj_k` have. A demo is
an episode: what its flags say before its last step ends nothing. Other arrays of T or T + 1 rows are extra columns.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from idaq.core.checks import as_column, as_flags, check_finite, check_returns
from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.notes import Notes
from idaq.core.types import ACTIONS, OBSERVATIONS, REWARDS, TERMINATIONS, TRUNCATIONS, Array, Episode
from idaq.format.importing import Import, ImportedEpisode, ImportedTask, slug, unknown_rewards
from idaq.format.outside_columns import extra_columns
from idaq.share.importers.described import contents, name_summary, refusal
from idaq.share.importers.members import ALIASES, Members, read_hdf5
from idaq.share.rows import same_rows

_GROUP = re.compile(r"[A-Za-z]+_?(\d{1,9})")
_DATA, _MASK = "data", "mask"
_STANDARD = {alias for aliases in ALIASES.values() for alias in aliases}


def is_demos(path: Path) -> bool:
    """Whether an HDF5 file has a group for each demonstration. Opens the file, reads no data."""
    try:
        with h5py.File(path, "r") as file:
            inner: Any = file[_DATA] if isinstance(file.get(_DATA, getclass=True), type) and _DATA in file else file
            return not {OBSERVATIONS, ACTIONS} <= set(file) and any(_GROUP.fullmatch(name) for name in inner)
    except Exception:  # what is damaged leads h5py to errors of any kind
        return False


def read_demos(path: Path) -> Import:
    """One task, an episode a demonstration; filter keys that divide all of them are behaviours.

    Raises CorruptDatasetError for what HDF5 cannot read, DatasetError for another layout.
    """
    members = read_hdf5(path)
    data = members.below(_DATA) if members.holds(_DATA) else members
    groups = data.groups()
    demos = sorted((name for name in groups if _GROUP.fullmatch(name)), key=_number)
    if not demos:
        raise refusal(members, "a group for each demonstration")
    result = Import(tasks=[], origin=path.name)
    behaviours = _behaviours(members, demos, result)
    entries: list[ImportedEpisode] = []
    rewarded = [groups[name].name_of(REWARDS) is not None for name in demos]
    if not all(rewarded):
        result.notes.add(path.name, "demos with rewards beside others without: none are kept", sum(rewarded))
        unknown_rewards(result)
    for name in demos:
        demo = _Demo(groups[name], f"{path}, {name}", result.notes, members)
        columns = demo.columns(all(rewarded))
        if columns is not None:
            entry = ImportedEpisode(episode=Episode.from_columns(columns), behaviour=behaviours.get(name, "unknown"))
            entries.append(entry)
    _tell(members, data, demos, result)
    result.tasks.append(ImportedTask(name=slug(path.stem), episodes=entries))
    return result


def _number(name: str) -> tuple[str, int]:
    match = _GROUP.fullmatch(name)
    digits = match[1] if match else "0"
    return name.removesuffix(digits), int(digits)


def _behaviours(members: Members, demos: Sequence[str], result: Import) -> dict[str, str]:
    """robomimic's filter keys: those that hold each demo once are the behaviours; others are told."""
    masks = {
        name.removeprefix(f"{_MASK}/"): set(listed)
        for name, listed in members.texts.items()
        if name.startswith(f"{_MASK}/")
    }
    largest = {name: listed for name, listed in masks.items() if not any(listed < other for other in masks.values())}
    makers = {name: listed for name, listed in largest.items() if not re.search("train|valid|test|percent", name)}
    divides = sorted(name for listed in makers.values() for name in listed) == sorted(demos)
    used = {slug(name): listed for name, listed in makers.items()} if divides and len(makers) > 1 else {}
    for name in masks:
        if slug(name) not in used:
            said = f"filter key {name} of {len(masks[name])} demos is left out: splits here are of tasks"
            result.notes.add(members.path.name, said)
    return {demo: maker for maker, listed in used.items() for demo in listed}


class _Demo:
    """One demonstration as columns."""

    def __init__(self, members: Members, where: str, notes: Notes, whole: Members) -> None:
        self.members, self.where, self.notes, self.whole, self.file = members, where, notes, whole, whole.path.name

    def columns(self, rewarded: bool) -> dict[str, Array] | None:
        """All columns; None where no transition is left. Raises DatasetError for what is missing or does not fit."""
        members, names = self.members, {what: name for what in ALIASES if (name := self.members.name_of(what))}
        missing = [what for what in (OBSERVATIONS, ACTIONS) if what not in names]
        if missing:
            demo = self.where.rpartition(", ")[2]
            raise refusal(self.whole, f"{' and '.join(missing)} in {demo}, which holds {contents(members)}")
        actions = members.array(names[ACTIONS])
        flags = self._flags(names, len(actions))
        done = flags.get("terminated", flags.get("dones"))
        done = done is not None and bool(done[-1:].all())
        observations, length = self._observations(names, len(actions), done)
        if length < 1:
            said = "of one step left out whole: it had no next observation" if len(actions) else "of no step left out"
            self.notes.add(self.file, f"demos {said}", 1)
            return None
        terminated, truncated, extras = self._ends(names, flags, done, length)
        rewards = (
            as_column(REWARDS, members.array(names[REWARDS]), self.where)
            if rewarded
            else np.zeros(len(actions), np.float32)
        )
        if len(rewards) != len(actions):
            raise DatasetError(f"{self.where}: {len(rewards)} rewards for {len(actions)} actions")
        check_returns(rewards, self.where)
        found = observations | {ACTIONS: actions[:length], REWARDS: rewards[:length]}
        for name, array in found.items():
            check_finite(name, array, self.where)
        return (
            found
            | {TERMINATIONS: terminated, TRUNCATIONS: truncated}
            | self._extras(names, len(actions), length)
            | extras
        )

    def _observations(self, names: Mapping[str, str], steps: int, done: bool) -> tuple[dict[str, Array], int]:
        """(length + 1, ...) each, and the length: all steps where s_T is there or the task is done, else one less."""
        seen = self.members.leaves(names[OBSERVATIONS], OBSERVATIONS)
        sizes = {len(np.atleast_1d(rows)) for rows in seen.values()}
        if sizes == {steps + 1}:
            return seen, steps
        if sizes != {steps}:
            shapes = {name: rows.shape for name, rows in seen.items()}
            raise DatasetError(f"{self.where}: {steps} actions and observations of {shapes}"[:500])
        if "next_observations" not in names and done:
            self.notes.add(self.file, "terminal steps have no next observation; it repeats the last one", 1)
            return {name: np.concatenate([rows, rows[-1:]]) for name, rows in seen.items()}, steps
        if "next_observations" not in names:
            self.notes.add(self.file, "last steps left out: the file does not hold their next observation", 1)
            return seen, steps - 1
        following = self.members.leaves(names["next_observations"], OBSERVATIONS)
        if following.keys() != seen.keys() or any(following[name].shape != rows.shape for name, rows in seen.items()):
            raise DatasetError(f"{self.where}: next observations are not of the names and shapes of its observations")
        broken = [name for name, rows in seen.items() if not same_rows(following[name][:-1], rows[1:]).all()]
        if broken:
            raise CorruptDatasetError(f"{self.where}: next {broken[0]} are not those of the next step")
        return {name: np.concatenate([rows, following[name][-1:]]) for name, rows in seen.items()}, steps

    def _flags(self, names: Mapping[str, str], steps: int) -> dict[str, Array]:
        """(T,) each. Raises DatasetError for what is none."""
        flags: dict[str, Array] = {}
        for what in ("terminated", "truncated", "dones"):
            if what in names:
                flags[what] = as_flags(names[what], self.members.array(names[what]), self.where)
                if len(flags[what]) != steps:
                    raise DatasetError(f"{self.where}: {len(flags[what])} {names[what]} for {steps} actions")
        return flags

    def _ends(
        self, names: Mapping[str, str], flags: Mapping[str, Array], done: bool, length: int
    ) -> tuple[Array, Array, dict[str, Array]]:
        """Terminal and time-out of the last step; flags that say more than that are kept as extra columns."""
        last, kept = np.arange(length) == length - 1, dict[str, Array]()
        for what, flag in flags.items():
            if flag[:-1].any():
                said = f"demos with {names[what]} before their last step, which end nothing: kept as a column"
                self.notes.add(self.file, said, 1)
                kept[f"infos/{names[what]}"] = flag[:length]
        if done and "terminated" not in flags:
            said = "demos whose last step is done are taken as terminated: time-outs are not distinguished"
            self.notes.add(self.file, said, 1)
        if not done and "truncated" not in flags:
            self.notes.add(self.file, "ends of demos that the file does not flag are written as time-outs", 1)
        both = done and "truncated" in flags and bool(flags["truncated"][-1])
        return last & done, last & (not done or both), kept

    def _extras(self, names: Mapping[str, str], steps: int, length: int) -> dict[str, Array]:
        """Other arrays of T or T + 1 rows."""
        found: dict[str, Array] = {}
        for name, array in self.members.arrays.items():
            if name.partition("/")[0] in _STANDARD or not array.ndim or len(array) not in (steps, steps + 1):
                continue
            found[name] = array[: length + (len(array) == steps + 1)]
        unread = [name for name in self.members.names if name not in found and name.partition("/")[0] not in _STANDARD]
        self.notes.add(self.file, f"members of demos that are not read, such as {name_summary(unread)}", len(unread))
        return extra_columns(found, self.notes, self.file)


def _tell(members: Members, data: Members, demos: Sequence[str], result: Import) -> None:
    """What the file says of its environment and its demos."""
    where, about = members.path.name, dict(members.attributes.get(_DATA, members.attributes.get("", {})))
    environment = about.pop("env_args", about.pop("env_name", None))
    if environment is not None:
        result.notes.add(
            where, f"its environment is not written, no id of Gymnasium being stated: {_name(environment)}"[:300]
        )
    for name, value in list(about.items())[:10]:
        result.notes.add(where, f"states {name} {value}, which is told here alone"[:300])
    read = {_DATA if data is not members else demo for demo in demos} | {_MASK}
    ignored = [name for name in members.names if name.partition("/")[0] not in read]
    result.notes.add(where, f"members that are not read: {name_summary(ignored)}", len(ignored))
    stated = {demo: data.attributes.get(demo, {}).get("num_samples") for demo in demos}
    wrong = [demo for demo, count in stated.items() if count is not None and int(count) != _steps(data, demo)]
    result.notes.add(where, f"demos that state another number of steps than they have, such as {wrong[:1]}", len(wrong))


def _steps(data: Members, demo: str) -> int:
    return next(
        (len(data.arrays[f"{demo}/{name}"]) for name in ALIASES[ACTIONS] if f"{demo}/{name}" in data.arrays), -1
    )


def _name(environment: object) -> str:
    try:
        stated = json.loads(str(environment))
        return str(stated["env_name"]) if isinstance(stated, dict) and "env_name" in stated else str(environment)
    except ValueError:
        return str(environment)
