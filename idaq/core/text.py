"""Untrusted text, made safe to print."""


def printable(text: str) -> str:
    r"""`text` on one line: what controls a terminal, breaks the line or is invisible is written as an escape (`\x1b`).

    That is what `str.isprintable` says no to: control characters, line breaks, bidirectional overrides, zero-width
    characters, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def shorten(text: str, longest: int = 100) -> str:
    """The beginning of a long text, with what shows that there was more."""
    return text if len(text) <= longest else text[: longest - 3] + "..."
