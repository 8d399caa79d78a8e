"""constraints.txt pins what is installed: every machine gets the same builds."""

import sysconfig
from importlib.metadata import Distribution, distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

CHECKOUT = Path(__file__).parents[1]
NOT_OURS = {"pip", "idaq"}


def _installed() -> list[Distribution]:
    """In this environment: what a library carries along for itself, as Ray does psutil, is its own affair."""
    return list(distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]))


def _pins() -> dict[str, Version]:
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert len(pairs) == len({canonicalize_name(name) for name, _ in pairs}), "a package is pinned twice"
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_everything_installed_is_pinned_at_its_version() -> None:
    found = {canonicalize_name(d.name): Version(d.version) for d in _installed()}
    installed = {name: Version(version.public) for name, version in found.items() if name not in NOT_OURS}
    pins = _pins()
    assert {name: str(version) for name, version in installed.items() if pins.get(name) != version} == {}


def test_every_pin_is_of_something_that_an_extra_brings() -> None:
    installed = {canonicalize_name(d.name) for d in _installed()}
    benches = {"jax", "jaxlib", "ml-dtypes", "opt-einsum"}  # of the extra `bench`
    assert set(_pins()) - installed <= benches


def test_every_pin_is_in_the_range_that_pyproject_states() -> None:
    pins = _pins()
    for stated in map(Requirement, requires("idaq") or ()):
        name = canonicalize_name(stated.name)
        if name in pins:
            assert stated.specifier.contains(pins[name]), str(stated)
        else:
            assert name in {"idaq", "gcsfs"}, f"{name} is not pinned"
