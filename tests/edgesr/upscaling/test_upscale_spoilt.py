"""Results that cannot be right are errors, and no honest image raises the alarm."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from edgesr.errors import ImageError
from edgesr.images.files import ImageData
from edgesr.runtime.session import Backend, Float32Array
from edgesr.tflite.facts import Facts
from edgesr.upscaling.output_checks import check_values, remedy_for
from edgesr.upscaling.tiling import Overlap
from edgesr.upscaling.upscaler import Upscaler
from helpers.small_net import SmallNet
from helpers.upscaling import Pixels, noise


class _Broken:
    """A network whose result is spoilt on its way."""

    def __init__(self, spoil: Callable[[Float32Array], None]) -> None:
        self._runner = SmallNet().runner(40, 40)
        self._spoil = spoil
        self.shape = self._runner.shape

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        result = self._runner.run(lr_nhwc)
        self._spoil(result)
        return result


def _one(value: float) -> Callable[[Float32Array], None]:
    def spoil(result: Float32Array) -> None:
        result[0, 37, 41, 1] = value

    return spoil


def _times(factor: float) -> Callable[[Float32Array], None]:
    def spoil(result: Float32Array) -> None:
        result *= factor

    return spoil


_SPOILT: dict[str, tuple[Callable[[Float32Array], None], str]] = {
    "one NaN": (_one(np.nan), "NaN or infinity"),
    "one infinity": (_one(np.inf), "NaN or infinity"),
    "one negative infinity": (_one(-np.inf), "NaN or infinity"),
    "one huge value": (_one(3e38), "values from .* to 3e.38"),
    "range 0-255": (_times(255), "values from .* allowed -8 to 9"),
    "black": (_times(0), r"black: mean 0\.0 of 255"),
    "almost black": (_times(0.02), r"black: mean [12]\.\d of 255"),
    "negative": (_times(-1), r"black: mean \d\.\d of 255"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("case", list(_SPOILT))
def test_a_spoilt_result_is_an_error(case: str, channels: int, dtype: type) -> None:
    spoil, message = _SPOILT[case]
    with pytest.raises(ImageError, match=message) as caught:
        Upscaler(_Broken(spoil), Overlap(2)).upscale(ImageData(noise(40, 40, channels, dtype)))
    assert "\n" not in str(caught.value)
    assert "try --backend cpu" in str(caught.value)


@pytest.mark.parametrize(
    ("backend", "precision", "remedies"),
    [
        (Backend.GPU, "fp16", {"--backend cpu", "--fp32"}),
        (Backend.CPU_FP16, "fp32", {"--backend cpu"}),
        (Backend.CPU, "fp16", {"--fp32"}),
        (Backend.CPU, "fp32", set[str]()),
        (Backend.CPU, None, {"--fp32"}),
    ],
)
def test_no_remedy_is_given_that_was_used_already(
    backend: Backend, precision: str | None, remedies: set[str]
) -> None:
    facts = None
    if precision:
        facts = Facts.model_validate(SmallNet().facts() | {"precision": precision})
    remedy = remedy_for(backend, facts)
    assert {word for word in ("--backend cpu", "--fp32") if word in remedy} == remedies
    assert remedy
    with pytest.raises(ImageError, match=re.escape(remedy)):
        check_values(np.full((2, 2, 3), np.nan, np.float32), remedy)


def test_one_black_tile_among_good_ones_is_an_error() -> None:
    runs: list[int] = []

    def spoil(result: Float32Array) -> None:
        runs.append(0)
        if len(runs) == 3:
            result[:] = 0

    with pytest.raises(ImageError, match="the tile at rows from 38, columns from 0 black"):
        Upscaler(_Broken(spoil), Overlap(2)).upscale(ImageData(noise(70, 70)))


@pytest.mark.parametrize("size", [(1, 1), (2, 31), (31, 1)])
def test_a_tiny_image_turned_black_is_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="makes the image black"):
        Upscaler(_Broken(_times(0)), Overlap(2)).upscale(
            ImageData(np.full((*size, 3), 90, np.uint8))
        )


def _night_sky() -> Pixels:
    sky = np.zeros((90, 90, 3), np.uint8)
    sky[::13, ::17] = 255
    return sky


def _bright_corner() -> Pixels:
    image = np.zeros((90, 90, 3), np.uint8)
    image[:30, :30] = 255
    return image


_HONEST: dict[str, Pixels] = {
    "black": np.zeros((90, 90, 3), np.uint8),
    "nearly black": np.full((90, 90, 3), 2, np.uint8),
    "dark": np.full((90, 90, 3), 12, np.uint8),
    "white": np.full((90, 90, 3), 255, np.uint8),
    "night sky": _night_sky(),
    "bright corner": _bright_corner(),
    "one black pixel": np.zeros((1, 1, 3), np.uint8),
    "one dark pixel": np.full((1, 1, 3), 10, np.uint8),
    "checkerboard": 255 * (np.indices((90, 90, 1)).sum(axis=0) % 2).repeat(3, axis=2),
    "red only": np.full((90, 90, 3), (40, 0, 0), np.uint8),
    "sliver beside an edge": np.full((90, 41, 3), 255, np.uint8) * (np.arange(41) < 40)[:, None],
}


@pytest.mark.parametrize("detail", [0.02, 0.1])
@pytest.mark.parametrize("case", list(_HONEST))
def test_no_honest_image_raises_the_alarm(case: str, detail: float) -> None:
    net = SmallNet(2, 2, detail)
    result = Upscaler(net.runner(40, 40), Overlap(2)).upscale(
        ImageData(_HONEST[case].astype(np.uint8))
    )
    assert result.height == 2 * _HONEST[case].shape[0]


def test_the_undershoot_beside_an_edge_may_fill_a_sliver_with_black() -> None:
    """The last tile keeps one grey column beside white, and the network makes it black."""
    pixels = np.full((90, 41, 3), 255, np.uint8)
    pixels[:, 40] = 60

    def spoil(result: Float32Array) -> None:
        result[0, :, 78:] = 0

    upscaler = Upscaler(_Broken(spoil), Overlap(2))
    assert upscaler.upscale(ImageData(pixels)).pixels_hwc[:, 80:].max() < 100
