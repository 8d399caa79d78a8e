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
│   ├── DatasetReplacedError    it was deleted or made anew while it was read
│   ├── FormatVersionError      written by a newer or unknown format
│   └── CorruptDatasetError     bytes, counts or values disagree with the manifest
├── CollectError                a collection cannot go on
│   └── PolicyError             weights of a behaviour policy are missing, damaged, or not those asked for
├── ShareError                  a hub cannot be used, or what it sends is not what it states
│   └── TransferError           a connection broke or stalled: trying again may help
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
    exit_code = 2


class ConfigError(UsageError):
    pass


class UnknownNameError(UsageError):
    pass


class PluginError(UsageError):
    pass


class MissingExtraError(UsageError):
    pass


class DatasetError(IdaqError):
    pass


class DatasetNotFoundError(DatasetError):
    pass


class DatasetExistsError(DatasetError):
    pass


class DatasetLockedError(DatasetError):
    pass


class DatasetReplacedError(DatasetError):
    pass


class FormatVersionError(DatasetError):
    pass


class CorruptDatasetError(DatasetError):
    pass


class CollectError(IdaqError):
    pass


class PolicyError(CollectError):
    pass


class ShareError(IdaqError):
    pass


class TransferError(ShareError):
    pass


class DiskError(IdaqError):
    pass


class RunError(IdaqError):
    pass


class CheckpointError(RunError):
    pass


class NonFiniteError(RunError):
    pass


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
