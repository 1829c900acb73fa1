"""The size of tiles: least time within a limit of memory, and nothing lost in the image."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesr.images.files import ImageData
from edgesr.tflite.resize import Work, read_work
from edgesr.tflite.shape import ModelShape
from edgesr.upscaling.tile_size import Costs, FittedTiles, Size
from edgesr.upscaling.tiling import Overlap, cover
from edgesr.upscaling.upscaler import ResizingUpscaler
from helpers.small_net import NumpyRunner, SmallNet

#: What edgesr reads out of its own files of IMDN_RTC and FMEN-S, and their receptive radii.
_RTC, _FMEN_S = (Work(1932, 19_900), 22), (Work(3452, 340_000), 34)


def _choice(net: tuple[Work, int] = _RTC, threads: int = 2, **more: int) -> FittedTiles:
    return FittedTiles(net[0], Overlap(net[1]), threads, **more)


def test_a_small_image_is_one_tile_of_its_own_size() -> None:
    assert _choice().choose((60, 70), []) == (60, 70)
    assert _choice().choose((1, 1), []) == (1, 1)


@pytest.mark.parametrize("net", [_RTC, _FMEN_S], ids=["rtc", "fmen-s"])
@pytest.mark.parametrize("size", [(1051, 2040), (3000, 4000), (8000, 700)], ids=str)
def test_tiles_of_a_large_image_fit_into_the_memory_and_cover_it_without_rest(
    net: tuple[Work, int], size: Size
) -> None:
    choice = _choice(net)
    height, width = choice.choose(size, [])
    assert net[0].bytes_per_pixel * height * width <= choice.most_bytes
    tiles = cover(*size, ModelShape(height, width, 2), choice.overlap)
    fed, needed = len(tiles) * height * width, size[0] * size[1]
    assert fed < 1.7 * needed, f"{len(tiles)} tiles of {height}x{width} are {fed / needed:.2f} x"


def test_less_memory_gives_smaller_tiles_and_there_are_always_some() -> None:
    areas = [
        int(np.prod(_choice(most_bytes=mib << 20).choose((2000, 2000), [])))
        for mib in (1, 32, 128, 512)
    ]
    assert areas == sorted(areas)
    assert len(set(areas)) == 4


def test_a_size_that_is_open_is_taken_where_opening_another_costs_more() -> None:
    choice = _choice()
    assert choice.choose((298, 400), [(300, 400)]) == (300, 400) or choice.cost_s(
        (298, 400), (298, 400)
    ) < choice.cost_s((298, 400), (300, 400))
    open_size = choice.choose((1000, 1500), [])
    assert choice.choose((1000, 1490), [open_size]) == open_size


def test_for_many_images_of_one_size_only_the_runs_count() -> None:
    choice, size = _choice(), (360, 640)
    few, many = choice.choose(size, []), choice.choose(size, [], images=1000)
    opening = {tile: choice.cost_s(size, tile) for tile in (few, many)}
    runs = {tile: choice.cost_s(size, tile) - _opening_s(choice, tile) for tile in (few, many)}
    assert opening[few] < opening[many]
    assert runs[many] < runs[few]
    assert choice.choose(size, [few], images=1000) == many


def _opening_s(choice: FittedTiles, tile: Size) -> float:
    pixels = tile[0] * tile[1]
    return 1e-9 * (
        choice.costs.open_fixed + choice.costs.open_byte * choice.work.bytes_per_pixel * pixels
    )


def test_sizes_stay_open_while_they_fit_the_oldest_go_first() -> None:
    choice = _choice(most_bytes=1932 * 250_000)
    opened = [(300, 300), (200, 300), (300, 400)]
    assert choice.keep((100, 100), opened) == [(200, 300), (300, 400)]
    assert choice.keep((500, 600), opened) == []


@pytest.mark.parametrize("net", [_RTC, _FMEN_S], ids=["rtc", "fmen-s"])
@pytest.mark.parametrize("size", [(400, 300), (1051, 2040), (3000, 4000)], ids=str)
@pytest.mark.parametrize("term", ["open_fixed", "open_byte", "run_fixed", "run_byte", "run_mac"])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_term_that_is_wrong_by_half_or_twice_loses_little(
    net: tuple[Work, int], size: Size, term: str, factor: float
) -> None:
    """So that constants serve CPUs of several kinds."""
    true = replace(Costs(), **{term: factor * getattr(Costs(), term)})
    assumed, exact = _choice(net), replace(_choice(net), costs=true)
    best = exact.cost_s(size, exact.choose(size, []))
    chosen = exact.cost_s(size, assumed.choose(size, []))
    assert chosen <= 1.04 * best, f"{chosen:.3f} s by the tile chosen, {best:.3f} s by the best"


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 70), st.integers(1, 70)), min_size=1, max_size=4),
    halvings=st.integers(0, 1),
    memory=st.integers(1, 40_000),
    fixed=st.sampled_from([0.0, 1e3, 1e6]),
)
def test_fitted_tiles_give_what_the_whole_image_gives(
    sizes: list[Size], halvings: int, memory: int, fixed: float
) -> None:
    net = SmallNet(2, 2, halvings=halvings)
    overlap = Overlap(net.reach, net.multiple)
    costs = Costs(open_fixed=fixed, run_fixed=fixed)
    choice = FittedTiles(Work(8, 100), overlap, 1, 8 * memory, costs)
    opened: list[Size] = []

    def open_size(size: Size) -> NumpyRunner:
        opened.append(size)
        return net.runner(*size)

    upscaler = ResizingUpscaler(open_size, net.scale, choice, overlap)
    for seed, size in enumerate(sizes):
        pixels = np.random.RandomState(seed).randint(0, 128, (*size, 3)).astype(np.uint8)
        got = upscaler.upscale(ImageData(pixels)).pixels_hwc
        exact = net.expected(pixels, ModelShape(0, 0, 2)).clip(0, 1) * 255
        if halvings == 0 or all(side % 2 == 0 and side > 2 * net.reach for side in size):
            assert np.abs(got - exact).max() < 0.501, f"{size} by tiles of {opened}"


def test_what_a_pixel_costs_is_read_from_the_file() -> None:
    net = SmallNet(2, 3)
    work = read_work(net.tflite(16, 24))
    macs = sum(int(np.prod(kernel.shape)) for kernel in net.weights())
    assert work.macs_per_pixel == macs
    assert work.bytes_per_pixel > 4 * (3 + 12)
