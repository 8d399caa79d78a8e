"""Every error idaq raises on purpose.

IdaqError
├── UsageError                  the request cannot be understood (exit code 2)
│   ├── ConfigError             a config, recipe or --set value is wrong
│   ├── UnknownNameError        no such family, strategy, task, ...: "did you mean"
│   ├── PluginError             code from outside cannot be imported, is not what was expected, or is not trusted
│   └── MissingExtraError       an optional library is not installed: the hint is what pip installs
├── DatasetError                a dataset cannot be used (exit code 1)
│   ├── DatasetNotFoundError
│   ├── DatasetExistsError
│   ├── DatasetLockedError      another process is making or removing it
│   ├── DatasetReplacedError    it was deleted or replaced while it was read
│   ├── FormatVersionError      written by a newer or unknown format
│   └── CorruptDatasetError     bytes, counts or values disagree with the manifest
├── CollectError                a collection cannot go on
│   └── PolicyError             weights of a behaviour policy are missing, damaged, or not those asked for
├── ShareError                  a hub cannot be used, or what it sends is not what it states
│   └── TransferError           a connection broke or stalled: trying again may help
├── DeployError                 a policy cannot leave, or a policy folder cannot be used
├── DiskError                   the system cannot read or write a file: full, read-only, no permission, ...
└── RunError                    a run directory or a training run cannot be used
    ├── CheckpointError
    └── NonFiniteError          NaN or infinity in a loss or a weight

Each says what is wrong and where; `hint` is the command or change that fixes it.
"""

import difflib
from collections.abc import Iterable


class IdaqError(Exception):
    """Base of all errors; `str()` gives the message, then a line for each detail, then the hint."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)
        """what there is several of, a line each"""

    def __str__(self) -> str:
        fix = [] if self.hint is None else [f"  fix: {self.hint}"]
        return "\n".join([self.message, *(f"  - {detail}" for detail in self.details), *fix])

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.hint, self.details)


def _rebuild(kind: type[IdaqError], message: str, hint: str | None, details: tuple[str, ...]) -> IdaqError:
    return kind(message, hint=hint, details=details)


class UsageError(IdaqError):
    """The request cannot be understood or cannot be fulfilled as it stands."""

    exit_code = 2


class ConfigError(UsageError):
    """A config, a recipe or a --set value is wrong."""


class UnknownNameError(UsageError):
    """There is no such family, strategy, task, ...; the hint gives the nearest names."""


class PluginError(UsageError):
    """Code from outside cannot be imported, is not what was expected, or is not trusted."""


class MissingExtraError(UsageError):
    """An optional library is not installed; the hint is what pip installs."""


class DatasetError(IdaqError):
    """A dataset cannot be used."""


class DatasetNotFoundError(DatasetError):
    """There is no such dataset."""


class DatasetExistsError(DatasetError):
    """The id or path is taken: nothing is overwritten."""


class DatasetLockedError(DatasetError):
    """Another process writes or removes the dataset."""


class DatasetReplacedError(DatasetError):
    """The dataset was deleted or replaced while it was read."""


class FormatVersionError(DatasetError):
    """The dataset is written in a version of the format that this idaq does not know."""


class CorruptDatasetError(DatasetError):
    """Bytes, counts or values disagree with what the documents state."""


class CollectError(IdaqError):
    """A collection cannot continue."""


class PolicyError(CollectError):
    """Weights of a behaviour policy are missing, damaged, or not those asked for."""


class ShareError(IdaqError):
    """A hub cannot be used, or what it sends is not what it states."""


class TransferError(ShareError):
    """A connection broke or stalled: trying again may help."""


class DeployError(IdaqError):
    """A policy cannot leave, or a policy folder cannot be used."""


class DiskError(IdaqError):
    """The system cannot read or write a file: full, read-only, no permission, ..."""


class RunError(IdaqError):
    """A run directory or a training run cannot be used."""


class CheckpointError(RunError):
    """A checkpoint is missing, damaged, or of another run."""


class NonFiniteError(RunError):
    """NaN or infinity in a loss or a weight."""


_NEAREST = 5


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not in `known`, with the nearest five as a hint."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=_NEAREST, cutoff=0.5)
    if near:
        hint = f"did you mean {' or '.join(map(repr, near))}?"
    elif len(names) <= _NEAREST:
        hint = f"one of: {', '.join(names) or 'none'}"
    else:
        nearest = difflib.get_close_matches(name, names, n=_NEAREST, cutoff=0.0)
        hint = f"one of {len(names)}, for example {', '.join(nearest)}"
    return UnknownNameError(f"unknown {kind} {name!r}", hint=hint)
