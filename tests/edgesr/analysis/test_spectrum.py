"""Spectra, held against what is known of synthetic images."""

import numpy as np
import pytest

from edgesr.analysis.spectrum import (
    NYQUIST,
    decibels,
    high_share,
    power_spectrum,
    radial_frequency,
    radial_profile,
    windowed,
)

SIZES = [pytest.param((64, 48), id="even"), pytest.param((45, 63), id="odd")]


def wave(size: tuple[int, int], down: int, across: int) -> np.ndarray:
    """A cosine with so many periods down and across the image."""
    rows, columns = np.indices(size)
    return np.cos(2 * np.pi * (down * rows / size[0] + across * columns / size[1]))


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(size)


@pytest.mark.parametrize("size", SIZES)
def test_a_wave_is_two_points_opposite_each_other_about_the_middle(size: tuple[int, int]) -> None:
    power = power_spectrum(wave(size, 5, 9))
    middle = size[0] // 2, size[1] // 2
    places = {tuple(place) for place in np.argwhere(power > 1e-6 * power.max()).tolist()}
    assert places == {
        (middle[0] + 5, middle[1] + 9),
        (middle[0] - 5, middle[1] - 9),
    }
    assert radial_frequency(*size)[middle[0] + 5, middle[1] + 9] == pytest.approx(
        np.hypot(5 / size[0], 9 / size[1])
    )


@pytest.mark.parametrize("size", SIZES)
def test_the_power_adds_up_to_the_squares_of_the_image(size: tuple[int, int]) -> None:
    image = noise(*size)
    assert power_spectrum(image).sum() == pytest.approx(float((image**2).sum()), rel=1e-12)


def test_a_wave_peaks_in_the_ring_of_its_frequency() -> None:
    profile = radial_profile(power_spectrum(windowed(wave((128, 128), 0, 40))))
    assert profile.frequency[np.nanargmax(profile.power)] == pytest.approx(40 / 128, abs=1 / 128)


def test_white_noise_has_the_same_power_in_every_ring() -> None:
    profile = radial_profile(power_spectrum(noise(512, 512)), rings=16)
    assert profile.power == pytest.approx(np.ones(16), rel=0.1)
    assert (profile.frequency[0], profile.frequency[-1]) == (0.5 / 32, 15.5 / 32)


def test_rings_without_a_frequency_are_unknown_and_not_zero() -> None:
    profile = radial_profile(power_spectrum(noise(8, 8)), rings=32)
    assert np.isnan(profile.power).any()
    assert (profile.power[np.isfinite(profile.power)] > 0).all()


@pytest.mark.parametrize(
    ("across", "share"), [pytest.param(10, 0.0, id="low"), pytest.param(20, 1.0, id="high")]
)
def test_the_share_of_high_frequencies_begins_above_half_of_nyquists(
    across: int, share: float
) -> None:
    assert 20 / 64 > NYQUIST / 2 > 10 / 64
    assert high_share(power_spectrum(7 + wave((64, 64), 0, across))) == pytest.approx(share)


def test_the_share_of_two_waves_is_that_of_their_squares() -> None:
    both = 3 * wave((64, 64), 0, 10) + wave((64, 64), 0, 20)
    assert high_share(power_spectrum(both)) == pytest.approx(1 / 10)


def test_a_flat_map_has_no_high_frequencies() -> None:
    assert high_share(power_spectrum(np.zeros((16, 16)))) == 0.0


def test_the_window_keeps_a_slope_from_counting_as_high_frequencies() -> None:
    slope = np.indices((64, 64))[1] + 100.0
    assert high_share(power_spectrum(slope)) > 1e-2
    assert high_share(power_spectrum(windowed(slope))) < 1e-4


def test_the_window_leaves_no_zero_frequency() -> None:
    power = power_spectrum(windowed(noise(32, 40) + 50))
    assert power[16, 20] < 1e-12 * power.max()


def test_decibels_end_120_below_the_largest() -> None:
    assert decibels(np.array([100.0, 1.0, 0.0])).tolist() == pytest.approx([20, 0, -100])
    assert np.isfinite(decibels(np.zeros(3))).all()
