"""The docs site is true: its blocks run from top to bottom, it builds without a warning, it names what is public."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import idaq
from tests.cli.conftest import BRIEF, QUICK, SMALL, settings
from tests.pages import PROGRAMS, blocks, continued, run_page, written

CHECKOUT = Path(__file__).parents[1]
DOCS = CHECKOUT / "docs"
ALL = sorted(DOCS.rglob("*.md"))
ELSEWHERE = {"architecture.md": "tests/cli/test_documents.py", "testing.md": "tests/testing/test_suites.py"}
"""pages whose blocks another test runs"""
PAGES = [page for page in ALL if page.name not in ELSEWHERE]
RUN = [page for page in PAGES if any(b.language in ("python", "bash") and not b.why_not_run for b in blocks(page))]
RUN.sort(key=lambda page: continued(page) is not None)  # a page's time is then its own
FULL_SIZE = {"algorithms.md", "quickstart.md", "measured.md", *(path.name for path in (DOCS / "howto").glob("*.md"))}
"""pages whose commands are cut to a size that a test can wait for; nothing else about them changes"""
SHORTER = {"collect": SMALL, "train": settings(QUICK), "adapt": settings(BRIEF)}


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS))


Walk = Callable[[Path], Path]


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Run a page once, after the one that it continues; gives the folder that a reader then has."""
    folders: dict[Path, Path] = {}

    def run(page: Path) -> Path:
        if page not in folders:
            before = continued(page)
            place = tmp_path_factory.mktemp(page.stem)
            if before:
                shutil.copytree(run(before).parent, place, dirs_exist_ok=True)
            folders[page] = place / "work"
            folders[page].mkdir(exist_ok=True)
            _run(page, folders[page])
        return folders[page]

    return run


@pytest.mark.parametrize("page", RUN, ids=_name)
def test_what_a_page_shows_runs(page: Path, walk: Walk) -> None:
    walk(page)


def _run(page: Path, folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(sys, "path", [str(folder), *sys.path])
        patched.setenv("MINARI_DATASETS_PATH", str(folder.parent / "datasets"))
        patched.setenv("OMP_NUM_THREADS", "1")
        try:
            run_page(page, folder, _shortened(folder.parent) if page.name in FULL_SIZE else PROGRAMS)
        finally:
            for name in written(page):
                sys.modules.pop(name, None)


def _shortened(folder: Path) -> Path:
    """A folder with an `idaq` that adds to full-size commands the settings of small ones."""
    cases = "\n".join(f'{name}) set -- "$@" {_quoted(more)};;' for name, more in SHORTER.items())
    program = folder / "bin" / "idaq"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$1" in\n{cases}\nesac\nexec {PROGRAMS / "idaq"} "$@"\n')
    program.chmod(0o755)
    return program.parent


def _quoted(words: tuple[str, ...] | list[str]) -> str:
    return " ".join(f"'{word}'" for word in words)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        where = f"{page}:{block.line}"
        assert block.language in ("python", "bash", "toml", "text"), f"{where}: a language that nothing runs"
        assert block.language != "toml" or block.file or block.why_not_run, f"{where}: which file is it?"
        if block.language == "text" and not block.why_not_run:
            assert not re.search(r"^(\$|idaq|pip|make|python) ", block.text, re.MULTILINE), f"{where}: a command"


@pytest.mark.parametrize("page", ELSEWHERE)
def test_pages_that_another_test_runs_are_named_there(page: str) -> None:
    assert f"docs/{page}" in (CHECKOUT / ELSEWHERE[page]).read_text()


def test_every_page_is_in_the_menu() -> None:
    menu = (CHECKOUT / "mkdocs.yml").read_text()
    assert [_name(page) for page in ALL if f": {_name(page)}\n" not in menu] == []


def test_every_public_name_has_its_place_in_the_reference() -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    named = re.findall(r"^::: idaq\.(?:\w+\.)*(\w+)$", text, re.MULTILINE)
    assert sorted(named) == sorted(idaq.__all__)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=CHECKOUT, env=quiet, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return out


def test_the_site_builds_without_a_warning_and_fetches_nothing(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?(?:https?:)?//[^">]+', html)
        fetched += re.findall(
            r'<link\b[^>]*\brel="?(?:stylesheet|preconnect|preload)[^>]*href="?(?:https?:)?//[^">]+', html
        )
        assert fetched == [], page


def test_the_reference_says_what_every_name_and_command_does(site: Path) -> None:
    html = "\n".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    assert [name for name in idaq.__all__ if not re.search(rf'id="idaq\.(?:\w+\.)*{name}"', html)] == []
    commands = (site / "reference/cli.html").read_text(encoding="utf-8")
    for command in ("idaq collect", "idaq dataset verify", "idaq hub pull"):
        assert f'id="{command.replace(" ", "-")}"' in commands
    assert not re.search(r"\[/?(bold|cyan)\]", commands)
