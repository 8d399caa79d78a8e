"""What tests of pages share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from idaq.collect.collect import collect
from idaq.loader import Dataset, open_dataset
from tests.recipes import small_recipe

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Of one file's tests: while it runs, nothing else in this thread can run an asyncio loop."""
    from tests.evaluate.browser import chromium  # which environments of tests without pages do not have

    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def robots(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """point-robot-sparse/mixed: 8 tasks, 3 behaviours of 3 episodes each."""
    return open_dataset(collect(small_recipe("point-robot-sparse", "mixed"), tmp_path_factory.mktemp("robots")).path)
