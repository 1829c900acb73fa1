"""PSNR on Y as the super-resolution literature measures it."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesr.errors import ImageError, SizeError
from edgesr.images.metrics import luma, psnr_y, ssim_y

Uint8Array = NDArray[np.uint8]


def plain_colour(height: int, width: int, *rgb: int) -> Uint8Array:
    return np.broadcast_to(np.array(rgb, np.uint8), (height, width, 3)).copy()


def noise(seed: int, height: int, width: int) -> Uint8Array:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class TestLuma:
    @pytest.mark.parametrize(
        ("rgb", "expected"),
        [
            pytest.param((0, 0, 0), 16, id="black"),
            pytest.param((255, 255, 255), 235, id="white"),
            # 16 + 65.481, 16 + 128.553, 16 + 24.966, rounded: rgb2ycbcr's values.
            pytest.param((255, 0, 0), 81, id="red"),
            pytest.param((0, 255, 0), 145, id="green"),
            pytest.param((0, 0, 255), 41, id="blue"),
            pytest.param((128, 128, 128), 126, id="grey"),
        ],
    )
    def test_known_colours(self, rgb: tuple[int, int, int], expected: int) -> None:
        assert luma(plain_colour(1, 1, *rgb)).tolist() == [[expected]]

    def test_agrees_with_scikit_image_before_rounding(self) -> None:
        color = pytest.importorskip("skimage.color")
        image = noise(0, 50, 60)
        expected = color.rgb2ycbcr(image)[..., 0]
        assert np.abs(luma(image) - expected).max() <= 0.5 + 1e-9

    @pytest.mark.parametrize(
        "array",
        [
            pytest.param(np.zeros((4, 4, 3), np.float32), id="float"),
            pytest.param(np.zeros((4, 4, 3), np.uint16), id="16-bit"),
            pytest.param(np.zeros((4, 4, 4), np.uint8), id="four-channels"),
            pytest.param(np.zeros((4, 4), np.uint8), id="grey"),
        ],
    )
    def test_anything_but_8_bit_rgb_is_refused(self, array: Uint8Array) -> None:
        with pytest.raises(ImageError, match="allowed uint8 of height x width x 3"):
            luma(array)


class TestPsnrY:
    def test_equal_images_are_infinitely_alike(self) -> None:
        assert psnr_y(noise(0, 9, 9), noise(0, 9, 9), shave=2) == math.inf

    def test_one_level_of_luma_everywhere(self) -> None:
        # Luma 126 and 127: a mean square of 1.
        a, b = plain_colour(8, 8, 128, 128, 128), plain_colour(8, 8, 129, 129, 129)
        assert psnr_y(a, b, shave=0) == pytest.approx(20 * math.log10(255))

    def test_black_against_white_has_the_peak_255_not_the_range_of_luma(self) -> None:
        a, b = plain_colour(8, 8, 0, 0, 0), plain_colour(8, 8, 255, 255, 255)
        assert psnr_y(a, b, shave=0) == pytest.approx(20 * math.log10(255 / 219))

    def test_shaved_pixels_do_not_count(self) -> None:
        a = noise(0, 12, 10)
        b = a.copy()
        b[2:-2, 2:-2, 0] ^= 64
        framed = np.full_like(b, 255)
        framed[2:-2, 2:-2] = b[2:-2, 2:-2]
        assert psnr_y(a, framed, shave=2) == psnr_y(a, b, shave=2)
        assert psnr_y(a, framed, shave=1) < psnr_y(a, b, shave=1)

    @given(st.integers(0, 2**32 - 1), st.integers(5, 12), st.integers(5, 12), st.integers(0, 2))
    def test_is_symmetric_and_that_of_the_shaved_crops(
        self, seed: int, height: int, width: int, shave: int
    ) -> None:
        a, b = noise(seed, height, width), noise(seed + 1, height, width)
        crop = slice(shave, height - shave), slice(shave, width - shave)
        assert psnr_y(a, b, shave) == psnr_y(b, a, shave) == psnr_y(a[crop], b[crop], 0)

    def test_different_sizes_are_refused(self) -> None:
        with pytest.raises(SizeError, match="got images of 8x8 and 8x9, allowed equal sizes"):
            psnr_y(noise(0, 8, 8), noise(0, 8, 9), shave=0)

    @pytest.mark.parametrize("shave", [-1, 4, 9])
    def test_a_shave_that_leaves_nothing_is_refused(self, shave: int) -> None:
        with pytest.raises(SizeError, match=rf"got shave {shave} .* 8x9, allowed 0 to 3"):
            psnr_y(noise(0, 8, 9), noise(0, 8, 9), shave)


class TestSsimY:
    @pytest.mark.parametrize("shave", [0, 2, 4])
    @pytest.mark.parametrize("strength", [1, 8, 64, 255], ids=lambda s: f"levels{s}")
    def test_agrees_with_scikit_image(self, strength: int, shave: int) -> None:
        metrics = pytest.importorskip("skimage.metrics")
        a = noise(0, 40, 33)
        b = (a.astype(int) + noise(1, 40, 33).astype(int) % (strength + 1) - strength // 2).clip(
            0, 255
        )
        b = b.astype(np.uint8)
        inside = slice(shave, 40 - shave), slice(shave, 33 - shave)
        expected = metrics.structural_similarity(
            luma(a)[inside], luma(b)[inside], data_range=255, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )  # fmt: skip
        assert abs(ssim_y(a, b, shave) - expected) <= 1e-12

    def test_equal_images_have_1(self) -> None:
        assert ssim_y(noise(0, 15, 15), noise(0, 15, 15), shave=2) == pytest.approx(1, abs=1e-12)

    def test_two_plain_greys_differ_in_brightness_alone(self) -> None:
        # Luma 16 and 235: 2 x 16 x 235 over 16^2 + 235^2, with the constant in both.
        constant = (0.01 * 255) ** 2
        a, b = plain_colour(11, 11, 0, 0, 0), plain_colour(11, 11, 255, 255, 255)
        expected = (2 * 16 * 235 + constant) / (16**2 + 235**2 + constant)
        assert ssim_y(a, b, shave=0) == pytest.approx(expected, abs=1e-12)

    def test_different_sizes_are_refused(self) -> None:
        with pytest.raises(SizeError, match="allowed equal sizes"):
            ssim_y(noise(0, 20, 20), noise(0, 20, 21), shave=0)

    @pytest.mark.parametrize(
        ("height", "shave", "allowed"),
        [(15, 3, "0 to 2"), (15, -1, "0 to 2"), (10, 0, "none: 11x11 pixels are needed")],
        ids=["too much", "negative", "too small an image"],
    )
    def test_less_than_a_window_is_refused(self, height: int, shave: int, allowed: str) -> None:
        with pytest.raises(SizeError, match=rf"got shave {shave} .* allowed {allowed}"):
            ssim_y(noise(0, height, 30), noise(0, height, 30), shave)


def test_needs_no_torch() -> None:
    heavy = "{'torch', 'scipy', 'PIL'}"
    code = f"import sys, edgesr.images.metrics; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
