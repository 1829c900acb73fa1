"""`edgesr.load_model`, `Model.upscale` and `edgesr.upscale`: images in, images of that kind out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import edgesr
from edgesr import errors
from helpers.images import noise_image
from helpers.upscale_command import NET, SHAPE


@pytest.fixture
def model(small_tflite: Path) -> edgesr.Model:
    return edgesr.load_model(small_tflite)


def _expected(pixels_hwc: NDArray[np.generic]) -> NDArray[np.float32]:
    return NET.expected(pixels_hwc, SHAPE).clip(0, 1)


def test_a_model_knows_its_file(model: edgesr.Model, small_tflite: Path) -> None:
    assert (model.path, model.scale, model.backend) == (small_tflite, 2, "cpu")
    assert model.input_size == (SHAPE.height, SHAPE.width)
    assert model.facts is not None
    assert model.facts.model == "small"
    assert model.notes == ()
    assert "x2" in repr(model)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_give_integers_over_their_whole_range(model: edgesr.Model, dtype: type) -> None:
    pixels = noise_image().astype(dtype) * (np.iinfo(dtype).max // 255)
    got = model.upscale(pixels)
    assert (got.dtype, got.shape) == (dtype, (60, 80, 3))
    error = np.abs(got - _expected(pixels) * np.iinfo(dtype).max)
    assert error.max() < 0.51 + (dtype is np.uint16) * 0.5  # float32 holds 16 bits to about 0.01


def test_float32_gives_float32_that_is_not_rounded(model: edgesr.Model) -> None:
    pixels = noise_image()
    before = (pixels / 255).astype(np.float32)
    got = model.upscale(before)
    assert (got.dtype, got.shape) == (np.float32, (60, 80, 3))
    assert got.min() >= 0
    assert got.max() <= 1
    np.testing.assert_allclose(got, _expected(pixels), atol=2e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (4,)], ids=["HW", "1", "2", "4"])
def test_the_shape_stays(model: edgesr.Model, dtype: type, channels: tuple[int, ...]) -> None:
    white = 1 if dtype is np.float32 else np.iinfo(dtype).max
    pixels = np.random.default_rng(0).random((20, 30, *channels)) * white
    got = model.upscale(pixels.astype(dtype))
    assert (got.dtype, got.shape) == (dtype, (40, 60, *channels))


def test_alpha_and_hidden_colours_are_treated_alike_in_all_types(model: edgesr.Model) -> None:
    rgba = noise_image(20, 30)[..., [0, 1, 2, 0]].copy()
    rgba[:10, :, 3] = 0
    as_float = model.upscale((rgba / 255).astype(np.float32))
    # 8 bits are rounded twice: colours below full transparency before the network, all after it.
    assert np.abs(as_float * 255 - model.upscale(rgba)).max() < 2


@pytest.mark.parametrize(
    ("mode", "result"),
    [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("LA", "LA"), ("1", "L"), ("P", "RGB"),
     ("CMYK", "RGB"), ("I;16", "I;16")],
)  # fmt: skip
def test_a_pillow_image_gives_a_pillow_image(model: edgesr.Model, mode: str, result: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(noise_image(20, 30)[..., 0].astype(np.uint16) * 257)
    else:
        image = Image.fromarray(noise_image(20, 30)).convert(mode)
    got = model.upscale(image)
    assert (got.mode, got.size) == (result, (60, 40))


def test_a_pillow_image_and_its_array_give_the_same(model: edgesr.Model) -> None:
    pixels = noise_image(20, 30)
    assert np.array_equal(np.asarray(model.upscale(Image.fromarray(pixels))), model.upscale(pixels))


def test_a_pillow_image_is_turned_upright_and_keeps_its_metadata(
    model: edgesr.Model, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010F] = "a camera"
    Image.fromarray(noise_image(20, 30)).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        got = model.upscale(image)
    assert got.size == (40, 60)
    got.save(tmp_path / "upright.png", exif=got.info["exif"])
    with Image.open(tmp_path / "upright.png") as image:
        kept = image.getexif()
    assert (kept.get(0x0112), kept.get(0x010F)) == (1, "a camera")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3), np.float64), "got an array of float64, allowed uint8"),
        (np.zeros((4, 4, 5), np.uint8), "1 to 4 channels"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"shape \(1, 4, 4, 3\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        (np.full((4, 4, 3), 255, np.float32), "from 255 to 255, allowed 0 .* to 1"),
        (np.full((4, 4, 3), np.nan, np.float32), "from nan to nan"),
        (Image.new("F", (4, 4)), "mode F"),
        (Image.new("RGB", (0, 4)), "4x0 pixels"),
    ],
)
def test_what_is_no_image_is_refused(model: edgesr.Model, image: object, words: str) -> None:
    with pytest.raises(errors.ImageError, match=words):
        model.upscale(image)  # type: ignore


def test_tiles_are_reported_as_they_are_done(small_tflite: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    with edgesr.load_model(small_tflite, tile="file") as model:
        model.upscale(noise_image(), progress=lambda *step: steps.append(step))
    assert steps == [("tiles", done, 6) for done in range(7)]


def test_an_untiled_image_is_one_tile_and_equal(small_tflite: Path, model: edgesr.Model) -> None:
    steps: list[int] = []
    whole = edgesr.load_model(small_tflite, whole=True)
    got = whole.upscale(noise_image(), progress=lambda _, __, total: steps.append(total))
    assert set(steps) == {1}
    assert np.abs(got.astype(int) - model.upscale(noise_image())).max() <= 1


def test_a_closed_model_is_refused(small_tflite: Path) -> None:
    with edgesr.load_model(small_tflite) as model:
        pass
    model.close()
    with pytest.raises(errors.ModelFileError, match="closed"):
        model.upscale(noise_image())


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"backend": "tpu"}, errors.OptionError, "got backend 'tpu', allowed cpu, cpu-fp16, gpu"),
        ({"whole": True, "overlap": 3}, errors.OptionError, "overlap"),
        ({"model": "no-such-network"}, errors.ModelFileError, "no-such-network"),
        ({"model": Path("rtc")}, errors.ModelFileError, "rtc"),
    ],
)
def test_a_bad_argument_is_one_of_our_errors(
    arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        edgesr.load_model(**arguments)  # type: ignore


def test_files_are_upscaled_and_one_failure_stops_no_other(
    model: edgesr.Model, folder: Path
) -> None:
    (folder / "b.png").write_text("no image")
    done, failed = model.upscale_files([folder], folder / "out")
    assert isinstance(done, edgesr.UpscaledFile)
    assert (done.input_size, done.output_size) == ((30, 40), (60, 80))
    assert not isinstance(failed, edgesr.UpscaledFile)
    assert "b.png" in failed.message


def test_one_file_is_upscaled_beside_itself(folder: Path, small_tflite: Path) -> None:
    done = edgesr.upscale(folder / "a.png", model=small_tflite)
    assert done.job.target == folder / "a_x2.png"
    with Image.open(done.job.target) as image:
        assert image.size == (80, 60)
    with pytest.raises(errors.OutputError, match="exists"):
        edgesr.upscale(folder / "a.png", model=small_tflite)
    edgesr.upscale(folder / "a.png", model=small_tflite, overwrite=True)


def test_a_folder_is_not_one_file(folder: Path, small_tflite: Path) -> None:
    with pytest.raises(errors.ImageError, match="is a folder"):
        edgesr.upscale(folder, model=small_tflite)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile": (16, 24), "whole": True}, "untiled images have no tiles"),
        ({"tile": (0, 24)}, r"got the tile \(0, 24\)"),
        ({"memory_mib": 0}, "got 0 MiB of memory, allowed 1 and more"),
    ],
    ids=str,
)
def test_a_bad_size_of_tiles_is_refused(
    small_tflite: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(errors.OptionError, match=words):
        edgesr.load_model(small_tflite, **options)


def test_a_file_that_fits_one_size_keeps_its_tiles_and_says_so(
    small_tflite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise errors.ModelFileError("it runs at its own size only: RESHAPE")

    monkeypatch.setattr("edgesr._api.model.open_fitted", refuse)
    steps: list[tuple[str, int, int]] = []
    with edgesr.load_model(small_tflite) as model:
        model.upscale(noise_image(), progress=lambda *step: steps.append(step))
    assert steps[-1] == ("tiles", 6, 6)
    assert len(model.notes) == 1
    assert model.notes[0].startswith("tiles are of the file's own size, 16x24: it runs at")
