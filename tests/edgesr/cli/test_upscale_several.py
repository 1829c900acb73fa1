"""`edgesr upscale` on animations and pages."""

from pathlib import Path

import numpy as np
from PIL import Image

from edgesr.images.several import read_series
from edgesr.images.test_card import draw_test_card
from helpers.commands import Command

_CARD = draw_test_card(40, 60)
_FRAMES = [Image.fromarray(np.roll(_CARD, 7 * place, axis=1)) for place in (0, 0, 1, 2)]


def _gif(path: Path) -> Path:
    _FRAMES[0].save(
        path, save_all=True, append_images=_FRAMES[1:], duration=[50, 60, 70, 80], loop=0
    )
    return path


def test_every_frame_of_a_gif_is_upscaled_as_if_it_were_alone(
    upscale: Command, tmp_path: Path
) -> None:
    source = read_series(_gif(tmp_path / "in.gif"))
    ran = upscale(tmp_path / "in.gif", "-o", tmp_path / "out.png")
    assert ran.status == 0, ran.err
    result = read_series(tmp_path / "out.png")
    assert (result.durations_ms, result.plays) == (source.durations_ms, 0)
    for index, (frame, large) in enumerate(zip(source.images, result.images, strict=True)):
        Image.fromarray(frame.pixels_hwc).save(tmp_path / "one.png")
        assert upscale(tmp_path / "one.png", "-o", tmp_path / f"{index}.png").status == 0
        alone = np.asarray(Image.open(tmp_path / f"{index}.png").convert("RGB"))
        np.testing.assert_array_equal(large.pixels_hwc[..., :3], alone)


def test_sizes_and_formats_hold_for_every_frame(upscale: Command, tmp_path: Path) -> None:
    _gif(tmp_path / "in.gif")
    out = tmp_path / "out.webp"
    assert upscale(tmp_path / "in.gif", "--to", "30x60", "--crop", "-o", out).status == 0
    result = read_series(out)
    assert {(image.height, image.width) for image in result.images} == {(30, 60)}
    upscale(tmp_path / "in.gif", "-o", tmp_path / "out.jpg").fails("animated", "use .png")
    assert not (tmp_path / "out.jpg").exists()


def test_pages_stay_pages(upscale: Command, tmp_path: Path) -> None:
    pages = [Image.fromarray(_CARD), Image.fromarray(_CARD[:20, :30])]
    pages[0].save(tmp_path / "in.tiff", save_all=True, append_images=pages[1:])
    assert upscale(tmp_path / "in.tiff").status == 0
    result = read_series(tmp_path / "in_x2.tiff")
    assert [(i.height, i.width) for i in result.images] == [(80, 120), (40, 60)]
