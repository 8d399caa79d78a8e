"""Libraries that idaq is installed without, unless an extra asks for them: what needs each, and what installs it.

with naming_extras():
    import zarr         # MissingExtraError: "the Zarr form needs zarr", fix: pip install 'idaq[zarr]'
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from idaq.core.errors import MissingExtraError

_NEEDS = {
    "torch": ("training and adapting need PyTorch", "'idaq[train]'"),
    "metaworld": ("ml1, ml10 and ml45 need Meta-World", "'idaq[ml1]'"),
    "mujoco": ("bodies that run need MuJoCo", "'idaq[bodies]'"),
    "imageio": ("pictures of MuJoCo need ImageIO", "'idaq[bodies]'"),
    "matplotlib": ("figures need Matplotlib", "'idaq[plots]'"),
    "scipy": ("figures need SciPy", "'idaq[plots]'"),
    "PIL": ("images and films need Pillow", "'idaq[plots]'"),
    "jinja2": ("reports need Jinja", "'idaq[plots]'"),
    "huggingface_hub": ("hf:// hubs need huggingface_hub", "'idaq[hub]'"),
    "httpx2": ("hf:// and https:// hubs need httpx2", "'idaq[hub]'"),
    "zarr": ("the Zarr form needs zarr", "'idaq[zarr]'"),
    "numcodecs": ("the Zarr form needs numcodecs", "'idaq[zarr]'"),
    "google_crc32c": ("the Zarr form needs google-crc32c", "'idaq[zarr]'"),
    "mlcroissant": ("Croissant files, which every push carries, need mlcroissant", "'idaq[croissant]'"),
    "onnx": ("writing ONNX needs onnx", "'idaq[onnx]'"),
    "fastapi": ("serving a policy needs FastAPI", "'idaq[serve]'"),
    "uvicorn": ("serving a policy needs Uvicorn", "'idaq[serve]'"),
    "s3fs": ("s3:// needs s3fs", "'idaq[s3]'"),
    "gcsfs": ("gs:// needs gcsfs", "'idaq[gs]'"),
    "aiohttp": ("Zarr over https:// needs aiohttp", "'idaq[http]'"),
    "ray": ("the ray executor needs Ray", "'idaq[ray]'"),
    "tensorboard": ("--log tensorboard needs TensorBoard", "'idaq[tensorboard]'"),
    "wandb": ("--log wandb needs wandb", "'idaq[wandb]'"),
    "stable_baselines3": ("training a behaviour policy needs Stable-Baselines3", "'idaq[behaviors]'"),
    "d3rlpy": ("this conversion needs d3rlpy", "d3rlpy"),
    "tensordict": ("this conversion needs TensorDict", "torchrl"),
    "torchrl": ("this conversion needs TorchRL", "torchrl"),
    "amago": ("this conversion needs AMAGO", "amago, from its repository (github.com/UT-Austin-RPL/amago)"),
    "jax": ("this conversion needs JAX", "jax"),
    "flashbax": ("this conversion needs Flashbax", "flashbax"),
    "tensorflow": ("RLDS needs TensorFlow", "tensorflow-cpu"),
    "tensorflow_datasets": ("RLDS needs TensorFlow Datasets", "tensorflow-datasets"),
}
"""by the module's name: the sentence of the error, and what pip installs"""


@contextmanager
def naming_extras() -> Generator[None]:
    """Within this block a missing optional library raises MissingExtraError, which says what to install.

    Where the library is there and something that it needs itself is not, the ImportError is left as it is. fsspec
    raises an ImportError of its own, whose cause names the library.
    """
    try:
        yield
    except ImportError as error:
        names = [found.name for found in (error, error.__cause__) if isinstance(found, ModuleNotFoundError)]
        name = "".join(str(name) for name in names[:1]).partition(".")[0]
        missing = None if sys.modules.get(name) is not None else missing_extra(name)
        if missing is None:
            raise
        raise missing from None


def missing_extra(module: str) -> MissingExtraError | None:
    """The error for an optional library, by the name of its module; None for any other library."""
    if module not in _NEEDS:
        return None
    sentence, install = _NEEDS[module]
    return MissingExtraError(sentence, hint=f"pip install {install}")


def optional(module: str) -> Any:
    """Import a library that type checkers need not find. Raises MissingExtraError."""
    with naming_extras():
        return import_module(module)
