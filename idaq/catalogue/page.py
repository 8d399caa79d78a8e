"""datasets/README.md and digests.txt: every dataset of the catalogue, and the command that makes it again."""

from pathlib import Path

from idaq.catalogue.suite import DATA, SetData, SuiteData, read_suite
from idaq.core.files import write_text
from idaq.core.resources import resource_root
from idaq.evaluate.markdown import percent, table
from idaq.evaluate.protocol import number

CONFORMANCE, DIGESTS = "interop.md", "digests.txt"
_HEAD = """# The catalogue

Every dataset below was collected from the recipe in its folder; the command makes it again, to the same content digest
on [processors that round alike](../docs/concepts/determinism.md#another-processor) (its first twelve characters stand
here; [digests.txt](digests.txt) holds them whole, for `idaq hub pull ID HUB --expect DIGEST`). Returns are those of
the collected episodes. `idaq collect --help` tells of other qualities, and of settings that make other datasets. This
page is generated from the folders' data.json by `idaq reproduce`.
"""


def catalogue_page(folder: Path) -> str:
    """Markdown from every data.json below `folder`, and what its interop.md says of other libraries."""
    rows = [_row(facts, entry) for entry, facts in _sets(folder)]
    parts = [_HEAD, table(["dataset", "tasks", "episodes", "MB", "return", "success", "digest", "made by"], rows)]
    conformance = folder / CONFORMANCE
    if conformance.exists():
        parts.append(conformance.read_text(encoding="utf-8"))
    return "\n".join(parts)


def catalogue_digests(folder: Path) -> str:
    """A line for each dataset, digest and id, as sha256sum prints them."""
    return "".join(f"{facts.content_digest}  {facts.dataset_id}\n" for _, facts in _sets(folder))


def write_catalogue_page(folder: Path) -> None:
    """Replace README.md and digests.txt of the catalogue."""
    write_text(folder / "README.md", catalogue_page(folder))
    write_text(folder / DIGESTS, catalogue_digests(folder))


def _sets(folder: Path) -> list[tuple[Path, SetData]]:
    """Every dataset of the catalogue and its folder."""
    documents = [(path.parent, read_suite(SuiteData, path).sets) for path in sorted(folder.glob(f"*/*/{DATA}"))]
    return [(entry, facts) for entry, sets in documents for facts in sets.values()]


def _row(facts: SetData, folder: Path) -> list[str]:
    quality = "" if folder.name == "expert" else f" --quality {folder.name}"
    settings = "".join(f" --set {setting}" for setting in facts.settings)
    return [
        f"[{facts.dataset_id}]({folder.parent.name}/{folder.name}/recipe.toml)",
        str(facts.tasks),
        str(facts.episodes),
        f"{facts.size / 1e6:.1f}",
        f"{number(facts.mean)} ± {number(facts.std)}",
        percent(facts.success),
        facts.content_digest[:12],
        f"`idaq collect {facts.family}{quality}{settings}`",
    ]


if __name__ == "__main__":
    write_catalogue_page(resource_root("datasets"))
