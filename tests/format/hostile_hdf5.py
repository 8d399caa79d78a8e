"""A table of hostile HDF5: each kind alters the file of the hand-made dataset; its hashes are then made true again."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

GROUP, COLUMN = "episode_3", "rewards"
Kind = Callable[[Path], None]

# -- by HDF5 itself ------------------------------------------------------------------------------------------------


def within(alter: Callable[[h5py.File, h5py.Group], Any]) -> Kind:
    """Alter the open file, its episode 3."""

    def kind(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            alter(file, file[GROUP])

    return kind


def column(make: Callable[[h5py.Group], Any]) -> Kind:
    """Put something else in the place of the rewards."""

    def alter(file: h5py.File, group: h5py.Group) -> None:
        del group[COLUMN]
        make(group)

    return within(alter)


def member(value: Any) -> Kind:
    return column(lambda group: group.__setitem__(COLUMN, value))


def stored(**options: Any) -> Kind:
    return column(lambda group: group.create_dataset(COLUMN, **{"data": None, **options}))


def attribute(value: Any, **options: Any) -> Kind:
    return within(lambda file, group: group.attrs.create("seed", value, **options))


def episode(value: Any) -> Kind:
    def alter(file: h5py.File, group: h5py.Group) -> None:
        del file[GROUP]
        file[GROUP] = value if not callable(value) else value(file)

    return within(alter)


def low_level(group: h5py.Group, layout: int, storage: bool = True) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(layout)
    space = h5py.h5s.create_simple((3,))
    dataset = h5py.h5d.create(group.id, COLUMN.encode(), h5py.h5t.IEEE_F64LE, space, properties)
    if storage:
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.zeros(3))


def virtual(group: h5py.Group, source: str) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(source, "episode_2/rewards", (16,))[:3]
    group.create_virtual_dataset(COLUMN, layout)


def committed(group: h5py.Group, name: str) -> None:
    h5py.h5t.IEEE_F64LE.copy().commit(group.id, name.encode())


def opaque(group: h5py.Group) -> None:
    kind = h5py.h5t.create(h5py.h5t.OPAQUE, 8)
    h5py.h5d.create(group.id, COLUMN.encode(), kind, h5py.h5s.create_simple((3,)))


def deep(file: h5py.File, group: h5py.Group) -> None:
    for _ in range(300):
        group = group.create_group("g")


def modern(path: Path) -> None:
    """An episode of the latest form of groups, with dense attributes: fractal heaps, B-trees of version 2."""
    with h5py.File(path, "r+", libver="latest") as file:
        file.move(GROUP, "old")
        group = file.create_group(GROUP, track_order=True)
        for name in file["old"]:
            group[name] = file["old"][name]
        for number in range(30):
            group.attrs[f"more {number}"] = number
        del file["old"]


ANY_TYPE = {
    "variable length": (np.array([np.arange(3), np.arange(2)], object), h5py.vlen_dtype("i8")),
    "compound": (np.zeros((), [("a", "i8"), ("b", "f4")]), None),
    "array of numbers": (np.arange(5), None),
    "large": (np.zeros(7000), None),
    "fixed text": (np.bytes_("7"), None),
    "text": ("7" * 5_000_000, h5py.string_dtype()),
    "a float": (7.0, None),
    "a boolean": (True, None),
    "a byte": (np.uint8(7), None),
    "big-endian": (np.array(7, ">u8"), None),
    "complex": (1j, None),
    "a long double": (np.longdouble(7), None),
    "opaque": (np.void(b"\1\2\3"), None),
    "nothing": (h5py.Empty("u8"), None),
    "an enumeration": (np.array(1, "i8"), h5py.enum_dtype({"a": 1}, "i8")),
    "an array type": (np.zeros(3, "i8"), np.dtype(("i8", (3,)))),
}

BY_HDF5: dict[str, Kind] = {
    "group that holds itself": within(lambda file, group: group.__setitem__("self", group)),
    "group that holds the root": within(lambda file, group: group.__setitem__("root", file["/"])),
    "root that holds itself": within(lambda file, group: file.__setitem__("loop", file["/"])),
    "episode that is the root": episode(lambda file: file["/"]),
    "episode that is another": episode(lambda file: file["episode_4"]),
    "episode that is a column": episode(lambda file: file["episode_4/rewards"]),
    "episode that is a number": episode(3),
    "episode that is a type": episode(np.dtype("f8")),
    "episode by symbolic link": episode(h5py.SoftLink("/episode_4")),
    "episode by a link to itself": episode(h5py.SoftLink(f"/{GROUP}")),
    "episode by external link": episode(h5py.ExternalLink("/dev/zero", "/x")),
    "column by symbolic link": member(h5py.SoftLink("/episode_4/rewards")),
    "column by a link to nowhere": member(h5py.SoftLink("/none")),
    "column by a link to itself": member(h5py.SoftLink(f"/{GROUP}/{COLUMN}")),
    "column by external link": member(h5py.ExternalLink("/etc/passwd", "/x")),
    "column of another episode": column(lambda group: group.__setitem__(COLUMN, group.file["episode_2/rewards"])),
    "column that is its own group": column(lambda group: group.__setitem__(COLUMN, group)),
    "column that is a group": column(lambda group: group.create_group(COLUMN)),
    "column that is a type": column(lambda group: committed(group, COLUMN)),
    "column of nothing": member(h5py.Empty("f8")),
    "column of one number": member(3.0),
    "virtual column": column(lambda group: virtual(group, ".")),
    "virtual column of another file": column(lambda group: virtual(group, "/etc/passwd")),
    "external column": stored(shape=(3,), dtype="f8", external=[("/etc/passwd", 0, 24)]),
    "endless external column": stored(shape=(3,), dtype="f8", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]),
    "compressed column": stored(data=np.zeros(3), compression="gzip"),
    "compressed bomb": stored(shape=(1 << 28,), dtype="u1", chunks=(1 << 20,), compression="gzip"),
    "checked and shuffled column": stored(data=np.zeros(3), chunks=(3,), fletcher32=True, shuffle=True),
    "column of a rare filter": stored(data=np.zeros(3), compression="lzf"),
    "column that may grow": stored(data=np.zeros(3), maxshape=(None,)),
    "column of 2**50 rows": stored(shape=(2**50,), dtype="f8", chunks=(2**20,)),
    "column of 32 dimensions": stored(shape=(1,) * 32, dtype="f8"),
    "column in its header": column(lambda group: low_level(group, h5py.h5d.COMPACT)),
    "column without storage": column(lambda group: low_level(group, h5py.h5d.CONTIGUOUS, storage=False)),
    "column of variable length": stored(shape=(3,), dtype=h5py.vlen_dtype("f8")),
    "column of text": stored(data=["a", "b", "c"]),
    "column of references": stored(shape=(3,), dtype=h5py.ref_dtype),
    "column of regions": stored(shape=(3,), dtype=h5py.regionref_dtype),
    "column of records": stored(shape=(3,), dtype=[("a", "f4"), ("b", "f4")]),
    "column of arrays": stored(shape=(3,), dtype=np.dtype(("f8", (2,)))),
    "column of opaque bytes": column(opaque),
    "column of complex numbers": stored(data=np.zeros(3, complex)),
    "column of big-endian numbers": stored(data=np.zeros(3, ">f8")),
    "column of long doubles": stored(data=np.zeros(3, np.longdouble)),
    "column of an enumeration": stored(shape=(3,), dtype=h5py.enum_dtype({"a": 1}, "i4")),
    "column of negative zeros elsewhere": stored(data=-np.zeros(3)),
    "group of the latest form": modern,
    "attribute of a committed type": within(
        lambda file, group: (committed(file["/"], "t"), group.attrs.create("seed", 7.0, dtype=file["t"]))
    ),
    "attribute that refers": within(lambda file, group: group.attrs.create("seed", group.ref, dtype=h5py.ref_dtype)),
    "1,000 attributes": within(lambda file, group: [group.attrs.create(f"a{n}", n) for n in range(1000)]),
    "attribute of a strange name": within(lambda file, group: group.attrs.create("\x1b[2J\u202e/", 1)),
    "member of a strange name": within(lambda file, group: group.create_group("\x1b[2J\u202e")),
    "2,000 members": within(lambda file, group: [group.create_group(f"m{n}") for n in range(2000)]),
    "member of a long name": within(lambda file, group: group.create_group("n" * 50_000)),
    "300 groups, one in another": within(deep),
    "root with an attribute": within(lambda file, group: file.attrs.create("a", 1)),
    **{f"attribute: {name}": attribute(value, dtype=dtype) for name, (value, dtype) in ANY_TYPE.items()},
}

# -- by its bytes --------------------------------------------------------------------------------------------------


def patched(signature: bytes, number: int, offset: int, form: str, *values: int) -> Kind:
    """Write `values` at `offset` from the `number`-th `signature`, in struct's little-endian `form`."""

    def kind(path: Path) -> None:
        content, place = bytearray(path.read_bytes()), -1
        for _ in range(number + 1):
            place = content.index(signature, place + 1)
        struct.pack_into("<" + form, content, place + offset, *values)
        path.write_bytes(content)

    return kind


def looped(path: Path) -> None:
    """The root's B-tree becomes a node above itself."""
    content = bytearray(path.read_bytes())
    tree = content.index(b"TREE")
    content[tree + 5] = 1
    struct.pack_into("<Q", content, tree + 32, tree)
    path.write_bytes(content)


def doubled(path: Path) -> None:
    """A pyramid of B-tree nodes, each of 32 times the one below: 32**6 leaves in some kilobytes."""
    content = bytearray(path.read_bytes())
    tree = content.index(b"TREE")
    key, child = struct.unpack_from("<QQ", content, tree + 24)
    for level in range(1, 7):
        place = len(content)
        content += struct.pack("<4sBBHQQ", b"TREE", 0, level, 32, 2**64 - 1, 2**64 - 1)
        content += struct.pack("<QQ", key, child) * 32 + struct.pack("<Q", key)
        child = place
    content[tree + 5] = 7
    struct.pack_into("<Q", content, tree + 32, child)
    path.write_bytes(content)


def free_for_ever(path: Path) -> None:
    """A heap's free block is followed by itself."""
    content = bytearray(path.read_bytes())
    heap = content.index(b"HEAP", content.index(b"HEAP") + 1)
    (data,) = struct.unpack_from("<Q", content, heap + 24)
    struct.pack_into("<Q", content, heap + 16, 72)
    struct.pack_into("<QQ", content, data + 72, 72, 16)
    path.write_bytes(content)


def header(offset: int, form: str, *values: int, of: str = f"{GROUP}/{COLUMN}") -> Kind:
    """Write into an object header."""

    def kind(path: Path) -> None:
        with h5py.File(path) as file:
            address = h5py.h5o.get_info(file[of].id).addr
        content = bytearray(path.read_bytes())
        values_ = [address + 16 if value == -1 and form[-1] == "Q" else value for value in values]
        struct.pack_into("<" + form, content, address + offset, *values_)
        path.write_bytes(content)

    return kind


def continued_together(path: Path) -> None:
    """The empty space of two episodes' object headers becomes a continuation, at one place in the first of them."""
    with h5py.File(path) as file:
        headers = [h5py.h5o.get_info(file[f"{name}/{COLUMN}"].id).addr for name in ("episode_2", GROUP)]
    content = bytearray(path.read_bytes())
    for place in headers:
        struct.pack_into("<HHIQQ", content, place + 128, 16, 136, 0, headers[0] + 152, 8)
        content[place + 2] += 1
    path.write_bytes(content)


def named_from_tree(path: Path) -> None:
    """A heap's names begin where the root's B-tree already is."""
    content = bytearray(path.read_bytes())
    tree, heap, leaf = (content.index(name, content.index(name) + 1) for name in (b"TREE", b"HEAP", b"SNOD"))
    size, _, start = struct.unpack_from("<QQQ", content, heap + 8)
    more = start - tree
    struct.pack_into("<QQQ", content, heap + 8, size + more, 1, tree)
    names = [tree + 24, tree + 40, *(leaf + 8 + 40 * number for number in range(content[leaf + 6]))]
    for place in names:
        struct.pack_into("<Q", content, place, struct.unpack_from("<Q", content, place)[0] + more)
    path.write_bytes(content)


def kept_in_little(path: Path) -> None:
    """A text lies in a global heap of 56 bytes."""
    content = bytearray(path.read_bytes())
    value = content.index(b"task_id\0") + 40
    heap, text = content.index(b"GCOL") + 2048, b"task-2"
    struct.pack_into("<4sBxxxQHHxxxxQ8sHHxxxxQ", content, heap, b"GCOL", 1, 56, 1, 0, len(text), text, 0, 0, 16)
    struct.pack_into("<QI", content, value + 4, heap, 1)
    path.write_bytes(content)


def whole(alter: Callable[[bytes], bytes]) -> Kind:
    return lambda path: path.write_bytes(alter(path.read_bytes())) and None


LARGE = 2**63 - 1
BY_BYTES: dict[str, Kind] = {
    "B-tree above itself": looped,
    "B-tree of 32**6 leaves": doubled,
    "B-tree of level 255": patched(b"TREE", 1, 5, "B", 255),
    "B-tree of 65,535 children": patched(b"TREE", 1, 6, "H", 65535),
    "B-tree of no children": patched(b"TREE", 1, 6, "H", 0),
    "B-tree that is its own sibling": patched(b"TREE", 1, 8, "QQ", 64, 64),
    "B-tree with a child outside": patched(b"TREE", 1, 32, "Q", LARGE),
    "B-tree whose child is the superblock": patched(b"TREE", 1, 32, "Q", 0),
    "B-tree of chunks": patched(b"TREE", 1, 4, "B", 1),
    "leaf of 65,535 names": patched(b"SNOD", 1, 6, "H", 65535),
    "leaf with a name outside its heap": patched(b"SNOD", 1, 8, "Q", LARGE),
    "leaf whose object is outside": patched(b"SNOD", 1, 16, "Q", LARGE),
    "leaf whose object is the superblock": patched(b"SNOD", 1, 16, "Q", 0),
    "leaf with a cached symbolic link": patched(b"SNOD", 1, 24, "I", 2),
    "heap with endless free blocks": free_for_ever,
    "heap of 2**63 bytes": patched(b"HEAP", 1, 8, "Q", LARGE),
    "heap whose data are outside": patched(b"HEAP", 1, 24, "Q", LARGE),
    "heap with a free block outside": patched(b"HEAP", 1, 16, "Q", LARGE),
    "global heap of no bytes": patched(b"GCOL", 0, 8, "Q", 0),
    "global heap of 2**63 bytes": patched(b"GCOL", 0, 8, "Q", LARGE),
    "global heap whose free space does not end": patched(b"GCOL", 0, 216, "Q", 0),
    "global heap with an object of 2**63 bytes": patched(b"GCOL", 0, 24, "Q", LARGE),
    "text of 4 GB": patched(b"task_id\0", 3, 40, "I", 2**32 - 1),
    "header of 65,535 messages": header(2, "H", 65535),
    "header of 4 GB": header(8, "I", 2**32 - 1),
    "header of no messages": header(2, "H", 0),
    "header that continues in itself": header(16, "HHIQQ", 16, 16, 0, -1, 256),
    "group header that continues in itself": header(16, "HHIQQ", 16, 16, 0, -1, 24, of=GROUP),
    "header that continues in nothing": header(128, "HHIQQ", 16, 136, 0, -1, 0),
    "headers that continue together": continued_together,
    "heap whose names begin at a B-tree": named_from_tree,
    "text in a global heap that is too small": kept_in_little,
    "message of 65,535 bytes": header(18, "H", 65535),
    "message that is shared": header(20, "B", 2),
    "message of an unknown type that must be known": header(16, "HHB", 200, 24, 8),
    "column of rank 255": header(25, "B", 255),
    "column of 2**63 rows": header(32, "QQ", LARGE, LARGE),
    "column of -1 rows": header(32, "QQ", 2**64 - 1, 2**64 - 1),
    "superblock of version 99": whole(lambda content: content[:8] + b"\x63" + content[9:]),
    "superblock that ends later": whole(lambda content: content[:28] + struct.pack("<Q", LARGE) + content[36:]),
    "superblock with its root outside": whole(lambda content: content[:36] + struct.pack("<Q", LARGE) + content[44:]),
    "superblock with a wrong checksum": whole(lambda content: content[:44] + bytes(4) + content[48:]),
    "superblock opened for writing": whole(lambda content: content[:11] + b"\1" + content[12:]),
    "user block": whole(lambda content: bytes(512) + content),
    "bytes after the end": whole(lambda content: content + bytes(64)),
    "end cut off": whole(lambda content: content[:-1000]),
    "only a superblock": whole(lambda content: content[:64] + bytes(len(content) - 64)),
    "all zeros": whole(lambda content: bytes(len(content))),
    "all ones": whole(lambda content: b"\xff" * len(content)),
    "no HDF5 but text": whole(lambda content: b"a" * len(content)),
}

KINDS = {**BY_HDF5, **BY_BYTES}
