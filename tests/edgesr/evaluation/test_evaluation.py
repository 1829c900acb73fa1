"""Evaluating: what is measured, what is kept of interrupted work, the page."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from edgesr.errors import ImageError, OutputError
from edgesr.evaluation.benchmark_sets import Upscale, by_bicubic
from edgesr.evaluation.evaluate import evaluate
from edgesr.evaluation.journal import Journal
from edgesr.evaluation.methods import Method, bicubic, digest_of, on_multiples
from edgesr.images.datasets import Pair
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_y, ssim_y
from edgesr.report.evaluation_page import SHOWN, page
from helpers.images import noise_image

SCALE = 2


def pairs(count: int = 3) -> list[Pair]:
    made: list[Pair] = []
    for seed in range(count):
        hr = np.kron(noise_image(16, 20, seed=seed), np.ones((2, 2, 1), np.uint8))
        made.append(Pair(f"p{seed}", imresize(hr, 1 / SCALE), hr))
    return made


def nearest(lr: np.ndarray) -> np.ndarray:
    return lr.repeat(SCALE, 0).repeat(SCALE, 1)


class Counted:
    """A method that counts, and is interrupted at one call."""

    def __init__(self, upscale: Upscale, interrupted_at: int = -1) -> None:
        self.upscale, self.interrupted_at, self.calls = upscale, interrupted_at, 0

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        if self.calls == self.interrupted_at:
            raise KeyboardInterrupt
        self.calls += 1
        return self.upscale(lr)


def method(upscale: Upscale, name: str = "nearest") -> Method:
    return Method(name, "numpy", SCALE, digest_of(name), upscale)


def test_every_image_is_measured_as_papers_do_and_averaged() -> None:
    found = evaluate(pairs(), [bicubic(SCALE), method(nearest)], Journal(None, resume=False))
    assert [column.method.name for column in found] == ["bicubic", "nearest"]
    for column, upscale in zip(found, (by_bicubic(SCALE), nearest), strict=True):
        for measured, pair in zip(column.scores, pairs(), strict=True):
            made = upscale(pair.lr_hwc_u8)
            assert measured.psnr_db == psnr_y(made, pair.hr_hwc_u8, SCALE)
            assert measured.ssim == ssim_y(made, pair.hr_hwc_u8, SCALE)
            assert measured.seconds > 0
        assert column.mean.psnr_db == pytest.approx(np.mean([m.psnr_db for m in column.scores]))


@pytest.mark.parametrize("stopped_at", [0, 1, 2])
def test_what_was_measured_before_an_interruption_is_not_measured_again(
    tmp_path: Path, stopped_at: int
) -> None:
    path = tmp_path / "kept.jsonl"
    stopped = method(Counted(nearest, stopped_at))
    with pytest.raises(KeyboardInterrupt):
        evaluate(pairs(), [stopped], Journal(path, resume=False))
    rest = Counted(nearest)
    found = evaluate(pairs(), [method(rest)], Journal(path, resume=True))
    assert rest.calls == 3 - stopped_at
    whole = evaluate(pairs(), [method(nearest)], Journal(None, resume=False))
    values = [[(m.psnr_db, m.ssim) for m in run[0].scores] for run in (found, whole)]
    assert values[0] == values[1]


def test_a_line_that_was_broken_off_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    evaluate(pairs(), [method(nearest)], Journal(path, resume=False))
    text = path.read_text()
    path.write_text(text[:-20])
    again = Counted(nearest)
    evaluate(pairs(), [method(again)], Journal(path, resume=True))
    assert again.calls == 1
    assert Journal(path, resume=True).known == 3
    assert len(path.read_text().splitlines()) == 3


def test_results_of_other_pixels_or_another_method_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    evaluate(pairs(2), [method(nearest)], Journal(path, resume=False))
    other_method = Counted(nearest)
    evaluate(pairs(2), [method(other_method, "other")], Journal(path, resume=True))
    assert other_method.calls == 2
    changed = pairs(2)
    changed[1].hr_hwc_u8[0, 0, 0] ^= 1
    other_pixels = Counted(nearest)
    evaluate(changed, [method(other_pixels)], Journal(path, resume=True))
    assert other_pixels.calls == 1


def test_infinity_survives_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    (equal,) = pairs(1)
    for resume in (False, True):
        (column,) = evaluate(
            [equal], [method(lambda _: equal.hr_hwc_u8)], Journal(path, resume=resume)
        )
        assert column.scores[0].psnr_db == math.inf


def test_a_journal_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OutputError, match=r"kept\.jsonl"):
        Journal(tmp_path / "kept.jsonl", resume=True)


def test_a_failure_names_the_image_and_the_method() -> None:
    def broken(_: np.ndarray) -> np.ndarray:
        raise ImageError("the network gives NaN")

    with pytest.raises(ImageError, match="p0 by broken: the network gives NaN"):
        evaluate(pairs(), [method(broken, "broken")], Journal(None, resume=False))


def test_sizes_that_are_no_multiple_are_continued_by_reflection_and_cropped() -> None:
    seen: list[tuple[int, ...]] = []

    def strict(lr: np.ndarray) -> np.ndarray:
        seen.append(lr.shape)
        return nearest(lr)

    lr = noise_image(15, 18)
    made = on_multiples(strict, 4, SCALE)(lr)
    assert seen == [(16, 20, 3)]
    np.testing.assert_array_equal(made, nearest(lr))
    np.testing.assert_array_equal(on_multiples(lambda x: x, 4, 1)(lr), lr)


def test_the_page_is_whole_in_itself_and_harmless() -> None:
    many = pairs(SHOWN + 2)
    found = evaluate(many, [bicubic(SCALE), method(nearest, "<b>x")], Journal(None, resume=False))
    text = page("<t>", {"data": "<i>"}, many, found)
    assert text.count("<h2>") == SHOWN
    # The original, and for each method a crop and its difference.
    assert text.count("<img ") == SHOWN * (1 + 2 * 2)
    assert set(re.findall(r'src="([^,]*),', text)) == {"data:image/png;base64"}
    assert not re.findall(r"https?:|<script|<link|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "<b>x" not in text
    assert "<t>" not in text
    assert "<i>" not in text
    assert all(pair.name in text for pair in many)
