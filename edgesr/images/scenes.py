"""Synthetic scenes with the statistics of photographs and of buildings.

Dead leaves are shapes that hide each other, with sizes after a power law: edges at all scales and
in all directions, as photographs have them. Buildings are planes in perspective with patterns that
repeat: windows, bricks, tiles, blinds, railings. Both are computed at several points per pixel and
averaged, as a sensor averages light.

Source of the power law: Lee, Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_Floats = NDArray[np.floating[Any]]
#: Of coordinates in periods the colours there, height x width x 3.
_Pattern = Callable[[_Floats, _Floats, RandomState], _Floats]

_OVERSAMPLING = 4
# Radii of leaves: the smallest in pixels, for finer or coarser scenes; the largest by the side.
_SMALLEST_RADII, _LARGEST_RADIUS = (1.0, 2.0, 4.0), 0.3
# Leaves per square of the smallest radius: with these hardly any ground is left to be seen.
_DENSITY = 0.15
# How strong a perspective is: at 1 the horizon would touch the corners of the image.
_STRONGEST_PERSPECTIVE = 0.65
# Periods of a pattern in pixels, in the middle of the image.
_SHORTEST_PERIOD, _LONGEST_PERIOD = 4.0, 60.0


def draw_leaves(side: int, random: RandomState) -> NDArray[np.uint8]:
    """Draw discs, boxes and triangles that hide each other, from the farthest to the nearest.

    Args:
        side: Height and width.
        random: Decides everything else.

    Returns:
        `image_hwc_u8`, RGB.
    """
    large = _OVERSAMPLING * side
    palette = _Palette.of(random)
    image = Image.new("RGB", (large, large), palette.colour(random))
    draw = ImageDraw.Draw(image)
    smallest = _SMALLEST_RADII[random.randint(len(_SMALLEST_RADII))]
    count = int(_DENSITY * (side / smallest) ** 2)
    # Density r^-3: the inverse of its cumulative distribution, at uniform numbers.
    lowest, highest = (_LARGEST_RADIUS * side + smallest) ** -2.0, smallest**-2.0
    radii = random.uniform(lowest, highest, count) ** -0.5 * _OVERSAMPLING
    centres = random.uniform(-0.1, 1.1, (count, 2)) * large
    for radius, centre in zip(radii.tolist(), centres, strict=True):
        _draw_leaf(draw, centre, radius, palette.colour(random), random)
    return _averaged(np.asarray(image, np.float32))


def _draw_leaf(
    draw: ImageDraw.ImageDraw,
    centre: NDArray[np.float64],
    radius: float,
    colour: tuple[int, int, int],
    random: RandomState,
) -> None:
    corners = random.randint(6)
    if corners < 3:
        draw.ellipse((*(centre - radius), *(centre + radius)), fill=colour)
        return
    angles = random.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(corners) / corners
    points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    draw.polygon(points.ravel().tolist(), fill=colour)


class _Palette(NamedTuple):
    """Colours that go together, as a scene's do: a few, and what light makes of them."""

    colours: _Floats

    @classmethod
    def of(cls, random: RandomState) -> "_Palette":
        grey = random.uniform(0, 255, (random.randint(2, 7), 1))
        tint = random.normal(0, random.uniform(0, 40), (len(grey), 3))
        return cls((grey + tint).astype(np.float32))

    def colour(self, random: RandomState) -> tuple[int, int, int]:
        base = self.colours[random.randint(len(self.colours))]
        lit = base + random.normal(0, 25) + random.normal(0, 5, 3)
        red, green, blue = np.clip(lit, 0, 255).astype(int).tolist()
        return red, green, blue


def draw_facades(side: int, random: RandomState) -> NDArray[np.uint8]:
    """Draw walls of bricks and windows in perspective; arguments and result as `draw_leaves`."""
    return _draw_planes(side, random, (_windows, _windows, _bricks))


def draw_grids(side: int, random: RandomState) -> NDArray[np.uint8]:
    """Draw blinds, railings, tiles and lattices in perspective; as `draw_facades`."""
    return _draw_planes(side, random, (_blinds, _railing, _tiles, _lattice))


def _draw_planes(side: int, random: RandomState, patterns: Sequence[_Pattern]) -> NDArray[np.uint8]:
    """One to three planes, each nearer than those before."""
    axis = (np.arange(_OVERSAMPLING * side, dtype=np.float32) + 0.5) / (_OVERSAMPLING * side)
    x, y = np.meshgrid(2 * axis - 1, 2 * axis - 1)
    image_hwc = _plane(x, y, side, random, patterns)
    for _ in range(random.randint(3)):
        angle = random.uniform(0, 2 * np.pi)
        in_front = np.cos(angle) * x + np.sin(angle) * y > random.uniform(-0.2, 0.8)
        image_hwc = np.where(in_front[..., None], _plane(x, y, side, random, patterns), image_hwc)
    return _averaged(image_hwc)


def _plane(
    x: _Floats, y: _Floats, side: int, random: RandomState, patterns: Sequence[_Pattern]
) -> _Floats:
    """The colours of a wall, floor or fence that fills the image."""
    tilt = random.uniform(0, _STRONGEST_PERSPECTIVE)
    towards = random.uniform(0, 2 * np.pi)
    depth = 1 + tilt * (np.cos(towards) * x + np.sin(towards) * y) / np.sqrt(2)
    # Mostly upright, as buildings are.
    turn = random.normal(0, 0.15) if random.randint(4) else random.uniform(0, np.pi)
    shortest, longest = np.log(_SHORTEST_PERIOD), np.log(_LONGEST_PERIOD)
    per_unit = side / 2 / np.exp(random.uniform(shortest, longest))
    aspect = np.exp(random.uniform(-0.7, 0.7))
    u = per_unit * (np.cos(turn) * x - np.sin(turn) * y) / depth + random.uniform(0, 1)
    v = per_unit * aspect * (np.sin(turn) * x + np.cos(turn) * y) / depth + random.uniform(0, 1)
    pattern = patterns[random.randint(len(patterns))]
    light = 1 + random.uniform(-0.3, 0.3) * x + random.uniform(-0.3, 0.3) * y
    return pattern(u.astype(np.float32), v.astype(np.float32), random) * light[..., None]


def _windows(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """Windows in rows on a wall, some with a cross, each with a brightness of its own."""
    wall, frame, glass = _colours(3, random)
    wide, high = random.uniform(0.35, 0.9, 2)
    edge = random.uniform(0.0, 0.12)
    in_u, in_v = u % 1, v % 1
    window = (in_u < wide) & (in_v < high)
    pane = (abs(in_u - wide / 2) < wide / 2 - edge) & (abs(in_v - high / 2) < high / 2 - edge)
    if random.randint(2):
        bar = random.uniform(0.02, 0.06)
        pane &= (abs(in_u - wide / 2) > bar) & (abs(in_v - high * 0.4) > bar)
    brightness = random.uniform(0, 60) * (_per_cell(u, v, random) - 0.5)
    glass = glass + brightness[..., None]
    if random.randint(2):
        wall = _bricks(4 * u, 8 * v, random)
    return np.where(pane[..., None], glass, np.where(window[..., None], frame, wall))


def _bricks(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """Rows shifted by half a brick, joints between them, each brick a little different."""
    brick, joint = _colours(2, random)
    shifted = u + 0.5 * (np.floor(v) % 2) if random.randint(3) else u
    width = random.uniform(0.05, 0.2)
    inside = (shifted % 1 > width / 2) & (v % 1 > width)
    uneven = random.uniform(0, 50) * (_per_cell(shifted, v, random) - 0.5)
    return np.where(inside[..., None], brick + uneven[..., None], joint)


def _blinds(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """Boards or slats: bands with a hard shadow, lighter towards one side."""
    board, shadow = _colours(2, random)
    share = v % 1
    slope = random.uniform(-60, 60) * (share - 0.5)
    return np.where(
        (share < random.uniform(0.4, 0.95))[..., None], board + slope[..., None], shadow
    )


def _railing(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """Upright bars and a rail every few bars' widths, before a plain or banded ground."""
    bar, ground = _colours(2, random)
    thickness = random.uniform(0.1, 0.5)
    every = random.randint(4, 16)
    bars = (u % 1 < thickness) | (v / every % 1 < thickness / every)
    behind = _blinds(u / 5, v / 5, random) if random.randint(2) else ground
    return np.where(bars[..., None], bar, behind)


def _tiles(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """A chequered floor."""
    one, other = _colours(2, random)
    odd = (np.floor(u) + np.floor(v)) % 2 > 0
    uneven = random.uniform(0, 30) * (_per_cell(u, v, random) - 0.5)
    return np.where(odd[..., None], one, other) + uneven[..., None]


def _lattice(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """Thin bars in both directions, as in glazed roofs and fences."""
    bar, ground = _colours(2, random)
    thickness = random.uniform(0.05, 0.3)
    bars = (u % 1 < thickness) | (v % 1 < thickness)
    uneven = random.uniform(0, 60) * (_per_cell(u, v, random) - 0.5)
    return np.where(bars[..., None], bar, ground + uneven[..., None])


def _colours(count: int, random: RandomState) -> _Floats:
    """Mostly near to grey, as stone, glass and metal are; rarely as far apart as can be."""
    grey = random.uniform(10, 245, (count, 1))
    if not random.randint(4):
        grey = np.where(np.arange(count)[:, None] % 2, 245.0, 10.0)
    return (grey + random.normal(0, random.uniform(0, 30), (count, 3))).astype(np.float32)


def _per_cell(u: _Floats, v: _Floats, random: RandomState) -> _Floats:
    """A number in [0, 1) for every cell of the pattern, the same in the whole cell."""
    table = random.uniform(size=(61, 67)).astype(np.float32)
    return table[np.floor(u).astype(np.int64) % 61, np.floor(v).astype(np.int64) % 67]


def _averaged(large_hwc: _Floats) -> NDArray[np.uint8]:
    side = len(large_hwc) // _OVERSAMPLING
    parts = large_hwc.reshape(side, _OVERSAMPLING, side, _OVERSAMPLING, 3)
    return np.rint(np.clip(parts.mean(axis=(1, 3)), 0, 255)).astype(np.uint8)
