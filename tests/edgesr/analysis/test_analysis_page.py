"""The report's page: it shows the findings, stands alone, and names what is missing."""

import base64
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgesr.analysis.features import FeatureMap
from edgesr.analysis.findings import Findings, ImageUsed, StressTest, as_data
from edgesr.analysis.frequency import AttentionSpectra, Spectrum
from edgesr.analysis.points import SIDE, Point, Subject, measure_points
from edgesr.analysis.spectrum import high_share, power_spectrum, radial_profile
from edgesr.analysis.stress_test import Deadline, StressOutcome, StressState
from edgesr.evaluation.benchmark_sets import by_bicubic
from edgesr.evaluation.complexity import Complexity, Peak
from edgesr.evaluation.methods import bicubic
from edgesr.images.datasets import Pair
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_y
from edgesr.report.figures import map_png, scatter_sheet
from edgesr.report.network_page import render
from helpers.images import noise_image

POINT = Point(
    "fmen-s", "fmen-s x4", "PyTorch", 4, 341_066, 22_280_000_000, 50 << 20, 812.5, 10, 31.36, 0.881
)
COST = Complexity(1000, 4000, 2_000_000, 0, 0, 1, Peak(3 << 20), ())


def spectrum(seed: int) -> Spectrum:
    power = power_spectrum(np.random.default_rng(seed).standard_normal((24, 32)))
    share = high_share(power)
    return Spectrum(power, radial_profile(power), share, share)


def findings() -> Findings:
    outcomes = [
        StressOutcome("fmen-s", 128, StressState.MEASURED, "", 93.75, 3, 200 << 20, 260 << 20),
        StressOutcome("fmen-s", 256, StressState.TOO_LARGE, "needs about 900 MiB, 512 MiB allowed"),
        StressOutcome("fmen-s", 512, StressState.NOT_RUN, "time budget"),
    ]
    ramp = np.linspace(-1, 3, 24 * 32, dtype=np.float32).reshape(24, 32)
    return Findings(
        conditions={"processor": "an abacus"},
        targets=["fmen-s", "rtc"],
        points=[POINT, replace(POINT, name="rtc", scale=2, psnr_db=37.19, missing=("x: y",))],
        stress=StressTest(outcomes, 512.0 * (1 << 20), 2),
        frequency={
            "fmen-s": [AttentionSpectra("HFABs.0", spectrum(0), spectrum(1))],
            "rtc": "It has none.",
        },
        features={"fmen-s": [FeatureMap("head", "Conv2d", 50, ramp)], "rtc": "Name the network."},
        image=ImageUsed("a photo", noise_image(24, 32)),
    )


@pytest.fixture(scope="module")
def page() -> str:
    return render(findings())


def embedded(page: str) -> list[tuple[str, bytes]]:
    """Kind and content of every image in a page."""
    found = re.findall(r'src="data:image/([^;]+);base64,([^"]*)"', page)
    return [(kind, base64.b64decode(data)) for kind, data in found]


def test_the_page_and_every_drawing_in_it_stand_alone(page: str) -> None:
    assert not re.findall(
        r"https?:|//|@import|<script|<link", re.sub(r'src="data:[^"]*"', "", page)
    )
    assert page.count("<img") == len(embedded(page)) > 10
    for kind, content in embedded(page):
        if kind == "svg+xml":
            # Namespaces are names, nobody fetches them.
            text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", content.decode())
            assert not re.findall(r"https?:|@import|<script|<!DOCTYPE", text)
        else:
            Image.open(io.BytesIO(content)).verify()


def test_numbers_are_on_the_page_and_what_is_missing_is_named(page: str) -> None:
    page = re.sub(r"<td[^>]*>", "<td>", page)
    for words in (
        "<td>31.36</td><td>0.8810</td><td>341,066</td><td>22.28</td><td>812.5</td><td>50.0</td>",
        "93.8 ms<br>260 MiB (200 MiB)",
        "does not fit",
        "fmen-s, 256x256: does not fit: needs about 900 MiB, 512 MiB allowed",
        "not run: time budget",
        "It has none.",
        "Name the network.",
        "rtc: x: y",
        "an abacus",
        "-0.96 to 2.96",
    ):
        assert words in page, words


def test_a_file_is_named_without_its_folder_where_its_name_is_enough() -> None:
    targets = ["/home/me/a/net.tflite", "/home/me/a/twice.pth", "/home/me/b/twice.pth"]
    page = render(Findings({}, targets, features=dict.fromkeys(targets, "None.")))
    assert "<h3>net.tflite</h3>" in page
    assert "/home/me/a/net.tflite" not in page
    assert [f"<h3>{target}</h3>" in page for target in targets[1:]] == [True, True]


def test_scales_have_panels_of_their_own(page: str) -> None:
    assert page.count('alt="PSNR against parameters, thousands, x4"') == 1
    assert page.count('alt="PSNR against parameters, thousands, x2"') == 1


def test_sections_that_were_not_asked_for_are_not_there() -> None:
    page = render(Findings({}, ["rtc"]))
    assert "<h2>Conditions" in page
    assert page.count("<h2>") == 1


def test_nothing_measured_is_no_empty_chart() -> None:
    outcomes = [StressOutcome("rtc", 128, StressState.NOT_RUN, "time budget")]
    bare = replace(POINT, psnr_db=None, ssim=None)
    page = render(Findings({}, ["rtc"], points=[bare], stress=StressTest(outcomes, math.inf, 1)))
    assert "There is no PSNR to draw." in page
    assert "No size was measured." in page
    assert not embedded(page)
    assert scatter_sheet([bare]) == ""


def test_names_are_escaped() -> None:
    evil = "<b>&x"
    outcome = StressOutcome(evil, 128, StressState.TOO_LARGE, evil)
    page = render(
        Findings(
            {evil: evil},
            [evil],
            points=[replace(POINT, name=evil, psnr_db=None, missing=(evil,))],
            stress=StressTest([outcome], math.inf, 1),
            frequency={evil: evil},
            features={evil: [FeatureMap(evil, evil, 1, np.eye(4, dtype=np.float32))]},
            image=ImageUsed(evil, noise_image(8, 8)),
        )
    )
    assert evil not in page
    assert "&lt;b&gt;&amp;x" in page


def test_the_scatter_for_a_readme_is_one_drawing_for_light_and_dark() -> None:
    sheet = scatter_sheet(findings().points or ())
    assert sheet.count("<svg") == 1
    assert "prefers-color-scheme: dark" in sheet
    assert "var(--text)" in sheet
    assert sheet == scatter_sheet(findings().points or ())


def test_a_map_goes_from_the_darkest_to_the_brightest_colour() -> None:
    content = map_png(np.array([[-2.0, -1.0], [1.0, 9.0]]), -1, 1)
    pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    assert pixels.shape == (2, 2, 3)
    assert pixels[0, 0].tolist() == pixels[0, 1].tolist() == [68, 1, 84]
    assert pixels[1, 0].tolist() == pixels[1, 1].tolist() == [253, 231, 36]


def test_all_numbers_are_there_for_programs() -> None:
    data = json.loads(json.dumps(as_data(findings())))
    assert data["scatter"]["points"][0]["psnr_db"] == 31.36
    assert [o["state"] for o in data["stress"]["outcomes"]] == [
        "measured",
        "does not fit",
        "not run",
    ]
    block = data["frequency"]["fmen-s"][0]
    assert block["before"]["high_share"] == spectrum(0).high_share
    assert len(block["after"]["power"]) == len(block["after"]["frequency"]) == 32
    assert data["frequency"]["rtc"] == "It has none."
    assert data["features"]["fmen-s"][0]["mean"] == pytest.approx(1.0)
    assert set(as_data(Findings({}, []))) == {"conditions"}


def pair() -> Pair:
    hr = np.kron(noise_image(12, 14), np.ones((4, 4, 1), np.uint8))
    return Pair("one", imresize(hr, 0.5), hr)


def test_points_are_measured_as_eval_measures_and_timed_at_the_stated_size() -> None:
    sizes: list[tuple[int, ...]] = []
    upscale = by_bicubic(2)

    def counted(lr: np.ndarray) -> np.ndarray:
        sizes.append(lr.shape)
        return upscale(lr)

    subject = Subject(replace(bicubic(2), upscale=counted), "bicubic", COST, {"Set5": 1.0})
    (point,) = measure_points([subject], {2: [pair()]}, "mine", Deadline(600))
    assert point.psnr_db == psnr_y(upscale(pair().lr_hwc_u8), pair().hr_hwc_u8, 2)
    assert point.psnr_of == "mine, 1 images, measured now"
    assert (point.parameters, point.macs, point.activation_bytes) == (1000, 2_000_000, 3 << 20)
    assert point.latency_ms is not None
    assert point.latency_ms > 0
    assert sizes == [(SIDE, SIDE, 3)] * (point.runs + 1) + [pair().lr_hwc_u8.shape]
    assert point.missing == ()


def test_without_images_the_recorded_psnr_is_taken_and_called_so() -> None:
    recorded = Subject(bicubic(2), "a", None, {"Set5": 37.5})
    nothing = Subject(bicubic(2), "b", None, {})
    first, second = measure_points([recorded, nothing], {}, "", Deadline(600))
    assert (first.psnr_db, first.ssim) == (37.5, None)
    assert first.psnr_of == "Set5, recorded with the weights"
    assert first.missing == ("counts and latency: the file fits its own size only",)
    assert first.latency_ms is None
    assert second.psnr_db is None
    assert "none is recorded" in second.missing[1]


def test_after_the_time_points_are_counted_but_not_measured() -> None:
    subject = Subject(bicubic(2), "bicubic", COST, {})
    (point,) = measure_points([subject], {2: [pair()]}, "mine", Deadline(0))
    assert (point.psnr_db, point.latency_ms, point.macs) == (None, None, 2_000_000)
    assert point.missing == ("latency: not run: time budget", "PSNR: not run: time budget")
