"""The pictures that networks are measured on: the folder that a user names with --data."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.errors import PictureError

if TYPE_CHECKING:
    from edgesr.train.pictures import Pair


def pairs_in(data: Path, scale: int) -> "list[Pair]":
    """The pictures in both resolutions.

    Args:
        data: HR and LR folders, HR alone, pictures alone (LR is then made of them), or folders
            `x2`, `x3`, ... of such.
        scale: How many times as large HR is as LR.

    Raises:
        PictureError: There is no such folder, a picture is unreadable, or HR and LR do not match.
        SizeError: The scale is 1.
    """
    from edgesr.train.pictures import validation_pairs

    if not data.is_dir():
        raise PictureError(f"--data {data} is not a folder; name a folder of pictures")
    folder = data / f"x{scale}" if (data / f"x{scale}").is_dir() else data
    only_hr = (folder / "HR").is_dir() and not (folder / "LR").is_dir()
    return validation_pairs(folder / "HR" if only_hr else folder, scale)
