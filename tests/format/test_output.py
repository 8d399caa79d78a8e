import errno
import resource
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from idaq.format.output import Output


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses to write past `size` bytes of any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_groups(file: h5py.File) -> None:
    for number in range(50):
        group = file.create_group(f"episode_{number}")
        group.create_dataset("values", data=np.full(100, number, np.float32))


def test_hdf5_writes_the_bytes_that_it_writes_to_a_plain_file(tmp_path: Path) -> None:
    with closing(Output(tmp_path / "a")) as output, h5py.File(output, "w", fs_strategy="none") as file:
        write_groups(file)
    with h5py.File(tmp_path / "b", "w", fs_strategy="none") as file:
        write_groups(file)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_write_that_fails_is_remembered_and_those_after_it_change_nothing(tmp_path: Path) -> None:
    with closing(Output(tmp_path / "a")) as output:
        assert output.write(b"0123456789") == 10
        output.raise_failure()
        with no_file_larger_than(12):
            assert output.write(b"abcd") == 4
            assert output.write(b"ef") == 2
            output.truncate(100)
        output.seek(0)
        assert output.write(b"later") == 5
        with pytest.raises(OSError, match="File too large") as caught:
            output.raise_failure()
        assert caught.value.errno == errno.EFBIG
    assert (tmp_path / "a").read_bytes() == b"0123456789ab"


def test_a_truncation_that_fails_is_remembered(tmp_path: Path) -> None:
    with closing(Output(tmp_path / "a")) as output:
        assert output.truncate(5) == 5
        with no_file_larger_than(10):
            output.truncate(20)
        with pytest.raises(OSError, match="File too large"):
            output.raise_failure()


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    with closing(Output(tmp_path / "a")) as output:
        output.write(np.arange(4, dtype=np.uint8))
        assert (output.tell(), output.seek(1)) == (4, 1)
        buffer = bytearray(2)
        assert output.readinto(buffer) == 2
        assert bytes(buffer) == b"\x01\x02"
