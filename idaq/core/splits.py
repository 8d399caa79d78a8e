"""How splits of tasks are named where they are read: one name, or several joined by `+`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from idaq.core.errors import UsageError
from idaq.core.types import SLUG


def split_names(text: str) -> tuple[str, ...]:
    """The splits that `train+val` names, in that order. Raises UsageError for no name or the same name twice."""
    names = tuple(text.split("+"))
    if "" in names or len(set(names)) < len(names):
        said = "a name is missing" if "" in names else "a name stands twice"
        raise UsageError(f"split {text!r}: {said}", hint="names joined by +, each once, for example train+val")
    return names


def _each_once(text: str) -> str:
    try:
        split_names(text)
    except UsageError as error:
        raise ValueError(f"{error.message}: {error.hint}") from None
    return text


SplitNames = Annotated[str, Field(pattern=f"^{SLUG}(?:\\+{SLUG})*$"), AfterValidator(_each_once)]
"""A split, or several joined by `+`: the tasks of any of them."""
