"""Upscaling pictures: equal to the whole picture in one run, alpha, and results that cannot be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgesr.errors import PictureError, SizeError
from edgesr.images import Picture
from edgesr.overlap import StatedFacts, choose_overlap, stated_facts
from edgesr.runtime import Float32Array, ModelShape, open_model
from edgesr.tiling import Overlap
from edgesr.upscale import Upscaler, fill_transparent
from helpers.small_net import SmallNet

Pixels = NDArray[np.uint8 | np.uint16]
_ROUNDING = 0.5 + 1e-3  # grey levels; float32 may fall on the other side of a half


def _noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> Pixels:
    peak = int(np.iinfo(dtype).max)
    shape = (height, width, channels)
    return np.random.RandomState(3).randint(0, peak + 1, shape).astype(dtype)


def _assert_rounded(got: Pixels, exact: Float32Array) -> None:
    """Equal to the exact values in [0, 1], clipped and rounded."""
    wanted = exact.clip(0, 1).astype(np.float64) * np.iinfo(got.dtype).max
    error = np.abs(got - wanted)
    place = np.unravel_index(error.argmax(), error.shape)
    # 16 bits are finer than float32's error in the network.
    limit = _ROUNDING if got.dtype == np.uint8 else 1.0
    assert error.max() <= limit, f"off by {error.max():.3f} grey levels at {place} of {got.shape}"


@given(data=st.data())
def test_equals_the_whole_picture_in_one_run(data: st.DataObject) -> None:
    net = SmallNet(data.draw(st.integers(1, 4), "scale"), data.draw(st.integers(1, 3), "radius"))
    side = st.integers(2 * net.radius + 1, 20)
    shape = ModelShape(data.draw(side, "tile rows"), data.draw(side, "tile columns"), net.scale)
    pixels = _noise(data.draw(st.integers(1, 50), "rows"), data.draw(st.integers(1, 50), "columns"))
    upscaler = Upscaler(net.runner(shape.height, shape.width), Overlap(net.radius))
    got = upscaler.upscale(Picture(pixels)).pixels_hwc
    _assert_rounded(got, net.expected(pixels, shape))


def test_16_bits_stay_16_bits() -> None:
    net = SmallNet()
    pixels = _noise(23, 31, dtype=np.uint16)
    got = Upscaler(net.runner(12, 16), Overlap(net.radius)).upscale(Picture(pixels)).pixels_hwc
    assert got.dtype == np.uint16
    _assert_rounded(got, net.expected(pixels, ModelShape(12, 16, 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_is_the_mean_of_what_three_equal_channels_give(dtype: type) -> None:
    net = SmallNet(3)
    grey = _noise(15, 9, 1, dtype)
    got = Upscaler(net.runner(10, 10), Overlap(net.radius)).upscale(Picture(grey)).pixels_hwc
    assert got.shape == (45, 27, 1)
    exact = net.expected(np.repeat(grey, 3, axis=2), ModelShape(10, 10, 3))
    _assert_rounded(got, exact.mean(axis=2, keepdims=True))


def test_alpha_goes_through_the_network_as_grey() -> None:
    net, shape = SmallNet(), ModelShape(12, 12, 2)
    pixels = _noise(20, 14, 4)
    pixels[..., 3] |= 1  # nothing is fully transparent: no colour is filled
    got = Upscaler(net.runner(12, 12), Overlap(net.radius)).upscale(Picture(pixels)).pixels_hwc
    _assert_rounded(got[..., :3], net.expected(pixels[..., :3], shape))
    alpha = net.expected(np.repeat(pixels[..., 3:], 3, axis=2), shape)
    _assert_rounded(got[..., 3:], alpha.mean(axis=2, keepdims=True))


@pytest.mark.parametrize("value", [0, 77, 255])
def test_constant_alpha_stays_and_costs_no_run(value: int) -> None:
    net = SmallNet()
    pixels = _noise(8, 8, 4)
    pixels[..., 3] = value
    runner = net.runner(8, 8)
    got = Upscaler(runner, Overlap(net.radius)).upscale(Picture(pixels)).pixels_hwc
    assert (got[..., 3] == value).all()
    assert runner.runs == 1


def test_colours_under_transparent_pixels_do_not_bleed() -> None:
    """A red disc on black that nobody sees: its visible edge stays as red as its middle."""
    y, x = np.mgrid[:40, :40]
    inside = np.hypot(y - 20, x - 20) < 12
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[inside] = (200, 10, 30, 255)
    net = SmallNet(2, 3)
    got = Upscaler(net.runner(40, 40), Overlap(net.radius)).upscale(Picture(pixels)).pixels_hwc
    visible = got[..., 3] > 0
    flat = np.full((40, 40, 3), (200, 10, 30), np.uint8)
    alone = net.expected(flat, ModelShape(40, 40, 2)).clip(0, 1) * 255
    error = np.abs(got[..., :3] - alone)[visible]
    assert error.max() < 1, f"a colour is off by {error.max():.1f} grey levels"


def test_filling_keeps_visible_pixels_and_takes_near_colours() -> None:
    pixels = np.zeros((9, 30, 4), np.uint8)
    pixels[:, :2] = (10, 20, 30, 255)
    pixels[:, -2:] = (210, 220, 230, 9)
    filled = fill_transparent(pixels)
    visible = pixels[..., 3] > 0
    assert np.array_equal(filled[visible], pixels[visible])
    assert np.array_equal(filled[..., 3], pixels[..., 3])
    assert filled[4, 3, :3].tolist() == [10, 20, 30]
    assert filled[4, 27, :3].tolist() == [210, 220, 230]


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), share=st.floats(0, 1))
def test_filled_colours_lie_between_the_visible_ones(rows: int, columns: int, share: float) -> None:
    pixels = _noise(rows, columns, 4, np.uint16)
    pixels[np.random.RandomState(1).rand(rows, columns) < share, 3] = 0
    visible = pixels[..., 3] > 0
    filled = fill_transparent(pixels)
    assert np.array_equal(filled[visible], pixels[visible])
    if visible.any():
        colours = pixels[visible][:, :3]
        assert (filled[..., :3] >= colours.min(axis=0)).all()
        assert (filled[..., :3] <= colours.max(axis=0)).all()


def test_metadata_stays() -> None:
    net = SmallNet()
    picture = Picture(_noise(5, 5), icc_profile=b"icc", exif=b"exif", notes=("a note",))
    result = Upscaler(net.runner(8, 8), Overlap(net.radius)).upscale(picture)
    assert (result.icc_profile, result.exif, result.notes) == (b"icc", b"exif", ("a note",))


def test_progress_counts_the_tiles_of_colour_and_alpha() -> None:
    net = SmallNet()
    picture = Picture(_noise(20, 14, 4))
    upscaler = Upscaler(net.runner(12, 12), Overlap(net.radius))
    seen: list[tuple[str, int, int]] = []
    upscaler.upscale(picture, lambda *step: seen.append(step))
    total = upscaler.count_tiles(picture)
    assert total == 2 * 2 * 2
    assert seen == [("tiles", done, total) for done in range(total + 1)]


def test_a_network_too_small_for_its_reach_is_refused() -> None:
    upscaler = Upscaler(SmallNet().runner(40, 40), Overlap(22))
    assert upscaler.upscale(Picture(_noise(40, 9))).height == 80
    with pytest.raises(SizeError, match="allowed at least 45"):
        upscaler.upscale(Picture(_noise(41, 9)))


# Results that cannot be right ----------------------------------------------------------------


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
    with pytest.raises(PictureError, match=message) as caught:
        Upscaler(_Broken(spoil), Overlap(2)).upscale(Picture(_noise(40, 40, channels, dtype)))
    assert "\n" not in str(caught.value)
    assert "try --backend cpu" in str(caught.value)


def test_one_black_tile_among_good_ones_is_an_error() -> None:
    runs: list[int] = []

    def spoil(result: Float32Array) -> None:
        runs.append(0)
        if len(runs) == 3:
            result[:] = 0

    with pytest.raises(PictureError, match="the tile at rows from 38, columns from 0 black"):
        Upscaler(_Broken(spoil), Overlap(2)).upscale(Picture(_noise(70, 70)))


@pytest.mark.parametrize("size", [(1, 1), (2, 31), (31, 1)])
def test_a_tiny_picture_turned_black_is_an_error(size: tuple[int, int]) -> None:
    with pytest.raises(PictureError, match="makes the picture black"):
        Upscaler(_Broken(_times(0)), Overlap(2)).upscale(Picture(np.full((*size, 3), 90, np.uint8)))


def _night_sky() -> Pixels:
    sky = np.zeros((90, 90, 3), np.uint8)
    sky[::13, ::17] = 255
    return sky


def _bright_corner() -> Pixels:
    picture = np.zeros((90, 90, 3), np.uint8)
    picture[:30, :30] = 255
    return picture


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
def test_no_honest_picture_raises_the_alarm(case: str, detail: float) -> None:
    net = SmallNet(2, 2, detail)
    result = Upscaler(net.runner(40, 40), Overlap(2)).upscale(
        Picture(_HONEST[case].astype(np.uint8))
    )
    assert result.height == 2 * _HONEST[case].shape[0]


def test_the_undershoot_beside_an_edge_may_fill_a_sliver_with_black() -> None:
    """The last tile keeps one grey column beside white, and the network makes it black."""
    pixels = np.full((90, 41, 3), 255, np.uint8)
    pixels[:, 40] = 60

    def spoil(result: Float32Array) -> None:
        result[0, :, 78:] = 0

    upscaler = Upscaler(_Broken(spoil), Overlap(2))
    assert upscaler.upscale(Picture(pixels)).pixels_hwc[:, 80:].max() < 100


# The real runtime ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 50), (61, 90), (3, 100)], ids=["one", "many", "flat"])
def test_a_tflite_gives_what_its_network_gives(tmp_path: Path, size: tuple[int, int]) -> None:
    net, shape = SmallNet(2, 3), ModelShape(40, 50, 2)
    path = tmp_path / "small.tflite"
    path.write_bytes(net.tflite(shape.height, shape.width))
    facts = stated_facts(path)
    assert facts is not None
    assert facts.receptive_radius == 3
    pixels = _noise(*size)
    upscaler = Upscaler(open_model(path, threads=1), Overlap(3))
    got = upscaler.upscale(Picture(pixels)).pixels_hwc
    error = np.abs(got - net.expected(pixels, shape).clip(0, 1) * 255)
    assert error.max() < 0.51, f"off by {error.max():.3f} grey levels"


# Overlap -------------------------------------------------------------------------------------


def test_a_file_without_facts_states_nothing(tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(SmallNet().tflite(8, 8, facts=False))
    assert stated_facts(path) is None


@pytest.mark.parametrize(
    ("wrong", "radius"),
    [
        ({}, 2),
        ({"receptive_radius": None}, None),
        ({"receptive_radius": -1}, "unsound"),
        ({"receptive_radius": "2"}, "unsound"),
        ({"scale": 0}, "unsound"),
        ({"model": 5}, "unsound"),
        ({"size_multiple": 1.5}, "unsound"),
        ({"whole_picture": 1}, "unsound"),
    ],
    ids=str,
)
def test_unsound_facts_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object], radius: object
) -> None:
    path = tmp_path / "small.tflite"
    said = SmallNet().facts() | wrong
    monkeypatch.setattr(SmallNet, "facts", lambda _: said)
    path.write_bytes(SmallNet().tflite(8, 8))
    facts = stated_facts(path)
    assert (facts.receptive_radius if facts else "unsound") == radius


_SHAPE = ModelShape(720, 480, 2)


@pytest.mark.parametrize(
    ("stated", "wanted", "shape", "pixels", "warning"),
    [
        (22, None, _SHAPE, 22, None),
        (22, 30, _SHAPE, 30, None),
        (22, 5, _SHAPE, 5, "less than the network's receptive radius 22"),
        (None, 7, _SHAPE, 7, None),
        (None, None, _SHAPE, 48, "overlap by 48 pixels"),
        (None, None, ModelShape(128, 96, 2), 24, "overlap by 24 pixels"),
        (None, None, ModelShape(3, 3, 4), 0, "overlap by 0 pixels"),
    ],
    ids=["stated", "more", "less", "wish", "guess", "guess for small tiles", "tiny tiles"],
)
def test_overlap(
    stated: int | None, wanted: int | None, shape: ModelShape, pixels: int, warning: str | None
) -> None:
    facts = None if stated is None else StatedFacts("small", 2, stated)
    got, said = choose_overlap(facts, wanted, shape)
    assert got == Overlap(pixels)
    assert (said is None) == (warning is None)
    assert warning is None or (said is not None and warning in said)


def test_what_a_file_says_of_its_network_is_heeded(tmp_path: Path) -> None:
    net = SmallNet(2, 1, halvings=1, whole_picture=True)
    path = tmp_path / "strided.tflite"
    path.write_bytes(net.tflite(16, 16))
    facts = stated_facts(path)
    assert facts == StatedFacts("small", 2, net.reach, 2, True, "0" * 64)
    overlap, warning = choose_overlap(facts, None, ModelShape(16, 16, 2))
    assert (overlap.radius, overlap.multiple, warning) == (net.reach, 2, None)
    assert overlap.blend > 0


@pytest.mark.parametrize(
    ("halvings", "size"), [(1, (45, 33)), (1, (24, 40)), (1, (13, 64)), (2, (51, 50)), (2, (3, 90))]
)
def test_a_strided_tflite_gives_what_its_network_gives(
    tmp_path: Path, halvings: int, size: tuple[int, int]
) -> None:
    net, shape = SmallNet(2, 1, halvings=halvings), ModelShape(24, 40, 2)
    path = tmp_path / "strided.tflite"
    path.write_bytes(net.tflite(shape.height, shape.width))
    runner = open_model(path, threads=1)
    pixels = _noise(*size)
    upscaler = Upscaler(runner, choose_overlap(stated_facts(path), None, runner.shape)[0])
    got = upscaler.upscale(Picture(pixels)).pixels_hwc
    _assert_rounded(got, net.expected(pixels, shape))


# Networks that look at the whole picture -----------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_tiles_agree_on_is_blended_to_the_same(channels: int, dtype: type) -> None:
    net, shape = SmallNet(2, 2), ModelShape(24, 20, 2)
    pixels = _noise(50, 61, channels, dtype)
    results = [
        Upscaler(net.runner(24, 20), Overlap(2, 1, blend)).upscale(Picture(pixels)).pixels_hwc
        for blend in (0, 5)
    ]
    difference = np.abs(results[0].astype(int) - results[1].astype(int)).max()
    # Where a value lies on a half, or 16 bits are finer than float32, tiles agree but for rounding.
    assert difference <= (0 if dtype == np.uint8 else 1), difference
    _assert_rounded(
        results[1],
        net.expected(np.repeat(pixels, 3 // channels, 2), shape).mean(axis=2, keepdims=True)
        if channels == 1
        else net.expected(pixels, shape),
    )


def test_a_picture_of_one_tile_is_exact_and_others_come_near() -> None:
    net, shape = SmallNet(2, 2, whole_picture=True), ModelShape(24, 20, 2)
    upscaler = Upscaler(net.runner(24, 20), Overlap(2, 1, 5))
    one, many = Picture(_noise(24, 20) // 2), Picture(_noise(50, 61) // 2)
    assert upscaler.is_one_tile(one)
    _assert_rounded(upscaler.upscale(one).pixels_hwc, net.expected(one.pixels_hwc, shape))
    assert not upscaler.is_one_tile(many)
    exact = net.expected(many.pixels_hwc, shape).clip(0, 1) * 255
    error = np.abs(upscaler.upscale(many).pixels_hwc - exact).max()
    assert 1 < error < 20, f"off by {error:.2f} grey levels"
