"""Cuts of the last row and column are counted from the end, so that the file fits every size."""

import numpy as np
import pytest

from converters.tflite.borders import count_from_the_end
from edgesr.tflite.resize import fits_any_size
from helpers.tflite_builder import TfliteBuilder, options


def _padded(begin: int, end: int, *, joined: bool = True) -> bytes:
    """The last column, or another, behind an image of 8 x 12."""
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 13, 3], name="hr")
    column = made.tensor([1, 8, 1, 3])
    bounds = ([0, 0, begin, 0], [0, 0, end, 0], [1, 1, 1, 1])
    constants = [made.constant(np.array(v, np.int32)) for v in bounds]
    masks = options("StridedSliceOptions", beginMask=11, endMask=11)
    made.operator("STRIDED_SLICE", [lr, *constants], [column], masks)
    if not joined:
        made.operator("ADD", [lr, column], [lr_sum := made.tensor([1, 8, 12, 3])], None)
        return made.finish([lr], [lr_sum])
    made.operator("CONCATENATION", [lr, column], [hr], options("ConcatenationOptions", axis=2))
    return made.finish([lr], [hr])


@pytest.mark.parametrize("end", [12, 2**31 - 1], ids=["its number", "endless"])
def test_the_last_column_is_counted_from_the_end(end: int) -> None:
    content = _padded(11, end)
    assert not fits_any_size(content)
    changed = count_from_the_end(content)
    assert fits_any_size(changed)
    assert count_from_the_end(changed) == changed


@pytest.mark.parametrize(
    ("begin", "end", "joined"),
    [(10, 11, True), (11, 12, False)],
    ids=["another column", "not joined to its image"],
)
def test_other_cuts_stay_as_they_are(begin: int, end: int, joined: bool) -> None:
    content = _padded(begin, end, joined=joined)
    assert count_from_the_end(content) == content
