"""A synthetic image that stands in for photographs where there are none.

Six panels: smooth gradients, a zone plate (every spatial frequency in every direction), strokes as
of writing, a scene of overlapping discs with 1/f texture, colour patches, thin diagonal lines. The
scene has what matters of photographs for a network: edges by occlusion with a power law of sizes
(the dead leaves model: Lee, Mumford and Huang, 2001) and amplitudes that fall as 1/f.

No font is used, and random numbers come from numpy's frozen legacy generator.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_Panel = NDArray[np.float64]  # height x width x 3, RGB in [0, 1]

_SEED = 2019
_OVERSAMPLING = 4  # what Pillow draws without smoothing is drawn larger and averaged
_COLUMNS = 3

# Letter-like figures on a grid of 5 columns (0-4) by 7 rows (0-6): polylines of (x, y).
_GLYPHS: tuple[tuple[tuple[tuple[int, int], ...], ...], ...] = (
    (((0, 6), (2, 0), (4, 6)), ((1, 4), (3, 4))),
    (((4, 1), (3, 0), (1, 0), (0, 1), (0, 5), (1, 6), (3, 6), (4, 5), (4, 3), (2, 3)),),
    (((0, 0), (0, 6)), ((4, 0), (0, 3), (4, 6))),
    (((0, 6), (0, 0), (4, 6), (4, 0)),),
    (((4, 1), (3, 0), (1, 0), (0, 1), (1, 3), (3, 3), (4, 5), (3, 6), (1, 6), (0, 5)),),
    (((0, 0), (4, 0), (0, 6), (4, 6)),),
    (((0, 2), (4, 2)), ((0, 4), (4, 4)), ((1, 0), (1, 6)), ((3, 0), (3, 6))),
)


def draw_test_card(height: int, width: int) -> NDArray[np.uint8]:
    """Draw the test card; the same pixels at every call.

    Args:
        height: Rows, 1 or more.
        width: Columns, 1 or more.

    Returns:
        `card_hwc_u8`, RGB.
    """
    panels: tuple[Callable[[int, int], _Panel], ...] = (
        _gradients,
        _zone_plate,
        _colour_patches,
        _scene,
        _writing,
        _diagonals,
    )
    card_hwc = np.zeros((height, width, 3))
    tops = np.linspace(0, height, len(panels) // _COLUMNS + 1).astype(int)
    lefts = np.linspace(0, width, _COLUMNS + 1).astype(int)
    for index, draw in enumerate(panels):
        row, column = divmod(index, _COLUMNS)
        rows, columns = slice(*tops[row : row + 2]), slice(*lefts[column : column + 2])
        if rows.start < rows.stop and columns.start < columns.stop:
            card_hwc[rows, columns] = draw(rows.stop - rows.start, columns.stop - columns.start)
    return np.rint(255 * card_hwc.clip(0, 1)).astype(np.uint8)


def _grid(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of the pixels' centres, in (0, 1), down and across."""
    down, across = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    rows, columns = np.meshgrid(down, across, indexing="ij")
    return rows, columns


def _gradients(height: int, width: int) -> _Panel:
    """Hue across, from dark over saturated to white down."""
    down, across = _grid(height, width)
    phases = np.array([0.0, 1 / 3, 2 / 3])
    hue_hwc = 0.5 + 0.5 * np.cos(2 * np.pi * (across[..., None] - phases))
    level = down[..., None]
    return np.where(level < 0.5, 2 * level * hue_hwc, hue_hwc + (2 * level - 1) * (1 - hue_hwc))


def _zone_plate(height: int, width: int) -> _Panel:
    """Rings that reach the finest period (two pixels) at the corners."""
    y, x = np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2
    squared = y[:, None] ** 2 + x[None, :] ** 2
    corner = max(1.0, float(np.hypot(height, width)) / 2)
    wave = 0.5 + 0.5 * np.cos(np.pi * squared / (2 * corner))
    return np.repeat(wave[..., None], 3, axis=2)


def _colour_patches(height: int, width: int) -> _Panel:
    """All combinations of four levels of red, green and blue, in 8 x 8 patches."""
    down, across = _grid(height, width)
    index = 8 * (8 * down).astype(int) + (8 * across).astype(int)
    return np.stack([index // 16 % 4, index // 4 % 4, index % 4], axis=2) / 3


def _scene(height: int, width: int) -> _Panel:
    """Discs over discs, textured and lit from one side."""
    random = np.random.RandomState(_SEED)
    size = (_OVERSAMPLING * width, _OVERSAMPLING * height)
    image = Image.new("RGB", size, (96, 112, 128))
    draw = ImageDraw.Draw(image)
    for share in random.uniform(size=400):
        radius = 0.025 * min(size) / (1 - 0.995 * share) ** 0.5
        x, y = random.uniform(size=2) * size
        grey, tint = random.randint(24, 232), random.randint(24, 232, size=3)
        colour = (2 * grey + tint) // 3
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=tuple(colour.tolist()))
    texture = _pink_noise(height, width, random)
    down, across = _grid(height, width)
    light = 0.8 + 0.3 * (across - down)
    return _reduce(image) * (light + 0.12 * texture)[..., None]


def _pink_noise(height: int, width: int, random: np.random.RandomState) -> NDArray[np.float64]:
    """Noise whose amplitude falls as 1/f, of mean 0 and deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.standard_normal((height, width))) / frequency
    noise = np.fft.irfft2(spectrum, s=(height, width))
    return noise / max(float(noise.std()), 1e-9)


def _writing(height: int, width: int) -> _Panel:
    """Lines of figures that shrink to the size of small print, dark on light."""
    size = (_OVERSAMPLING * width, _OVERSAMPLING * height)
    image = Image.new("RGB", size, (244, 240, 228))
    draw = ImageDraw.Draw(image)
    top, line, cell = 0.03 * size[1], 0, size[1] / 60
    while top + 9 * cell < size[1]:
        left, count = 2 * cell, 0
        while left + 6 * cell < size[0]:
            for stroke in _GLYPHS[(count * (line + 2) + line) % len(_GLYPHS)]:
                points = [(left + cell * x, top + cell * y) for x, y in stroke]
                draw.line(points, fill=(24, 24, 40), width=max(1, round(0.8 * cell)))
            left, count = left + 6 * cell, count + 1
        top, line, cell = top + 9 * cell, line + 1, max(1.2, 0.8 * cell)
    return _reduce(image)


def _diagonals(height: int, width: int) -> _Panel:
    """Thin lines fanning out from a corner, light on dark in the upper half, else dark on light."""
    size = (_OVERSAMPLING * width, _OVERSAMPLING * height)
    image = Image.new("RGB", size, (16, 20, 24))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, size[1] // 2, *size), fill=(232, 228, 220))
    for index in range(1, 24):
        reach = index / 12
        end = (min(1.0, reach) * size[0], min(1.0, 2 - reach) * size[1])
        bright = (230, 200 - 6 * index, 60 + 8 * index)
        draw.line((0, 0, *end), fill=bright, width=_OVERSAMPLING)
        draw.line((size[0], size[1], size[0] - end[0], size[1] - end[1]), fill=(30, 30, 90))
    return _reduce(image)


def _reduce(image: Image.Image) -> _Panel:
    """Average the oversampled pixels."""
    large = np.asarray(image, np.float64) / 255
    height, width = large.shape[0] // _OVERSAMPLING, large.shape[1] // _OVERSAMPLING
    return large.reshape(height, _OVERSAMPLING, width, _OVERSAMPLING, 3).mean(axis=(1, 3))
