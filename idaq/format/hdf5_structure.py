"""Proves, from the bytes alone, that an HDF5 file is what the HDF5 library would find to be as the format says.

The library takes milliseconds an episode to say so, and hostile bytes can hang it. Our writer's files use a small part
of HDF5: superblock version 2, object headers of version 1, groups as symbol tables, datasets that are contiguous or, in
`hdf5_chunks`, chunked. This module reads that part, with every count and address bounded by the file, and compares each
message of each object header with the one that must stand there. What it does not know it does not judge: it raises
Unrecognised, or calls the episode not proven, and the library is asked (`hdf5_walk`). Nothing that the library would
read otherwise may be called proven.

Sections (IV.A.2.b) are those of the HDF5 File Format Specification, version 3.0. All numbers are little-endian;
an address is a position in the file.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeVar

import h5py
import numpy as np

from idaq.format.hdf5_chunks import FILTERS, NO_FILL_VALUE, chunked_layout, chunks_of, is_deflate, tree_of

Content = mmap.mmap | bytes
_Messages = list[tuple[int, bytes]]
"""the type and the body of each message of an object header; padding and continuations are no messages of it"""

# II.A: signature, version, sizes of addresses and lengths, flags; base, extension, end of file, root group; checksum
_SUPERBLOCK = struct.Struct("<8s4B4QI")
_SIGNATURE, _UNDEFINED = b"\x89HDF\r\n\x1a\n", 2**64 - 1
# IV.A.1.a: version, number of messages, references, size of what follows; then messages: type, size, flags
_HEADER, _MESSAGE = struct.Struct("<BxHIIxxxx"), struct.Struct("<HHBxxx")
_NIL, _DATASPACE, _DATATYPE, _FILL, _LAYOUT, _ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE = 0, 1, 3, 5, 8, 12, 16, 17
_FILE_SPACE_INFO, _CONSTANT = 23, 1
_PAIR = struct.Struct("<QQ")
_TREE = struct.Struct("<4sBBHQQ")  # III.A.1: signature, type, level, entries, left and right sibling
_LEAF, _ENTRY = struct.Struct("<4sBBH"), struct.Struct("<QQIIQQ")  # III.B: signature, version, -, entries; III.C
_HEAP = struct.Struct("<4sBxxxQQQ")  # III.D: signature, version, size of the data, first free block, where the data is
_COLLECTION, _OBJECT = struct.Struct("<4sBxxxQ"), struct.Struct("<HHxxxxQ")  # III.E: a global heap
_NO_FREE_BLOCK, _CACHED_GROUP = 1, 1
# The library's default sizes of nodes; the others bound what sharing one long structure among all episodes can cost.
_MOST_CHILDREN, _MOST_SYMBOLS, _DEEPEST = 32, 8, 8
_MOST_COLLECTIONS = 256
"""kept at once: episodes that follow each other share them"""
_MOST_CHUNKS, _MOST_MESSAGES, _MOST_FREE_BLOCKS, _LONGEST_NAME, _LARGEST_COLLECTION = 8, 64, 64, 256, 2**16
# The library reads nodes whole, however few of their entries are in use, and no smaller collection.
_TREE_BYTES = _TREE.size + 8 * (2 * _MOST_CHILDREN + 1)
_LEAF_BYTES, _SMALLEST_COLLECTION = _LEAF.size + _MOST_SYMBOLS * _ENTRY.size, 4096
# IV.A.2.x: version 1; no free space is tracked (3), threshold 1, pages of 4096, no file space section, unknown end
_NOTHING_FREE = struct.pack("<BBBQQHQ3x", 1, 3, 0, 1, 4096, 0, _UNDEFINED)
# IV.A.2.f: version 2, allocated late, written if set, the default of no bytes
_NO_FILL_VALUE = struct.pack("<BBBBI", 2, 2, 2, 1, 0)
# IV.A.2.d: class 9 (variable length) of version 1, null-terminated UTF-8 text, 16 bytes, of unsigned bytes
_TEXT = bytes([0x19, 1, 1, 0, 16, 0, 0, 0, 0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0])


class Unrecognised(Exception):
    """Bytes that are no part of HDF5 that this module knows."""


@dataclass(frozen=True, kw_only=True)
class ExpectedColumn:
    """A dataset: NumPy dtype, shape, and where it lies in the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int | None
    """first byte, where it is contiguous"""
    chunk_rows: int | None
    """most rows of a chunk, where it is compressed"""
    chunks: tuple[tuple[int, int], ...]
    """first byte of each chunk, and its size"""

    @property
    def chunk_shape(self) -> tuple[int, ...] | None:
        """Of a compressed one: its chunks are no longer than itself."""
        return None if self.chunk_rows is None else (min(self.chunk_rows, self.shape[0]), *self.shape[1:])


Named = TypeVar("Named")


def within(columns: Mapping[str, Named]) -> tuple[dict[str, Named], dict[str, dict[str, Named]]]:
    """The columns that a group itself holds, and those of each group in it, by their names there."""
    here, below = dict[str, Named](), dict[str, dict[str, Named]]()
    for name, column in columns.items():
        first, slash, rest = name.partition("/")
        if slash:
            below.setdefault(first, {})[rest] = column
        else:
            here[first] = column
    return here, below


@dataclass(frozen=True, kw_only=True)
class ExpectedEpisode:
    """All that an episode's group holds."""

    attributes: Mapping[str, int | str | None]
    """int64 and text; `seed` is uint64, and not there where it is unknown; None for what no value can be"""
    columns: Mapping[str, ExpectedColumn]


class Structure:
    """The groups of one file. `content` is all of it."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._collections: dict[int, dict[int, bytes]] = {}
        self._owners: dict[int, int] = {}
        self.is_shared = False
        """one place was met as part of two things: whether the library reads one depends on what it read before"""

    def root(self, most: int) -> dict[str, int]:
        """Names of the root's members, up to `most`, and where their object headers are. Raises Unrecognised."""
        try:
            return self._members(self._only_message(self._root_address(), _SYMBOL_TABLE), most)
        except (struct.error, ValueError, OverflowError) as error:
            raise Unrecognised(str(error)) from None

    def is_proven(self, address: int, expected: ExpectedEpisode) -> bool:
        """Whether the object header at `address` is that of a group with these attributes and columns, nothing else."""
        try:
            return self._is_proven(address, expected)
        except (Unrecognised, struct.error, ValueError, KeyError, OverflowError):
            return False

    def _is_proven(self, address: int, expected: ExpectedEpisode) -> bool:
        attributes: list[bytes] = []
        tables: list[bytes] = []
        for kind, body in self._messages(address):
            if kind not in (_ATTRIBUTE, _SYMBOL_TABLE):
                return False
            (attributes if kind == _ATTRIBUTE else tables).append(body)
        for name, value in expected.attributes.items():
            attributes.remove(_integer(name, value) if isinstance(value, int) else self._text(name, value, attributes))
        if attributes:
            return False
        (table,) = tables
        return self._are_columns(table, expected.columns)

    def _are_columns(self, table: bytes, columns: Mapping[str, ExpectedColumn]) -> bool:
        """Whether the group of this symbol table holds these columns; those of `a/b` lie in a group `a` without
        attributes."""
        here, below = within(columns)
        members = self._members(table, len(here) + len(below))
        return (
            set(members) == {*here, *below}
            and all(self._is_column(members[name], column) for name, column in here.items())
            and all(
                self._are_columns(self._only_message(members[name], _SYMBOL_TABLE), inner)
                for name, inner in below.items()
            )
        )

    def _is_column(self, address: int, column: ExpectedColumn) -> bool:
        if column.chunk_shape is not None:
            return self._is_compressed(address, column, (*column.chunk_shape, np.dtype(column.dtype).itemsize))
        return sorted(self._messages(address)) == [
            (_DATASPACE, _dataspace(column.shape)),
            (_DATATYPE, _datatype(column.dtype)),
            (_FILL, _NO_FILL_VALUE),
            # IV.A.2.i: version 3, class 1 (contiguous), address, size
            (_LAYOUT, struct.pack("<BBQQ6x", 3, 1, column.offset, _size(column.dtype, column.shape))),
        ]

    def _is_compressed(self, address: int, column: ExpectedColumn, sizes: tuple[int, ...]) -> bool:
        """Whether it is chunked and packed by deflate, and its tree leads to these chunks and no others."""
        dataspace, datatype, fill, layout, filters = sorted(self._messages(address))
        tree = tree_of(layout[1])
        begins = ((row, *(0 for _ in column.shape)) for row in range(0, column.shape[0], sizes[0]))
        expected = [(begin, *place) for begin, place in zip(begins, column.chunks, strict=True)]
        return (
            dataspace == (_DATASPACE, _dataspace(column.shape))
            and datatype == (_DATATYPE, _datatype(column.dtype))
            and fill == (_FILL, NO_FILL_VALUE)
            and layout == (_LAYOUT, chunked_layout(tree, sizes))
            and filters[0] == FILTERS
            and is_deflate(filters[1])
            and list(islice(chunks_of(self._content, tree, sizes), len(expected) + 1)) == expected
        )

    def _root_address(self) -> int:
        signature, version, offsets, lengths, flags, base, extension, end, root, _ = _SUPERBLOCK.unpack_from(
            self._content
        )
        if (signature, version, offsets, lengths, flags, base) != (_SIGNATURE, 2, 8, 8, 0, 0):
            raise Unrecognised("another superblock")
        if end != len(self._content):
            raise Unrecognised("the file ends elsewhere than it says")
        if extension != _UNDEFINED and self._only_message(extension, _FILE_SPACE_INFO) != _NOTHING_FREE:
            raise Unrecognised("another superblock extension")
        return root

    def _only_message(self, address: int, wanted: int) -> bytes:
        ((kind, body),) = self._messages(address)
        if kind != wanted:
            raise Unrecognised(f"a message of type {kind}, not {wanted}")
        return body

    def _messages(self, address: int) -> _Messages:
        """IV.A.1.a: the messages of an object header of version 1, through its continuations."""
        content, found, seen = self._content, [], 0
        version, count, references, size = _HEADER.unpack_from(content, address)
        if version != 1 or references == 0 or count > _MOST_MESSAGES:
            raise Unrecognised("another object header")
        chunks = [(address + _HEADER.size, size)]
        for start, size in chunks:
            end = start + size
            if size < _MESSAGE.size or end > len(content) or len(chunks) > _MOST_CHUNKS:
                raise Unrecognised("an object header that leaves the file, or a part of it without a message")
            while start < end:
                kind, length, flags = _MESSAGE.unpack_from(content, start)
                body = start + _MESSAGE.size
                start = body + length
                seen += 1
                if start > end or length % 8 or seen > count:
                    raise Unrecognised("a message that leaves its object header")
                if flags & ~_CONSTANT and kind != _FILE_SPACE_INFO:
                    raise Unrecognised("a shared message")
                if kind == _CONTINUATION:
                    chunks.append(_PAIR.unpack(content[body : body + min(length, _PAIR.size)]))
                    self._claim(chunks[-1][0], body)
                elif kind != _NIL:
                    found.append((kind, content[body:start]))
        if seen != count:
            raise Unrecognised("an object header of fewer messages than it says")
        return found

    def _members(self, table: bytes, most: int) -> dict[str, int]:
        """IV.A.2.r: the members of a group. Names rise strictly, so that the library finds each of them by its name."""
        tree, heap = _PAIR.unpack(table)
        members: dict[str, int] = {}
        last = b""
        for name, address in self._symbols(tree, self._heap(heap)):
            if name <= last or len(members) == most:
                raise Unrecognised("names out of order, or too many")
            members[name.decode()] = address
            last = name
        return members

    def _heap(self, address: int) -> "_Heap":
        """III.D: a local heap, whose free blocks the library follows when it opens the heap."""
        signature, version, size, free, start = _HEAP.unpack_from(self._content, address)
        if signature != b"HEAP" or version != 0 or start + size > len(self._content):
            raise Unrecognised("another heap")
        if start != address + _HEAP.size:
            empty_name = self._content[start : start + 1] == b"\0"  # as the library has it; all else begins otherwise
            self._claim(start, address, is_alone=empty_name)
        last, blocks = -1, 0
        while free != _NO_FREE_BLOCK:
            if free <= last or free % 8 or free + _PAIR.size > size or blocks == _MOST_FREE_BLOCKS:
                raise Unrecognised("free blocks out of order, or too many")
            following, length = _PAIR.unpack_from(self._content, start + free)
            if length < _PAIR.size or free + length > size:
                raise Unrecognised("a free block that leaves its heap")
            free, last, blocks = following, free, blocks + 1
        return _Heap(self._content, start, start + size)

    def _claim(self, place: int, owner: int, is_alone: bool = True) -> None:
        """Claim what the library caches by its place: a header's continuation, or names that lie apart from their heap.

        It objects to finding something else there, or the like of another owner.
        """
        if not is_alone or self._owners.setdefault(place, owner) != owner:
            self.is_shared = True
            raise Unrecognised("two things in one place")

    def _symbols(self, tree: int, heap: "_Heap", depth: int | None = None) -> Iterator[tuple[bytes, int]]:
        """III.A.1: the entries of a B-tree's leaves, each between the two keys that stand beside its leaf."""
        signature, kind, level, count, *_ = _TREE.unpack_from(self._content, tree)
        if signature != b"TREE" or kind != 0 or level > _DEEPEST or depth not in (None, level):
            raise Unrecognised("another B-tree")
        if tree + _TREE_BYTES > len(self._content):
            raise Unrecognised("a B-tree node that leaves the file")
        if not 0 < count <= _MOST_CHILDREN:
            raise Unrecognised("a B-tree node of no or too many children")
        numbers = struct.unpack_from(f"<{2 * count + 1}Q", self._content, tree + _TREE.size)
        keys = [heap.name(key) for key in numbers[::2]]
        for child, low, high in zip(numbers[1::2], keys, keys[1:], strict=False):
            below = self._symbols(child, heap, level - 1) if level else self._leaf(child, heap)
            for name, address in below:
                if not low < name <= high:
                    raise Unrecognised("a name outside its keys")
                yield name, address

    def _leaf(self, address: int, heap: "_Heap") -> Iterator[tuple[bytes, int]]:
        """III.B and III.C: the entries of one symbol table node: hard links only."""
        signature, version, _, count = _LEAF.unpack_from(self._content, address)
        if signature != b"SNOD" or version != 1 or not 0 < count <= _MOST_SYMBOLS:
            raise Unrecognised("another symbol table node")
        if address + _LEAF_BYTES > len(self._content):
            raise Unrecognised("a symbol table node that leaves the file")
        for number in range(count):
            place = address + _LEAF.size + number * _ENTRY.size
            name, header, cached, _, tree, names = _ENTRY.unpack_from(self._content, place)
            if cached > _CACHED_GROUP:
                raise Unrecognised("a symbolic link")
            if cached and (_SYMBOL_TABLE, _PAIR.pack(tree, names)) not in self._messages(header):
                raise Unrecognised("an entry that disagrees with its group")
            yield heap.name(name), header

    def _text(self, name: str, value: str | None, attributes: list[bytes]) -> bytes:
        """The attribute that is this variable-length string: a length, a global heap, a number there."""
        start = _attribute(name, _TEXT)
        for body in attributes:
            if value is not None and len(body) == len(start) + 16 and body.startswith(start):
                length, heap, number = struct.unpack("<IQI", body[len(start) :])
                if length == len(value.encode()) and self._global_heap(heap).get(number) == value.encode():
                    return body
        raise Unrecognised(f"no attribute {name} of this text")

    def _global_heap(self, address: int) -> dict[int, bytes]:
        """III.E: the objects of a global heap collection, by number; 0 is free space."""
        if address not in self._collections:
            signature, version, size = _COLLECTION.unpack_from(self._content, address)
            start, end = address + _COLLECTION.size, address + size
            if signature != b"GCOL" or version != 1 or end > len(self._content):
                raise Unrecognised("another global heap")
            if not _SMALLEST_COLLECTION <= size <= _LARGEST_COLLECTION:
                raise Unrecognised("a global heap of another size")
            objects: dict[int, bytes] = {}
            while end - start >= _OBJECT.size:
                number, _, length = _OBJECT.unpack_from(self._content, start)
                if number == 0:
                    if start + length != end:
                        raise Unrecognised("free space that does not end with its global heap")
                    break
                data = start + _OBJECT.size
                start = data + length + -length % 8
                if start > end or number in objects:
                    raise Unrecognised("a global heap out of order")
                objects[number] = self._content[data : data + length]
            if len(self._collections) == _MOST_COLLECTIONS:
                self._collections.clear()
            self._collections[address] = objects
        return self._collections[address]


@dataclass(frozen=True)
class _Heap:
    """III.D.1: null-terminated names, from `start` to `end` of the file."""

    content: Content
    start: int
    end: int

    def name(self, offset: int) -> bytes:
        first = self.start + offset
        last = self.content.find(b"\0", first, min(first + _LONGEST_NAME, self.end))
        if last < 0:
            raise Unrecognised("a name without an end")
        return self.content[first:last]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


@cache
def _datatype(dtype: str) -> bytes:
    """IV.A.2.d: the library's own encoding of a NumPy dtype, without H5Tencode's two bytes before it."""
    return _padded(h5py.h5t.py_create(np.dtype(dtype), logical=True).encode()[2:])


@cache
def _dataspace(shape: tuple[int, ...]) -> bytes:
    """IV.A.2.b: version 1, rank, the largest sizes are stated; the sizes, twice."""
    return struct.pack(f"<BBB5x{2 * len(shape)}Q", 1, len(shape), 1 if shape else 0, *shape, *shape)


@cache
def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return np.dtype(dtype).itemsize * int(np.prod(shape, dtype=object))


@cache
def _attribute(name: str, datatype: bytes) -> bytes:
    """IV.A.2.m: version 1, the sizes of name, datatype and dataspace, and those; a scalar's value follows."""
    text, scalar = name.encode() + b"\0", _dataspace(())
    sizes = struct.pack("<BxHHH", 1, len(text), len(datatype), len(scalar))
    return sizes + _padded(text) + _padded(datatype) + scalar


@cache
def _integer_attribute(name: str) -> bytes:
    return _attribute(name, h5py.h5t.py_create(np.dtype("<u8" if name == "seed" else "<i8")).encode()[2:])


def _integer(name: str, value: int) -> bytes:
    return _integer_attribute(name) + struct.pack("<Q" if name == "seed" else "<q", value)
