"""Synthetic images for training, beside photographs.

    python -m edgesr.training.synthetic_images OUT --images 160

Photographs hold few hard lines, little writing and hardly a pattern at full contrast near the
finest period. A network that saw nothing else may put dots beside such lines. The same numbers make
the same images: random ones are of numpy's frozen legacy generator, the font is Pillow's own.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import Progress

from edgesr.common.files import atomic_outputs
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError, OutputError, SizeError
from edgesr.images.scenes import draw_facades, draw_grids, draw_leaves

_Colour = tuple[int, int, int]
_Canvas = Callable[[ImageDraw.ImageDraw, int, int, RandomState], None]

_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?()+-=/&%#@"
#: HR pixels are drawn as they are (stairs), or four or sixteen times as many and averaged (smooth).
_OVERSAMPLING = (1, 2, 4)
_SIDES = (16, 2048)  # the largest takes 2 GiB while it is averaged
_LARGEST_NUMBER = 2**32 - 1


def draw_image(index: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw one image: of each of `KINDS` in turn.

    Args:
        index: Which one, from 0.
        side: Height and width, 16 to 2048.
        seed: Another seed, other images; from 0.

    Returns:
        `image_hwc_u8`, RGB.

    Raises:
        SizeError: A number is not among those allowed.
    """
    _check(index, side, seed)
    random = RandomState(np.array([seed, index], np.uint32))
    draw = tuple(KINDS.values())[index % len(KINDS)]
    return draw(side, random)


def write_drawings(
    folder: Path, images: int, side: int, seed: int = 0, *, progress: ProgressCallback = silent
) -> None:
    """Write synthetic images as PNG files.

    Args:
        folder: Made if it is missing. Files of the same names are replaced.
        images: How many, 1 or more.
        side: Height and width, 16 to 2048.
        seed: Another seed, other images.
        progress: Told of images drawn.

    Raises:
        OutputError: The folder cannot be written.
        SizeError: A number is not among those allowed.
    """
    if images < 1:
        raise SizeError(f"got {images} images, allowed 1 and more")
    _check(0, side, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror or error}") from error
    progress("drawings", 0, images)
    for index in range(images):
        image_hwc_u8 = draw_image(index, side, seed)
        with atomic_outputs([folder / f"{index:04}.png"], overwrite=True) as (temporary,):
            Image.fromarray(image_hwc_u8).save(temporary, "PNG")
        progress("drawings", index + 1, images)


def _check(index: int, side: int, seed: int) -> None:
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise SizeError(
            f"got images of {side}x{side}, allowed {_SIDES[0]}x{_SIDES[0]} to "
            f"{_SIDES[1]}x{_SIDES[1]}"
        )
    for name, number in (("seed", seed), ("image", index)):
        if not 0 <= number <= _LARGEST_NUMBER:
            raise SizeError(f"got {name} {number}, allowed 0 to {_LARGEST_NUMBER}")


def _drawn(canvas: _Canvas, side: int, random: RandomState) -> NDArray[np.uint8]:
    """On a plain ground of any colour, often white or black, with stairs or smooth."""
    factor = _OVERSAMPLING[random.randint(len(_OVERSAMPLING))]
    image = Image.new("RGB", (factor * side, factor * side), _colour(random))
    canvas(ImageDraw.Draw(image), factor * side, factor, random)
    large = np.asarray(image, np.float64).reshape(side, factor, side, factor, 3)
    return np.rint(large.mean(axis=(1, 3))).astype(np.uint8)


def _in_blocks(side: int, random: RandomState) -> NDArray[np.uint8]:
    """Lines or writing with stairs of 2x2 pixels: reduced by two they are hard one-pixel lines."""
    half = (side + 1) // 2
    image = Image.new("RGB", (half, half), _colour(random))
    (_lines, _writing)[random.randint(2)](ImageDraw.Draw(image), half, 1, random)
    return np.asarray(image).repeat(2, axis=0).repeat(2, axis=1)[:side, :side]


def _lines(draw: ImageDraw.ImageDraw, side: int, pixel: int, random: RandomState) -> None:
    """Straight ones, in bundles and alone, and polygons' outlines."""
    for _ in range(random.randint(4, 24)):
        width = pixel * int(random.choice((1, 1, 1, 2, 2, 3, 4, 6)))
        colour = _colour(random)
        start, end, step = random.uniform(-0.2, 1.2, (3, 2)) * side
        for repeat in range(int(random.choice((1, 1, 4, 12)))):
            offset = repeat * (step - side / 2) / 12
            draw.line((*(start + offset), *(end + offset)), fill=colour, width=width)
    for _ in range(random.randint(4)):
        draw.polygon((random.uniform(size=8) * side).tolist(), outline=_colour(random))


def _shapes(draw: ImageDraw.ImageDraw, side: int, pixel: int, random: RandomState) -> None:
    """Discs and boxes over each other, filled or outlined, also across the image's borders."""
    for _ in range(random.randint(8, 60)):
        radii = side * random.uniform(0.01, 0.2, 2)
        centre = random.uniform(-0.1, 1.1, 2) * side
        box = (*(centre - radii), *(centre + radii))
        fill = _colour(random) if random.randint(3) else None
        outline, width = _colour(random), pixel * random.randint(1, 5)
        if random.randint(2):
            draw.ellipse(box, fill=fill, outline=outline, width=width)
        else:
            draw.rectangle(box, fill=fill, outline=outline, width=width)


def _writing(draw: ImageDraw.ImageDraw, side: int, pixel: int, random: RandomState) -> None:
    """Lines of characters of all sizes."""
    colour, top = _colour(random), 0.0
    while top < side:
        size = pixel * random.uniform(8, 40)
        if not random.randint(3):
            colour = _colour(random)
        text = "".join(random.choice(list(_CHARACTERS + 12 * " "), 80).tolist())
        font = ImageFont.load_default(size=size)
        draw.text((-random.uniform(0, size), top), text, fill=colour, font=font)
        top += 1.2 * size


def _waves(side: int, random: RandomState) -> NDArray[np.uint8]:
    """Straight or round waves, of one period or of all, from faint to full contrast."""
    y, x = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    centre_y, centre_x = random.uniform(-0.5, 1.5, 2) * side
    radius = np.hypot(y - centre_y, x - centre_x)
    angle = random.uniform(0, np.pi)
    finest = np.pi / random.uniform(1, 8)  # radians per pixel
    phase_of = (
        lambda: finest * (np.cos(angle) * x + np.sin(angle) * y),
        lambda: finest * radius,
        lambda: finest * radius**2 / (2 * radius.max()),
        lambda: finest * radius**2 / (2 * radius.max()),
    )
    wave = np.cos(phase_of[random.randint(4)]() + random.uniform(0, 2 * np.pi))
    if not random.randint(4):
        wave = np.sign(wave)  # square waves
    low, high = (np.array(_colour(random)) for _ in range(2))
    if random.randint(2):
        low, high = low.mean().repeat(3), high.mean().repeat(3)
    share = (0.5 + 0.5 * wave)[..., None]
    return np.rint(low + (high - low) * share).astype(np.uint8)


def _colour(random: RandomState) -> _Colour:
    """Black, white, grey or any, equally likely."""
    kind = random.randint(4)
    red, green, blue = random.randint(256, size=3).tolist()
    return ((0, 0, 0), (255, 255, 255), (red, red, red), (red, green, blue))[kind]


_Draw = Callable[[int, RandomState], NDArray[np.uint8]]

#: What is drawn, in turn.
KINDS: dict[str, _Draw] = {
    "lines": partial(_drawn, _lines),
    "shapes": partial(_drawn, _shapes),
    "writing": partial(_drawn, _writing),
    "waves": _waves,
    "blocks": _in_blocks,
    "leaves": draw_leaves,
    "facades": draw_facades,
    "grids": draw_grids,
}


@click.command()
@click.argument("folder", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--images", default=160, show_default=True, help="How many.")
@click.option("--side", default=320, show_default=True, help="Height and width in pixels.")
@click.option("--seed", default=0, show_default=True, help="Another seed, other images.")
def main(folder: Path, images: int, side: int, seed: int) -> None:
    """Draw images for training into OUT, a folder of their own.

    Example: python -m edgesr.training.synthetic_images drawn, then
    edgesr train ... --data photos --data drawn
    """
    console = Console(stderr=True)
    try:
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("drawings", total=images)
            write_drawings(
                folder,
                images,
                side,
                seed,
                progress=lambda _, done, __: bar.update(task, completed=done),
            )
    except EdgeSRError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{folder}: {images} images of {side}x{side}")


if __name__ == "__main__":
    main()
