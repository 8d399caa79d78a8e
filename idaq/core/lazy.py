"""A package that is called like the function it is named for: `idaq.collect(recipe)` is `idaq.collect.collect.collect`.

Importing a subpackage binds its name in the package above, so that name cannot be a function of the public face too.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from idaq.core.extras import naming_extras


class CallablePackage(ModuleType):
    """Its module of the same name, which is imported when called, holds the function."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Raises MissingExtraError where the function's libraries are not installed."""
        name = self.__name__.rpartition(".")[2]
        with naming_extras():
            module = import_module(f"{self.__name__}.{name}")
        return getattr(module, name)(*arguments, **named)


def make_callable(package: str) -> None:
    """For a package's own `__init__.py`: make_callable(__name__)."""
    sys.modules[package].__class__ = CallablePackage
