import contextlib
import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from idaq.collect.cells import JOURNAL, collect_cell, finished_cells, is_whole, read_shard
from idaq.collect.collect import Collected, collect
from idaq.collect.plan import Cell, make_plan
from idaq.collect.rollout import rollout
from idaq.core.digest import episode_digest
from idaq.core.errors import CollectError
from idaq.core.seeds import episode_seed
from idaq.format.verify import verify
from idaq.tasks import get_family
from tests.collect.test_collect import collect_until, shards
from tests.disks import enlarge, small_disk
from tests.recipes import small_recipe

CELL = Cell(task_index=3, behaviour_index=0)


def collect_folder(root: Path) -> Path:
    (folder,) = (root / ".idaq" / "collect").iterdir()
    return folder


def test_a_cell_comes_back_from_its_shard_as_it_was_rolled_out(tmp_path: Path) -> None:
    recipe = small_recipe()
    assert collect_cell(make_plan(recipe), CELL, tmp_path) == 3
    shard = read_shard(tmp_path, CELL)
    assert shard.seeds == [episode_seed(recipe.seed, 3, 0, e) for e in range(3)]
    seeds, family = np.array(shard.seeds, np.uint64), get_family("point-robot")
    done = rollout(family, recipe.behaviours[0], np.full(3, 3), seeds)
    assert shard.successes == done.successes.tolist()
    both = shard.episodes, done.episodes
    stored, rolled = ([episode_digest(e, task_index=3, seed=0) for e in each] for each in both)
    assert stored == rolled
    assert len(set(stored)) == 3


def test_a_shard_holds_no_pickles(tmp_path: Path) -> None:
    collect_cell(make_plan(small_recipe()), CELL, tmp_path)
    with np.load(tmp_path / CELL.shard, allow_pickle=False) as archive:
        assert all(archive[name].dtype.kind in "fbui" for name in archive.files)


def test_the_journal_tells_which_cells_are_whole(tmp_path: Path) -> None:
    assert finished_cells(tmp_path) == {}
    collect_cell(make_plan(small_recipe()), CELL, tmp_path)
    finished = finished_cells(tmp_path)
    assert list(finished) == ["task00003-behaviour00.npz"]
    assert is_whole(tmp_path, CELL, finished)
    assert not is_whole(tmp_path, Cell(task_index=4, behaviour_index=0), finished)
    (tmp_path / CELL.shard).write_bytes((tmp_path / CELL.shard).read_bytes()[:-1])
    assert not is_whole(tmp_path, CELL, finished)


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (lambda journal: journal + b"\n{'shard': ", 0),
        (lambda journal: journal.rstrip(b"\n")[:-10], 1),
        (lambda journal: b"\xff\xfe\x00" + journal, 0),
        (lambda journal: b"[1]\n{}\n3\nnull\n" + journal, 0),
        (lambda journal: journal.replace(b"sha256", b"sha255"), 3),
        (lambda journal: b"", 3),
    ],
)
def test_a_torn_journal_costs_only_the_cells_it_does_not_tell_of(
    tmp_path: Path, collected: Collected, damage: Callable[[bytes], bytes], lost: int
) -> None:
    collect_until(small_recipe(), tmp_path, 6)
    assert len(shards(tmp_path)) == 3
    journal = collect_folder(tmp_path) / JOURNAL
    journal.write_bytes(damage(journal.read_bytes()))
    again = collect(small_recipe(), tmp_path)
    assert (again.resumed, again.content_digest) == (3 - lost, collected.content_digest)


@pytest.mark.parametrize("kind", ["flipped", "truncated", "emptied", "removed", "swapped"])
def test_a_damaged_shard_is_collected_again(tmp_path: Path, collected: Collected, kind: str) -> None:
    collect_until(small_recipe(), tmp_path, 6)
    first, second, _ = sorted(collect_folder(tmp_path).glob("*.npz"))
    content = first.read_bytes()
    if kind == "flipped":
        first.write_bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:])
    elif kind == "truncated":
        first.write_bytes(content[:-100])
    elif kind == "emptied":
        first.write_bytes(b"")
    elif kind == "removed":
        first.unlink()
    else:
        first.write_bytes(second.read_bytes())
    again = collect(small_recipe(), tmp_path)
    assert (again.resumed, again.content_digest) == (2, collected.content_digest)


def test_lines_of_the_journal_are_whole_and_its_last_line_for_a_shard_counts(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_text('{"shard": "task00003-behaviour00.npz", "sha256": "old"}\n{"shard": "torn')
    collect_cell(make_plan(small_recipe()), CELL, tmp_path)
    assert is_whole(tmp_path, CELL, finished_cells(tmp_path))
    assert json.loads((tmp_path / JOURNAL).read_text().splitlines()[-1])["episodes"] == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not an archive", "cut"])
def test_a_shard_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, content: bytes | str) -> None:
    collect_cell(make_plan(small_recipe()), CELL, tmp_path)
    path = tmp_path / CELL.shard
    path.write_bytes(path.read_bytes()[:-300] if isinstance(content, str) else content)
    with pytest.raises(CollectError, match=r"shard .*task00003-behaviour00.npz is damaged") as caught:
        read_shard(tmp_path, CELL)
    assert caught.value.hint == f"remove {path} and run the same command again"


def contents(folder: Path) -> list[object]:
    shard = read_shard(folder, CELL)
    return [shard.seeds, shard.successes, [episode_digest(e, task_index=3, seed=0) for e in shard.episodes]]


def test_a_shard_with_one_altered_byte_gives_the_same_episodes_or_is_refused(tmp_path: Path) -> None:
    collect_cell(make_plan(small_recipe()), CELL, tmp_path)
    path, rng = tmp_path / CELL.shard, np.random.default_rng(0)
    whole, expected = path.read_bytes(), contents(tmp_path)
    for position in rng.integers(len(whole), size=200).tolist():
        path.write_bytes(
            whole[:position] + bytes([whole[position] ^ int(rng.integers(1, 256))]) + whole[position + 1 :]
        )
        with contextlib.suppress(CollectError):
            assert contents(tmp_path) == expected


def test_a_full_disk_stops_the_collection_plainly_and_the_same_command_goes_on(
    tmp_path: Path, collected: Collected
) -> None:
    """The kernel's own ENOSPC."""
    with small_disk(tmp_path, kilobytes=64):
        with pytest.raises(CollectError) as caught:
            collect(small_recipe(), tmp_path)
        assert caught.value.message.startswith("the disk is full: no room for ")
        assert str(caught.value.hint).endswith("finished cells are kept")
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.ENOSPC
        assert not (tmp_path / "idaq").exists()
        enlarge(tmp_path, kilobytes=2000)
        resumed = collect(small_recipe(), tmp_path)
        assert (resumed.content_digest, resumed.resumed > 0) == (collected.content_digest, True)
        assert verify(resumed.path) == []
