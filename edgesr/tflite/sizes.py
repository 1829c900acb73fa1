"""Sizes as users write them: always height before width."""

import re

from edgesr.errors import SizeError


def read_size(text: str, example: str) -> tuple[int, int]:
    """Read "HxW" as height and width, whatever their values.

    Args:
        text: What the user wrote.
        example: One that could be meant, for the message.

    Raises:
        SizeError: The text is not of that form.
    """
    match = re.fullmatch(r"\s*([+-]?\d{1,9})\s*[xX]\s*([+-]?\d{1,9})\s*", text)
    if match is None:
        raise SizeError(f"got size {text!r}, allowed HEIGHTxWIDTH in pixels, e.g. {example}")
    return int(match[1]), int(match[2])
