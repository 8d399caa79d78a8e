"""What plain Minari does with a dataset: whether it opens it, and whose code its `recover_environment` would run."""

import json
import re
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from idaq.core.extras import optional
from idaq.format import layout
from idaq.format.gym_spaces import leaf_spaces
from idaq.format.reader import StoredDataset

if TYPE_CHECKING:
    from minari import MinariDataset

_KNOWN = re.compile(r"(idaq\.tasks|gymnasium\.(envs|wrappers)|metaworld)(\.\w+)*:[A-Z]\w*", re.ASCII)
"""classes of environments and wrappers; a function, as Gymnasium's own loader, could be made to import anything"""


class _NoPillow:
    """In the place of `PIL.Image`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(optional("PIL.Image"), name)


def open_minari(data: Path) -> "MinariDataset":
    """The dataset in a `data` folder, as plain Minari opens it; raises whatever Minari raises.

    Minari's HDF5 storage imports Pillow, for images in JPEG alone. Where Pillow is not installed a stand-in lets the
    import pass, and such an image raises MissingExtraError.
    """
    from minari import MinariDataset  # half a second

    if find_spec("PIL") is not None:
        return MinariDataset(data)
    stand_in: Any = ModuleType("PIL")
    stand_in.Image = _NoPillow()
    sys.modules["PIL"] = stand_in
    try:
        return MinariDataset(data)
    finally:
        del sys.modules["PIL"]


def minari_refusal(stored: StoredDataset) -> str | None:
    """Why Minari cannot open a dataset whose spaces are known, or read its episodes; None if it can.

    A dataset without spaces must not come here: Minari would make the environment, and run its code, to know them.
    """
    from minari.dataset.minari_storage import is_image_space  # half a second

    try:
        with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
            dataset = open_minari(layout.data_folder(stored.path))
            spaces = [*leaf_spaces(dataset.observation_space).values(), dataset.action_space]
            encoded = dataset.storage.jpeg_encoding and any(map(is_image_space, spaces))
    except Exception as error:  # what is no dataset leads Minari and Gymnasium to errors of any kind
        return f"plain Minari cannot open it: {type(error).__name__}: {ascii(str(error))[1:-1][:300]}"
    return "plain Minari would take its images for JPEG files: jpeg_encoding is true" if encoded else None


def unknown_entry_points(stored: StoredDataset) -> list[str]:
    """A warning for each `module:attribute` in the documents that is of no known package. idaq imports none."""
    found = {*_of_specs(stored.metadata), *(task.env.entry_point for task in stored.tasks if task.env.entry_point)}
    return [
        f"names code: {ascii(entry)[1:-1][:200]}: recover_environment() would import and run it; idaq does not"
        for entry in sorted(found)
        if not _KNOWN.fullmatch(entry)
    ]


def _of_specs(metadata: dict[str, Any]) -> Iterator[str]:
    """Entry points of the environments' specifications, wrappers included; and modules that stand before an id."""
    for name in ("env_spec", "eval_env_spec"):
        try:
            spec = json.loads(metadata[name])
            wrappers = [wrapper["entry_point"] for wrapper in spec.get("additional_wrappers") or ()]
            entries = [spec.get("entry_point"), spec.get("vector_entry_point"), *wrappers]
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            continue  # absent, or nothing that Minari could make an environment of
        yield from (str(entry) for entry in entries if entry)
        if ":" in str(spec.get("id")):
            yield str(spec["id"])
