import shutil
import subprocess
import sys
from pathlib import Path

import idaq
from idaq.core.resources import resource_root

CHECKOUT = Path(idaq.__file__).parents[1]
PRINT = "from idaq.core.resources import resource_root; print(resource_root('datasets'))"


def _run(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PRINT], cwd=root, capture_output=True, text=True, check=False)


def test_the_catalogue_is_found_in_a_checkout() -> None:
    assert resource_root("datasets") == CHECKOUT / "datasets"
    assert list(resource_root("datasets").glob("*/*/recipe.toml"))


def test_the_catalogue_is_found_where_a_wheel_puts_it_and_missed_with_a_hint(tmp_path: Path) -> None:
    """A wheel maps datasets/ to idaq/datasets/; only core/ is needed to look for it."""
    for name in ("__init__.py", "core"):
        source, target = CHECKOUT / "idaq" / name, tmp_path / "idaq" / name
        target.parent.mkdir(exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    missing = _run(tmp_path)
    assert missing.returncode == 1
    assert "the datasets/ folder of idaq is missing" in missing.stderr
    assert "fix: reinstall: pip install --force-reinstall idaq" in missing.stderr
    (tmp_path / "idaq" / "datasets").mkdir()
    assert _run(tmp_path).stdout.strip() == str(tmp_path / "idaq" / "datasets")
