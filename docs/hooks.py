"""What mkdocs asks while it builds the site: pages made of other files of the repository, and links out of docs/."""

import posixpath
import re
from pathlib import Path

from commands import commands_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
SHOWN = {
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    "reference/catalogue.md": "datasets/README.md",
    "reference/leaderboard.md": "datasets/leaderboard.md",
    "reference/format.md": "schemas/FORMAT.md",
    **{f"reference/{path.name}": f"schemas/{path.name}" for path in sorted((ROOT / "schemas").glob("*.json"))},
    "images/point-robot.png": "datasets/point-robot/expert/returns.png",
}
"""what the site shows of files beside docs/: path in the site -> path in the repository"""
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that other files make, and the page of commands."""
    for page, source in SHOWN.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "reference/cli.md", content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let every link lead to a page of the site; a file that the site does not show is named instead."""
    here = page.file.src_uri
    source = SHOWN.get(here, f"docs/{here}")
    pages = {path: name for name, path in SHOWN.items()}

    def follow(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        known = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if known is None:
            return f"{words} (`{path}`)" if path not in words else words
        return f"[{words}]({posixpath.relpath(known, posixpath.dirname(here) or '.')}{anchor})"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(follow, part) for part in parts)
