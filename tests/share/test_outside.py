"""What goes wrong in an importer, an exporter or a hub of a user's own is told in one error."""

from pathlib import Path
from typing import Any

import pytest

from idaq.core.errors import PluginError, ShareError
from idaq.hub.fetch import retry
from idaq.share.exporters import export
from idaq.share.importers import import_dataset

HERE = "tests.share.test_outside"


class Broken:
    """Reads and writes nothing."""

    description, ending, is_folder, takes_urls = "broken", ".broken", False, False

    def write(self, *_: Any) -> None:
        raise ValueError("my own mistake")

    def accepts(self, source: str) -> bool:
        return True

    def read(self, source: str, options: Any) -> Any:
        return {}["column"]


class Nothing(Broken):
    """Reads what is no import."""

    def read(self, source: str, options: Any) -> Any:
        return None


def test_a_broken_exporter_is_told_of(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ShareError, match=r"exporter .*:Broken: ValueError: my own mistake\n  - raised by write, line"):
        export(made, tmp_path / "out.broken", f"{HERE}:Broken")


@pytest.mark.parametrize(
    ("importer", "kind", "told"),
    [
        ("Broken", ShareError, "reading .*a.log: KeyError: 'column'\n  - raised by read, line"),
        ("Nothing", PluginError, "reading .*a.log gave None; an idaq.Import was expected"),
    ],
)
def test_a_broken_importer_is_told_of(tmp_path: Path, importer: str, kind: type[Exception], told: str) -> None:
    (tmp_path / "a.log").write_text("1")
    with pytest.raises(kind, match=told):
        import_dataset([tmp_path / "a.log"], "me/a/b-v0", importer=f"{HERE}:{importer}", root=tmp_path / "root")


def test_a_broken_hub_is_told_of() -> None:
    with pytest.raises(ShareError, match="the hub: KeyError: 'column'"):
        retry(lambda: {}["column"])  # type: ignore[misc]
