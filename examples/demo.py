"""Convert a network, inspect the file, upscale a photograph and compare with bicubic.

The photograph is `coffee.png` by Rachel Michetti (CC0), which the wheel of scikit-image contains;
nothing is downloaded. It is reduced to half its size and upscaled again, so that the original
remains to compare with. The weights are those bundled with edgesr.
"""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_y

SCALE = 2
MODEL = "imdn-rtc_x2_720x480_fp16.tflite"
REGION = 16, 280, 136, 360  # left, top, right, bottom of the crops, in the original
ZOOM = 4
CAPTION = 22  # height in pixels
GAP = 8

Uint8Array = NDArray[np.uint8]


def main() -> None:
    """Run the commands a user would, then write `comparison.png`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out"))
    out: Path = parser.parse_args().output
    out.mkdir(parents=True, exist_ok=True)
    original = out / "coffee.png"
    lr, hr = out / "coffee_half.png", out / "coffee_half_x2.png"
    original_hwc_u8 = photograph()
    lr_hwc_u8 = imresize(original_hwc_u8, 1 / SCALE)
    Image.fromarray(original_hwc_u8).save(original)
    Image.fromarray(lr_hwc_u8).save(lr)
    run("convert", "--model", "rtc", "--fp16", "--output", out, "--force")
    run("inspect", out / MODEL)
    run("upscale", lr, "--model-file", out / MODEL, "--output", hr, "--force")
    run("metrics", hr, original, "--shave", SCALE)
    with Image.open(hr) as image:
        hr_hwc_u8 = np.asarray(image.convert("RGB"))
    sheet = comparison(original_hwc_u8, imresize(lr_hwc_u8, SCALE), hr_hwc_u8)
    sheet.save(out / "comparison.png", optimize=True)
    print(f"\n{out / 'comparison.png'}: the photograph by bicubic and by edgesr")


def photograph() -> Uint8Array:
    """The photograph, 400 x 600 x 3, read from the installed scikit-image without importing it."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        sys.exit("the demo's photograph is part of scikit-image: pip install scikit-image")
    with Image.open(Path(found.origin).parent / "data" / "coffee.png") as image:
        return np.asarray(image.convert("RGB"))


def run(*arguments: object) -> None:
    """Run one edgesr command, as a user would; stop with its status if it fails."""
    words = [str(word) for word in arguments]
    print(f"\n$ edgesr {' '.join(words)}", flush=True)
    status = subprocess.run(
        [sys.executable, "-c", "from edgesr.cli import main; main()", *words], check=False
    ).returncode
    if status:
        sys.exit(status)


def comparison(original: Uint8Array, bicubic: Uint8Array, upscaled: Uint8Array) -> Image.Image:
    """The photograph, and one region of it by bicubic, by edgesr and in the original."""
    whole = Image.fromarray(original)
    size = width, height = (ZOOM * (REGION[2] - REGION[0]), ZOOM * (REGION[3] - REGION[1]))
    marked = whole.copy()
    ImageDraw.Draw(marked).rectangle(REGION, outline="white", width=2)
    views = (
        ("photograph, 600x400", marked.resize(size, Image.Resampling.LANCZOS)),
        ("original", zoomed(whole)),
        (f"half size, bicubic x2: {psnr(bicubic, original)}", zoomed(Image.fromarray(bicubic))),
        (f"half size, edgesr x2: {psnr(upscaled, original)}", zoomed(Image.fromarray(upscaled))),
    )
    sheet = Image.new("RGB", (2 * width + GAP, 2 * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (caption, view) in enumerate(views):
        x, y = index % 2 * (width + GAP), index // 2 * (height + CAPTION)
        draw.text((x + 4, y + 4), caption, fill="black", font_size=14)
        sheet.paste(view, (x, y + CAPTION))
    return sheet


def psnr(image: Uint8Array, original: Uint8Array) -> str:
    """PSNR on Y over the whole image, as papers measure it."""
    return f"{psnr_y(image, original, SCALE):.2f} dB"


def zoomed(image: Image.Image) -> Image.Image:
    """The region, each pixel ZOOM x ZOOM large."""
    region = image.crop(REGION)
    return region.resize((ZOOM * region.width, ZOOM * region.height), Image.Resampling.NEAREST)


if __name__ == "__main__":
    main()
