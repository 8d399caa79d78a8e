"""README.md and schemas/FORMAT.md are true: their code blocks and commands run, their links lead somewhere."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from gymnasium.utils.env_checker import check_env
from mktestdocs import check_md_file

from idaq.collect.collect import Collected
from idaq.loader import open_dataset
from tests.cli.conftest import BRIEF, QUICK, SMALL, Idaq, settings

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "schemas" / "FORMAT.md"]
# Full-size commands, cut to a size that a test can wait for. Nothing else about them changes.
SHORTER = {"collect": list(SMALL), "train": settings(QUICK), "adapt": settings(BRIEF)}


def commands(page: Path) -> list[list[str]]:
    """Every `idaq ...` line of a page's shell blocks, comments removed, in order."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and line[0] == "idaq"]


def test_format_code_blocks_run(collected: Collected, datasets_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(datasets_root))
    check_md_file(PAGES[1], memory=True)


def test_readme_code_blocks_run(collected: Collected, datasets_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(datasets_root))
    check_md_file(PAGES[0], memory=True)


def test_readme_commands_run(idaq: Idaq, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    found = commands(PAGES[0])
    assert {"collect", "dataset", "train", "adapt", "report"} <= {command[1] for command in found}
    for command in found:
        done = idaq(*command[1:], *SHORTER.get(command[1], []))
        assert done.code == 0, (command, done.err)


def test_the_readmes_task_family_is_one(idaq: Idaq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It passes Gymnasium's checker and can be collected, by two workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    blocks = dict(
        re.findall(r"as `(cart[.a-z]+)`.*?\n```[a-z]+\n(.*?)```", PAGES[0].read_text().replace("As `", "as `"), re.S)
    )
    for name, text in blocks.items():
        Path(name).write_text(text)
    done = idaq("collect", "--recipe", "cart.toml", "--workers", "2", "--root", tmp_path)
    assert done.code == 0, done.err
    check_env(sys.modules["cart"].Cart(), skip_render_check=True)
    dataset = open_dataset("me/cart/expert-v0", tmp_path)
    assert len(dataset) == 450
    assert dataset.episodes.success.mean() > 0.9
    del sys.modules["cart"]


def test_make_targets_named_in_the_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`?make ([a-z0-9-]+)", PAGES[0].read_text()))
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
