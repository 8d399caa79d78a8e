"""Finds `datasets/` (the catalogue) and `schemas/`, in an installed wheel and in a checkout alike."""

from pathlib import Path
from typing import Literal

import idaq
from idaq.core.errors import IdaqError


def resource_root(kind: Literal["datasets", "schemas"]) -> Path:
    """The folder of a resource: inside the package when installed from a wheel, beside it in a checkout.

    Raises IdaqError if there is neither.
    """
    package = Path(idaq.__file__).parent
    for candidate in (package / kind, package.parent / kind):
        if candidate.is_dir():
            return candidate
    raise IdaqError(f"the {kind}/ folder of idaq is missing", hint="reinstall: pip install --force-reinstall idaq")
