"""Code blocks of the docs site, and how a reader would run them: from top to bottom, in an empty folder.

A block with a title is a file of that name; any other Python block runs where the one before it has left off; a bash
block runs in bash. What cannot run here says why, in a comment above it: `<!-- not run: needs a cluster -->`. A page
that needs what another has left there says `<!-- continues: other.md -->`.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r'^(?:<!-- not run: (?P<why>.+?) -->\n\n?)?```(?P<language>\w*)(?: title="(?P<file>[^"]+)")?\n(?P<text>.*?)^```$',
    re.DOTALL | re.MULTILINE,
)
PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    language: str
    file: str | None
    text: str
    why_not_run: str | None
    line: int
    """of the page, where its text begins"""


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order. Every fence is one of them."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(
            language=match["language"],
            file=match["file"],
            text=match["text"],
            why_not_run=match["why"],
            line=text.count("\n", 0, match.start("text")) + 1,
        )
        for match in _BLOCK.finditer(text)
    ]
    fences = re.findall(r"^\s*```", text, re.MULTILINE)
    assert len(fences) == 2 * len(found), f"{page}: a fence is indented, or is not of a known form"
    return found


def run_page(page: Path, folder: Path, programs: Path = PROGRAMS) -> None:
    """Run all that a page shows, in `folder`, which is the working directory and on sys.path."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.why_not_run:
            continue
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            padding = "\n" * (block.line - 1)  # a traceback names the page's own line
            exec(compile(padding + block.text, str(page), "exec"), names)
        elif block.language == "bash":
            _run_bash(block, page, folder, programs)


def files_of(page: Path) -> dict[str, str]:
    """The files that a page shows, by name."""
    return {block.file: block.text for block in blocks(page) if block.file}


def continued(page: Path) -> Path | None:
    """The page in whose folder a reader goes on with this one."""
    found = re.search(r"<!-- continues: (\S+) -->", page.read_text(encoding="utf-8"))
    return found and (page.parent / found[1]).resolve()


def written(page: Path) -> Iterator[str]:
    """The modules that a page's files are."""
    yield from (Path(name).stem for name in files_of(page) if name.endswith(".py"))


def _run_bash(block: Block, page: Path, folder: Path, programs: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{PROGRAMS}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}:{block.line}\n{block.text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
