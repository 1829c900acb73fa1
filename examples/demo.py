"""The main job on a real photograph: convert, inspect, upscale, and show the difference.

The weights are those that come with edgesr. With EDGESR_SHARED set, the photograph comes from
there; otherwise edgesr draws a test card.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from edgesr.testcard import draw_test_card

MODEL = "imdn-rtc_x2_720x480_fp16.tflite"
PHOTOGRAPH = Path("data/Set14/x2/LR/img_011.png")
CROP = 160  # side of the region shown, in pixels of the small picture
ZOOM = 4


def main() -> None:
    """Run the three commands a user would, then draw bicubic and edgesr side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out"))
    out: Path = parser.parse_args().output
    out.mkdir(parents=True, exist_ok=True)
    small = photograph(out)
    large = out / f"{small.stem}_x2.png"
    run("convert", "--model", "rtc", "--fp16", "--output", out, "--force")
    run("inspect", out / MODEL)
    run("upscale", small, "--model-file", out / MODEL, "--output", large, "--force")
    side_by_side(small, large, out / "comparison.png")
    print(f"\n{out / 'comparison.png'}: bicubic on the left, edgesr on the right")


def photograph(out: Path) -> Path:
    """A real photograph where there is one, else a drawn card."""
    shared = os.environ.get("EDGESR_SHARED")
    if shared and (found := Path(shared) / PHOTOGRAPH).is_file():
        return found
    card = out / "test_card.png"
    Image.fromarray(draw_test_card(360, 480)).save(card)
    return card


def run(*arguments: object) -> None:
    """Run one edgesr command, as a user would; stop with its status if it fails."""
    words = [str(word) for word in arguments]
    print(f"\n$ edgesr {' '.join(words)}", flush=True)
    status = subprocess.run(
        [sys.executable, "-c", "from edgesr.cli import main; main()", *words], check=False
    ).returncode
    if status:
        sys.exit(status)


def side_by_side(small: Path, large: Path, target: Path) -> None:
    """Draw the region with the most detail, upscaled by bicubic and by the network."""
    with Image.open(small) as source, Image.open(large) as result:
        low, high = source.convert("RGB"), result.convert("RGB")
    bicubic = low.resize(high.size, Image.Resampling.BICUBIC)
    left, top = busiest(low)
    box = [2 * v for v in (left, top, min(left + CROP, low.width), min(top + CROP, low.height))]
    views = [picture.crop(tuple(box)) for picture in (bicubic, high)]
    width, height = views[0].width * ZOOM // 2, views[0].height * ZOOM // 2
    sheet = Image.new("RGB", (2 * width + 8, height + 24), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, view) in enumerate(zip(("bicubic", "edgesr"), views, strict=True)):
        x = index * (width + 8)
        sheet.paste(view.resize((width, height), Image.Resampling.NEAREST), (x, 24))
        draw.text((x + 6, 6), name, fill="black")
    sheet.save(target)


def busiest(picture: Image.Image) -> tuple[int, int]:
    """Left and top of the square with the strongest edges."""
    grey = np.asarray(picture.convert("L"), np.float64)
    edges = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    places = [
        (x, y)
        for y in range(0, max(1, grey.shape[0] - CROP), 20)
        for x in range(0, max(1, grey.shape[1] - CROP), 20)
    ]
    return max(places, key=lambda p: edges[p[1] : p[1] + CROP, p[0] : p[0] + CROP].sum())


if __name__ == "__main__":
    main()
