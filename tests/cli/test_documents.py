"""What is written for readers is true: code blocks and commands run, links lead somewhere, make targets exist."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from gymnasium.utils.env_checker import check_env
from mktestdocs import check_md_file

from idaq.collect.collect import Collected, collect
from idaq.format import layout
from idaq.loader import open_dataset
from tests.cli.conftest import BRIEF, QUICK, SMALL, Idaq, settings
from tests.pages import files_of
from tests.recipes import small_recipe

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "schemas" / "FORMAT.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]
PAGES += [CHECKOUT / "CONTRIBUTING.md", CHECKOUT / "SECURITY.md", CHECKOUT / "examples" / "README.md"]
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


def test_format_code_blocks_read_compressed_columns_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setattr(layout, "CHUNK_BYTES", 64)  # several chunks an episode
    collect(small_recipe("point-robot", "expert", 'compress=["observations", "rewards"]'), tmp_path)
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


def test_the_smallest_task_family_is_one(idaq: Idaq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It passes Gymnasium's checker and can be collected, by two workers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name, text in files_of(CHECKOUT / "docs/architecture.md").items():
        Path(name).write_text(text)
    done = idaq("collect", "--recipe", "cart.toml", "--workers", "2", "--root", tmp_path)
    assert done.code == 0, done.err
    check_env(sys.modules["cart"].Cart(), skip_render_check=True)
    dataset = open_dataset("me/cart/expert-v0", tmp_path)
    assert len(dataset) == 450
    assert dataset.episodes.success.mean() > 0.9
    del sys.modules["cart"]


def test_every_seam_on_the_page_of_architecture_works(
    idaq: Idaq, collected: Collected, datasets_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Blocks that begin with `# mine.py` are one module; then the others run, and the commands, in their order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    shutil.copytree(collected.path, tmp_path / "root" / collected.path.relative_to(datasets_root))
    blocks = re.findall(r"```(python|bash)\n(.*?)```", (CHECKOUT / "docs/architecture.md").read_text(), re.DOTALL)
    mine = [text for _, text in blocks if text.startswith("# mine.py")]
    Path("mine.py").write_text("\n\n".join(mine))
    small = {"train": settings(("steps=20", "threads=1")), "adapt": settings(BRIEF)}
    for kind, text in blocks:
        if kind == "python" and text not in mine:
            exec(compile(text, "docs/architecture.md", "exec"), {})
        for line in text.splitlines() if kind == "bash" else []:
            _, command, *arguments = shlex.split(line)
            done = idaq(command, *arguments, *small.get(command, []))
            assert done.code == 0, (line, done.err)
    assert Path("rewards.csv").read_text().count("\n") == 480
    del sys.modules["mine"]


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/releasing.md", ".github/workflows/ci.yml"])
def test_make_targets_that_are_named_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^[- ]*(?:run: )?)make ([a-z0-9-]+)", (CHECKOUT / page).read_text(), re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
