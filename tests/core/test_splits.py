"""How splits are named where they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idaq.core.config import check_name
from idaq.core.errors import ConfigError, UsageError
from idaq.core.splits import SplitNames, split_names
from idaq.core.types import Slug

SLUGS = st.from_regex(r"\A[a-z0-9]([a-z0-9._-]{0,10}[a-z0-9])?\Z")


@given(st.lists(SLUGS, min_size=1, max_size=5, unique=True))
def test_names_come_back_as_they_were_joined(names: list[str]) -> None:
    assert split_names("+".join(names)) == tuple(names)
    assert check_name(SplitNames, "+".join(names), "split") == "+".join(names)


@given(st.lists(SLUGS, min_size=1, max_size=4, unique=True), st.data())
def test_a_name_twice_or_missing_is_refused_wherever_it_stands(names: list[str], data: st.DataObject) -> None:
    for wrong in (data.draw(st.sampled_from(names)), ""):
        place = data.draw(st.integers(0, len(names)))
        text = "+".join([*names[:place], wrong, *names[place:]])
        with pytest.raises(UsageError, match="stands twice" if wrong else "a name is missing") as caught:
            split_names(text)
        assert "train+val" in str(caught.value.hint)
        with pytest.raises(ConfigError):
            check_name(SplitNames, text, "split")


@given(st.text(max_size=12))
def test_a_config_takes_what_splits_can_be_called_and_nothing_else(text: str) -> None:
    def named(kind: object, name: str) -> bool:
        try:
            return check_name(kind, name, "split") == name
        except ConfigError:
            return False

    parts = text.split("+")
    assert named(SplitNames, text) == (all(named(Slug, part) for part in parts) and len(set(parts)) == len(parts))
