"""What code from outside raises is told in one error, with the line that raised it."""

import numpy as np
import pytest

from idaq.core.errors import ConfigError, MissingExtraError, RunError
from idaq.core.outside import raised_as


def broken() -> None:
    raise KeyError("mine")


def test_the_error_says_whose_it_is_what_was_raised_and_where() -> None:
    with (
        pytest.raises(RunError, match=r"^their sampler: KeyError: 'mine'") as caught,
        raised_as(RunError, "their sampler"),
    ):
        broken()
    line = broken.__code__.co_firstlineno + 1
    assert caught.value.details == (f"raised by broken, line {line} of {__file__}",)
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_place_is_where_a_library_was_called_not_inside_it() -> None:
    def wrong_shapes() -> None:
        np.concatenate([np.zeros((1, 2)), np.zeros(3)])
        np.stack([])

    with pytest.raises(RunError, match="ValueError") as caught, raised_as(RunError, "theirs"):
        wrong_shapes()
    assert caught.value.details[0].startswith("raised by wrong_shapes,")


@pytest.mark.parametrize(
    "error",
    [ConfigError("theirs"), OSError("disk"), MemoryError(), RuntimeError("CUDA out of memory"), KeyboardInterrupt()],
)
def test_what_has_words_of_its_own_stays_what_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, raised_as(RunError, "theirs"):
        raise error
    assert caught.value is error


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(MissingExtraError), raised_as(RunError, "theirs"):
        raise ModuleNotFoundError(name="d3rlpy")
