"""What a training is measured on: pairs of LR and HR, found in folders or made."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgesr.errors import ImageError
from edgesr.images.datasets import find_images, validation_pairs
from edgesr.images.imresize import imresize
from edgesr.training.data.patches import to_network_range
from helpers.images import noise_image, save_image


def _pair_folder(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        hr = noise_image(24, 32, seed=ord(name))
        save_image(tmp_path / "set" / "HR" / f"{name}.png", hr)
        save_image(tmp_path / "set" / "LR" / f"{name}.png", imresize(hr, 0.5))
    return tmp_path / "set"


def test_pairs_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    pairs = validation_pairs(_pair_folder(tmp_path), 2)
    assert [pair.name for pair in pairs] == ["a", "b"]
    for pair in pairs:
        assert pair.hr_hwc_u8.shape == (24, 32, 3)
        np.testing.assert_array_equal(pair.lr_hwc_u8, imresize(pair.hr_hwc_u8, 0.5))


def test_a_folder_of_hr_alone_gets_its_lr_made(tmp_path: Path) -> None:
    hr = noise_image(25, 33)
    save_image(tmp_path / "a.png", hr)
    (pair,) = validation_pairs(tmp_path, 2)
    np.testing.assert_array_equal(pair.hr_hwc_u8, hr[:24, :32])
    np.testing.assert_array_equal(pair.lr_hwc_u8, imresize(hr[:24, :32].copy(), 0.5))


def test_the_published_sets_match(shared: Path) -> None:
    pairs = validation_pairs(shared / "data" / "Set14" / "x3", 3)
    assert len(pairs) == 14
    assert pairs[2].hr_hwc_u8.shape[2] == 3, "img_003 is grey"
    with pytest.raises(ImageError, match=r"Set14 holds images for several .*name .*x3"):
        validation_pairs(shared / "data" / "Set14", 3)


def _without_lr(folder: Path) -> None:
    (folder / "LR" / "a.png").unlink()


def _without_hr(folder: Path) -> None:
    (folder / "HR" / "b.png").unlink()


def _other_size(folder: Path) -> None:
    save_image(folder / "LR" / "b.png", noise_image(12, 15))


def _no_lr_folder(folder: Path) -> None:
    (folder / "LR").rename(folder / "low")


def _two_of_a_name(folder: Path) -> None:
    save_image(folder / "HR" / "a.bmp", noise_image(24, 32))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(_without_lr, "LR holds no image named a", id="one less in LR"),
        pytest.param(_without_hr, "HR holds no image named b", id="one less in HR"),
        pytest.param(_other_size, r"b\.png: got 24x32 pixels for 12x15 in LR", id="size"),
        pytest.param(_no_lr_folder, "LR is not a folder", id="no folder LR"),
        pytest.param(_two_of_a_name, "HR holds a twice", id="one name twice"),
    ],
)
def test_hr_and_lr_that_do_not_match_are_named(
    tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    folder = _pair_folder(tmp_path)
    change(folder)
    with pytest.raises(ImageError, match=words):
        validation_pairs(folder, 2)


def test_another_scale_than_the_folders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="allowed 36x48 at scale 3"):
        validation_pairs(_pair_folder(tmp_path), 3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_the_network_gets_nchw_in_its_own_range(tmp_path: Path, value_range: float) -> None:
    save_image(tmp_path / "a.png", noise_image(8, 12))
    (pair,) = validation_pairs(tmp_path, 2)
    batch_nchw = to_network_range(pair.hr_hwc_u8[None], value_range)
    assert batch_nchw.shape == (1, 3, 8, 12)
    assert batch_nchw.is_contiguous()
    expected = pair.hr_hwc_u8.transpose(2, 0, 1)[None] * (value_range / 255)
    np.testing.assert_allclose(batch_nchw.numpy(), expected, rtol=1e-6)
    assert str(batch_nchw.dtype) == "torch.float32"


def test_a_folders_images_are_found_by_suffix_and_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.bmp", "c.jpeg", "d.webp", "e.jpg", ".f.png", "g.txt", "sub/h.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    names = [path.name for path in find_images(tmp_path)]
    assert names == ["a.bmp", "b.PNG", "c.jpeg", "d.webp", "e.jpg"]
    assert [path.name for path in find_images(tmp_path, recursive=True)] == [*names, "h.png"]


def test_what_is_named_like_an_image_and_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "missing.png")
    assert find_images(tmp_path) == [tmp_path / "a.png"]
