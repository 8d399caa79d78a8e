"""Reads, from the bytes alone, how HDF5's older form keeps a chunked dataset: layout, filter, the tree of its chunks.

Sections are those of the HDF5 File Format Specification, version 3.0. This is a part of `hdf5_structure`.
Whatever is not as our writer's files have it raises ValueError or struct.error.
"""

import mmap
import struct
from collections.abc import Iterator

Chunk = tuple[tuple[int, ...], int, int]
"""where a chunk begins in the dataset, its first byte in the file, and its size there"""

# IV.A.2.f: version 2, allocated as chunks are written, written if set, the default of no bytes
NO_FILL_VALUE = struct.pack("<BBBBI", 2, 3, 2, 1, 0)
FILTERS = 11
_TREE = struct.Struct("<4sBBHQQ")  # III.A.1: signature, type, level, entries, left and right sibling
_MOST_CHILDREN, _DEEPEST = 64, 4  # the library's default size of a node; 64**5 chunks


def chunked_layout(tree: int, sizes: tuple[int, ...]) -> bytes:
    """IV.A.2.i: version 3, class 2 (chunked), rank, address of the tree, sizes of a chunk, the last of a number."""
    message = struct.pack(f"<BBBQ{len(sizes)}I", 3, 2, len(sizes), tree, *sizes)
    return message + bytes(-len(message) % 8)


def tree_of(layout: bytes) -> int:
    """The address of the tree, out of a message of `chunked_layout`."""
    return struct.unpack_from("<Q", layout, 3)[0]


def is_deflate(filters: bytes) -> bool:
    """IV.A.2.l: version 1, one filter: deflate (1), a name of 8 bytes, optional, one number: the level, filled up."""
    start, level = struct.pack("<BB6xHHHH8s", 1, 1, 1, 8, 1, 1, b"deflate"), filters[24:28]
    return filters[:24] == start and filters[28:] == bytes(4) and int.from_bytes(level, "little") <= 9


def chunks_of(content: mmap.mmap | bytes, tree: int, sizes: tuple[int, ...]) -> Iterator[Chunk]:
    """III.A.1, type 1: the chunks below a node, in order, each where the library finds it: between two rising keys."""
    return _below(content, tree, sizes, None)


def _below(content: mmap.mmap | bytes, tree: int, sizes: tuple[int, ...], depth: int | None) -> Iterator[Chunk]:
    key = struct.Struct(f"<II{len(sizes)}Q")  # size in the file, filters left out, where it begins
    signature, kind, level, count, *_ = _TREE.unpack_from(content, tree)
    if signature != b"TREE" or kind != 1 or level > _DEEPEST or depth not in (None, level):
        raise ValueError("another B-tree")
    step = key.size + 8
    if not 0 < count <= _MOST_CHILDREN or tree + _TREE.size + _MOST_CHILDREN * step + key.size > len(content):
        raise ValueError("a B-tree node of no or too many children, or one that leaves the file")
    places = [tree + _TREE.size + number * step for number in range(count + 1)]
    keys = [key.unpack_from(content, place) for place in places]
    if any(start % size for _, _, *begin in keys for start, size in zip(begin, sizes, strict=True)):
        raise ValueError("a key between chunks")
    for place, low, high in zip(places, keys, keys[1:], strict=False):
        (child,) = struct.unpack_from("<Q", content, place + key.size)
        if level == 0 and low[1] != 0:
            raise ValueError("a chunk that a filter left as it is")
        below = _below(content, child, sizes, level - 1) if level else iter([(low[2:], child, low[0])])
        for chunk in below:
            if not low[2:] <= chunk[0] < high[2:]:
                raise ValueError("a chunk outside its keys")
            yield chunk
