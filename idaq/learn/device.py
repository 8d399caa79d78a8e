"""Which devices networks can be on, here."""

import torch

from idaq.core.errors import UsageError


def devices() -> list[str]:
    """Names of what this machine has: cpu, cuda and each cuda:N, mps."""
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *(["cuda", *cuda] if cuda else []), *(["mps"] if torch.backends.mps.is_available() else [])]


def check_device(name: str | None) -> str:
    """A device by its name; without one, CUDA when present, else the CPU. Raises UsageError that says what is here."""
    known = devices()
    if name is None:
        return "cuda" if "cuda" in known else "cpu"
    if name not in known:
        raise UsageError(f"there is no device {name!r} here", hint=f"--device {' or '.join(known)}")
    return name
