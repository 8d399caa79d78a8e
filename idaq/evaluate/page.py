"""Self-contained HTML pages: one style, figures inline, nothing fetched, nothing that runs."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from idaq.core.text import printable
from idaq.evaluate.style import GRID, INK, MUTED, PAPER, svg_text

_NEUTRALS = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}


def render(template: str, **values: object) -> str:
    """A page from one of the templates beside this file; every value is escaped, what hides in text made visible."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=_visible,
    )
    return environment.get_template(template).render(**values)


def _visible(value: object) -> object:
    """Text of ours keeps its line breaks; drawings stay as they are."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return "\n".join(map(printable, value.split("\n")))


def inline(figure: Figure | None, prefix: str) -> Markup | None:
    """The figure as an <svg> that takes the page's neutral colours and whose ids no other figure has."""
    if figure is None:
        return None
    svg = re.sub(r"<!--.*?-->", "", svg_text(figure), flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    for colour, variable in _NEUTRALS.items():
        svg = svg.replace(colour, variable)
    return Markup(svg)  # our own drawing: matplotlib escapes the text in it
