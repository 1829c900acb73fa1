"""Text that comes out of files, made fit for a terminal."""


def printable(text: str) -> str:
    r"""Replace every character that a terminal would obey instead of showing.

    Escape sequences, line breaks, bidirectional controls and lone surrogates in a name out of a
    checkpoint, a record or a file system would move the cursor, forge a line, or turn one around.

    Returns:
        One line, each such character written as Python escapes it: `\x1b`, `\u202e`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def shorten(text: str, longest: int = 80) -> str:
    """Cut a text out of a file to what a message can hold."""
    return text if len(text) <= longest else f"{text[:longest]}..."


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")
