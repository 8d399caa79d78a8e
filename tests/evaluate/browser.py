"""A real browser for tests of pages: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

DESKTOP, PHONE = (1440, 900), (390, 844)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; without one a test is skipped, but where CI=true it fails."""
    path = shutil.which("chromium")
    if path is None:
        reason = "no chromium is installed: apt-get install chromium"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, file: Path, size: tuple[int, int] = DESKTOP, address: str = "", **settings: Any
) -> Iterator[Page]:
    """A page from its file. Fails where it logs anything, raises, or asks for what it does not hold."""
    faults: list[str] = []
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **settings)
    context.set_default_timeout(5000)
    page = context.new_page()

    def on_console(message: ConsoleMessage) -> None:
        faults.append(f"{message.type}: {message.text}")

    def on_request(request: Request) -> None:
        if not request.url.startswith((file.as_uri(), "data:")):
            faults.append(f"asked for {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", on_request)
    page.goto(file.as_uri() + address)
    yield page
    context.close()
    assert not faults, faults


def violations(page: Page) -> list[str]:
    """What axe-core finds of the WCAG rules and of good practice, all but what it calls minor."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]}" for rule in found if rule["impact"] != "minor" for node in rule["nodes"]
    ]


def sideways(page: Page) -> int:
    """How wide the page is, in pixels: more than the window makes it scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth")
