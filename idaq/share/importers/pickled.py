"""Pickles of other people, read without running anything of theirs: arrays and plain values, all else as inert records.

A pickle names functions and classes to call. Here only those with which NumPy makes arrays are called; anything else
becomes a Record, which keeps what the pickle says of it. So a replay buffer opens where its library is not installed.
The door to it is `--allow-pickle`, as to any pickle: an array of the user's may still be as large as it claims.
"""

import pickle  # noqa: TID251  the one door: behind --allow-pickle, and it calls nothing of theirs
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from idaq.core.errors import CorruptDatasetError, DatasetError
from idaq.core.types import Array
from idaq.share.importers.members import refuse_pointer


class Record:
    """An object of a class that is not made: its name, what it was made of, and its state."""

    arguments: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *arguments: Any, **_named: Any) -> "Record":
        """Pickle may leave __init__ out, and calls a class as it calls a function."""
        made = super().__new__(cls)
        made.arguments, made.state = arguments, {}
        return made

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        """Takes whatever the class of the pickle took."""

    def __setstate__(self, state: Any) -> None:
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.state |= {str(name): value for name, value in part.items()}

    def append(self, _value: Any) -> None:
        """A list's items are not kept."""

    def extend(self, _values: Any) -> None:
        """Nor are they here."""

    def __setitem__(self, key: Any, value: Any) -> None:
        self.state[str(key)] = value


class _Reader(pickle.Unpickler):
    """Calls nothing but what makes arrays, text and plain containers."""

    def find_class(self, module: str, name: str, /) -> Any:
        known = _KNOWN.get((module.replace("numpy._core", "numpy.core"), name))
        return known or type(name.rpartition(".")[2], (Record,), {"__module__": module})

    def persistent_load(self, pid: Any, /) -> Any:
        return Record(pid)


def _empty(kind: Any, *_arguments: Any) -> Any:
    """An array, which the pickle then fills; of no other class."""
    return np.ndarray((0,), "b") if kind is np.ndarray else Record(kind)


def _from_buffer(buffer: Any, kind: Any, shape: Any, order: str, *axes: Any) -> Any:
    array = np.frombuffer(buffer, kind)
    return array.reshape(shape).transpose(axes[0]) if order == "K" and axes else array.reshape(shape, order=order)  # type: ignore[call-overload]


def _scalar(kind: Any, raw: Any = b"") -> Any:
    return Record(kind, raw) if kind.hasobject else np.frombuffer(raw, kind, 1)[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes as Python 2 pickles them; no other codec is looked up."""
    if encoding != "latin1":
        raise ValueError(f"text in {encoding}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encoded,
}


def read_pickle(path: Path, allow_pickle: bool) -> Any:
    """What a pickle holds. Raises DatasetError without `allow_pickle`, CorruptDatasetError for what is none."""
    refuse_pointer(path)
    refuse_unless(allow_pickle, path)
    with path.open("rb") as file:
        return _load(file, path)


def read_objects(path: Path, allow_pickle: bool) -> Array:
    """An .npy file; of objects only with `allow_pickle`. Raises UsageError or DatasetError as `read_pickle`."""
    with path.open("rb") as file:
        try:
            if file.read(6) != b"\x93NUMPY":
                raise ValueError("it does not begin as one")
            file.seek(0)
            version = np.lib.format.read_magic(file)
            read: Any = (
                np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            )
            shape, _, kind = read(file)
        except Exception as error:  # what is damaged leads NumPy to errors of any kind
            raise CorruptDatasetError(f"{path} is no NumPy array: {error}") from None
        if not kind.hasobject:
            return _numbers(path)
        refuse_unless(allow_pickle, path)
        found = _load(file, path)
    if not isinstance(found, np.ndarray) or found.size != np.prod(shape, dtype=object):
        raise CorruptDatasetError(f"{path} is no NumPy array: its pickle holds none of its shape")
    return found.reshape(shape)


def _numbers(path: Path) -> Array:
    try:
        return np.load(path, allow_pickle=False)
    except Exception as error:  # what is damaged leads NumPy to errors of any kind
        raise CorruptDatasetError(f"{path} is no NumPy array: {error}") from None


def refuse_unless(allow_pickle: bool, path: Path) -> None:
    """Raise DatasetError for a pickle that the user has not allowed."""
    if not allow_pickle:
        raise DatasetError(
            f"{path} is a pickle, which can run any code when it is opened",
            hint="--allow-pickle, if you trust whoever made it",
        )


def _load(file: BinaryIO, path: Path) -> Any:
    try:
        return _Reader(file, encoding="latin1").load()
    except Exception as error:  # what is damaged leads pickle and NumPy to errors of any kind
        raise CorruptDatasetError(f"{path} is no pickle of arrays: {error}"[:300]) from None


def said(value: Any) -> str:
    """A value in words: its class, and what it holds."""
    if isinstance(value, Record):
        inner = ", ".join(
            f"{name} ({said(held)})" if isinstance(held, np.ndarray) else name
            for name, held in list(value.state.items())[:12]
        )
        return f"a {type(value).__module__}.{type(value).__name__} of {inner or 'nothing'}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    if isinstance(value, dict):
        return (
            f"a dict of {', '.join(f'{name} ({said(held)})' for name, held in list(value.items())[:12]) or 'nothing'}"[
                :600
            ]
        )
    if isinstance(value, list | tuple):
        return f"{len(value)} entries" + (f", the first {said(value[0])}" if value else "")
    return type(value).__name__
