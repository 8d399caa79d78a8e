"""How figures look: one palette, one blank figure, one way to a file. Object-oriented matplotlib, no pyplot state.

Colours are those of Okabe and Ito, which people with any colour vision tell apart, the light ones darkened until they
read on white; lines differ in marker too, and text is never in a line's colour. Each colour is used for one purpose, so
that the report can turn them into its own light or dark ones.
"""

import io
import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure

from idaq.core.errors import UsageError
from idaq.core.files import replacing
from idaq.evaluate.page import source

P = ParamSpec("P")
T = TypeVar("T")

INK, MUTED, GRID, PAPER = "#1c2127", "#6a7380", "#dfe3e8", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#0072b2", "#c08400", "#009e73", "#d55e00"
PURPLE, SKY, OLIVE = "#cc79a7", "#2f97d3", "#8f8300"
BROWN, PLUM, TEAL = "#7a4a2b", "#7b3a8c", "#1b7f79"
PALETTE = (BLUE, SKY, PURPLE, RED, GREEN, ORANGE, OLIVE, BROWN, PLUM, TEAL)
PAGE_COLOURS = {
    "ink": INK, "muted": MUTED, "grid": GRID, "paper": PAPER, "blue": BLUE, "orange": ORANGE, "green": GREEN,
    "red": RED, "purple": PURPLE, "sky": SKY, "olive": OLIVE, "brown": BROWN, "plum": PLUM, "teal": TEAL,
}  # fmt: skip
"""by the names that pages have for them; a page in the dark has others under the same names"""
SUFFIXES = (".png", ".svg")
MARKERS = "osD^vPX<>*"
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.06,
    "legend.fontsize": 9,
    "text.parse_math": False,  # names come from documents: a $ in one is a dollar sign
    "svg.hashsalt": "idaq",  # the same figure, the same bytes
    "svg.fonttype": "path",
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Decorator: draw in our style, leaving matplotlib's settings as they were."""

    @wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> T:
        with matplotlib.rc_context(_RC):
            return draw(*args, **kwargs)

    return in_style


def blank(width: float = 7.2, height: float = 4.6) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def entitle(axes: Axes, title: str, subtitle: str) -> None:
    """A bold title, and below it what the figure is of."""
    axes.set_title(title, pad=24)
    axes.annotate(
        subtitle, (0, 1), (0, 10), xycoords="axes fraction", textcoords="offset points", fontsize=9.5, color=MUTED
    )


def sequence() -> Colormap:
    """Colours for an order or a quantity, dark to light; the ends that vanish on black or white are left out."""
    colours = matplotlib.colormaps["viridis"]
    return LinearSegmentedColormap.from_list("sequence", [colours(0.2 + 0.68 * i / 15) for i in range(16)])


def shown(text: str) -> str:
    """A name from a document as the figures' font can show it."""
    plain = "".join(c if c.isascii() and c.isprintable() else "?" for c in text)
    return plain if len(plain) <= 60 else plain[:57] + "..."


def svg_text(figure: Figure) -> str:
    """The figure as an <svg> element, the same for the same data."""
    buffer = io.StringIO()
    _write(figure, buffer, "svg")
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def inline(figure: Figure | None, prefix: str) -> Markup | None:
    """The figure as an <svg> that takes the page's colours and whose ids no other figure has."""
    if figure is None:
        return None
    svg = re.sub(r"<!--.*?-->", "", svg_text(figure), flags=re.DOTALL)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    for name, colour in PAGE_COLOURS.items():
        svg = svg.replace(colour, f"var(--{name})")
    return Markup(svg)  # our own drawing: matplotlib escapes the text in it


def standalone(figure: Figure, about: str) -> str:
    """The figure as an SVG file, light or dark as its reader's screen is; `about` says in words what it holds."""
    colours = source("page.css").partition("* {")[0]
    svg = inline(figure, "") or ""
    head, ended, body = svg.partition(">")
    described = f"<desc>{escape(about)}</desc><style>{colours}</style>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}{ended}{described}{body}'


def save(figure: Figure, path: Path) -> None:
    """Write a PNG or SVG by suffix, atomically. Raises UsageError for another suffix."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: figures are written as {' or '.join(SUFFIXES)}, not {suffix or 'without a suffix'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        _write(figure, temporary, suffix[1:])


@styled
def _write(figure: Figure, target: Path | io.StringIO, kind: str) -> None:
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None} if kind == "svg" else {"Software": None}
    figure.savefig(target, format=kind, dpi=160, metadata=nothing)
