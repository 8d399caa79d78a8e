"""Self-contained HTML pages: one style, nothing fetched, and nothing runs but what the page itself holds.

Templates, styles and scripts are the files of `pages/`.
"""

import base64
import hashlib
import json
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from idaq.core.text import printable

_PAGES = Path(__file__).parent / "pages"
_ESCAPED = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}


def render(template: str, **values: object) -> str:
    """A page from one of the templates in `pages/`; every value is escaped, what hides in text made visible."""
    environment = Environment(
        loader=FileSystemLoader(_PAGES),
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


def source(*names: str) -> Markup:
    """Files of `pages/`, one after the other, as they stand in a <style> or a <script>."""
    return Markup("\n" + "".join((_PAGES / name).read_text(encoding="utf-8") for name in names))


def source_hash(text: str) -> str:
    """How a Content-Security-Policy names a <style> or a <script> of this text, which may then take effect."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def data_block(value: object) -> Markup:
    """Plain data as JSON that no HTML can end; what hides in its texts is made visible."""
    return Markup(json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).translate(_ESCAPED))


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {printable(str(name)): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return printable(value) if isinstance(value, str) else value
