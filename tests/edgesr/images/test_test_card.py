"""The drawn stand-in for photographs."""

import subprocess
import sys

import numpy as np
import pytest

from edgesr.images.test_card import draw_test_card

_DIGEST = (
    "import hashlib; from edgesr.images.test_card import draw_test_card; "
    "print(hashlib.sha256(draw_test_card(180, 120).tobytes()).hexdigest())"
)


def test_is_the_same_to_the_bit_in_another_process() -> None:
    import hashlib

    here = hashlib.sha256(draw_test_card(180, 120).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", _DIGEST], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert there == here


def test_does_not_depend_on_the_global_generator() -> None:
    np.random.seed(1)
    first = draw_test_card(60, 90)
    np.random.seed(2)
    assert np.array_equal(draw_test_card(60, 90), first)


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (1, 7), (5, 2), (33, 17), (360, 480)],
    ids=["pixel", "row", "tall", "odd", "usual"],
)
def test_any_size_is_drawn(height: int, width: int) -> None:
    card = draw_test_card(height, width)
    assert (card.shape, card.dtype) == ((height, width, 3), np.uint8)


def test_holds_what_calibration_needs() -> None:
    card = draw_test_card(360, 480)
    assert card.min() == 0
    assert card.max() == 255
    steps = np.abs(np.diff(card.astype(int), axis=1)).max(axis=2)
    assert (steps > 128).mean() > 0.01, "too few hard edges"
    assert ((steps > 0) & (steps < 8)).mean() > 0.2, "too little that is smooth"


def test_the_scene_has_amplitudes_that_fall_like_a_photograph() -> None:
    card = draw_test_card(720, 480)
    scene = card[360:, :160].mean(axis=2)
    spectrum = np.abs(np.fft.fft2(scene - scene.mean())) ** 2
    frequency = np.hypot(np.fft.fftfreq(360)[:, None], np.fft.fftfreq(160)[None, :])
    bands = [(0.02, 0.04), (0.04, 0.08), (0.08, 0.16), (0.16, 0.32)]
    power = [spectrum[(frequency >= low) & (frequency < high)].mean() for low, high in bands]
    slope = np.polyfit(np.log([low for low, _ in bands]), np.log(power), 1)[0]
    assert -3.5 < slope < -1.5, f"power falls as f^{slope:.2f}; photographs have about f^-2"
