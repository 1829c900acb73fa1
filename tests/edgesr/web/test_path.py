"""The whole path of a user, from `edgesr web serve` to a received record; what fails on it."""

import os
import tarfile
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from edgesr.images.test_card import draw_test_card
from edgesr.report.benchmark_records import read_record, results
from edgesr.web.build import build_page
from edgesr.web.models import model_files
from edgesr.web.runtime import REGISTRY_VARIABLE
from edgesr.web.serve import record_writer, serve_page
from edgesr.web.server import Events
from edgesr.weights.download import fetch
from helpers.browser import choose, download, open_browser, open_page, static_host
from helpers.commands import run_alone
from helpers.tflite_builder import TfliteBuilder

pytestmark = pytest.mark.slow

_AXE = "axe-core-4.10.3.tgz"
_AXE_SHA256 = "0f2b4d7dcdf7d1219df8d1959ad68e565f51d14c3f0d88bb71cd59abeb956292"
_RTC = model_files(["imdn-rtc"])
_FAILED = "#error:not([hidden])"


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core, of the npm registry or the cache."""
    registry = os.environ.get(REGISTRY_VARIABLE) or "https://registry.npmjs.org"
    path = fetch(f"{registry.rstrip('/')}/axe-core/-/{_AXE}", _AXE_SHA256, _AXE)
    with tarfile.open(path) as archive:
        member = archive.extractfile("package/axe.min.js")
        assert member is not None
        return member.read().decode()


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "card.png"
    Image.fromarray(draw_test_card(128, 128)).save(path)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_from_the_address_to_a_received_record(
    browser: Browser, axe: str, tmp_path: Path, card: Path, scheme: str
) -> None:
    events = Events(record_writer(tmp_path / "records", lambda *_: None))
    # axe is put in by the driver, which the page's policy would forbid.
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, bypass_csp=True
    )
    with serve_page(_RTC, events, tiles=[(128, 128)]) as served:
        page = open_page(context.new_page(), served.address)
        assert choose(page, card) == ""
        before = page.eval_on_selector("#after", "e => e.style.clipPath")
        page.focus("#slider")
        page.keyboard.press("ArrowLeft")
        assert page.eval_on_selector("#after", "e => e.style.clipPath") != before
        assert Image.open(download(page, tmp_path / "got.png")).size == (256, 256)
        page.click("#bench")
        page.wait_for_selector("#sent:text('was received')", timeout=60_000)
        page.evaluate(axe)
        assert page.evaluate("axe.run().then(({violations}) => violations.map(({id}) => id))") == []
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        context.close()
    (path,) = (tmp_path / "records").iterdir()
    (got,) = results(read_record(path), path)
    assert got.kind == "CPU"
    assert len(got.samples_ms) == 20
    assert got.notes[0].startswith("measured in a browser")


def test_bench_browser_by_both_backends(tmp_path: Path) -> None:
    out = tmp_path / "browser.json"
    words = ("--backend", "wasm", "--backend", "webgpu", "--software", "--size", "64x64")
    few = ("--runs", 2, "--warm-up", 0, "--timeout", 120)
    ran = run_alone("bench", _RTC[0], "--on", "browser", *words, *few, "-o", out)
    assert ran.status == 0, ran.err
    found = results(read_record(out), out)
    assert [got.kind for got in found] == ["CPU", "software device"]
    assert all(got.notes[0].startswith("measured in a browser") for got in found)


def test_a_flex_operator_gives_no_result(browser: Browser, tmp_path: Path, card: Path) -> None:
    """A file with an operator that LiteRT.js lacks, in place of one that the page knows."""
    build_page(tmp_path / "site", _RTC, tiles=[(128, 128)])
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 128, 128, 3]), made.tensor([1, 256, 256, 3])
    made.operator("CUSTOM", [lr], [hr], custom="FlexResizeBicubic")
    (tmp_path / "site/models/0/128x128.tflite").write_bytes(made.finish([lr], [hr]))
    with static_host(tmp_path / "site") as address:
        page = open_page(browser.new_page(), address)
        assert choose(page, card).startswith(("Wrong picture:", "LiteRT.js cannot"))
        assert page.is_hidden("#comparison")
        assert page.is_disabled("#download")
        page.close()


def test_a_lost_gpu_is_one_sentence_and_wasm_goes_on(
    browser: Browser, tmp_path: Path, card: Path
) -> None:
    build_page(tmp_path / "site", _RTC, tiles=[(128, 128)])
    engine = tmp_path / "site/engine.js"
    lost = "const start = performance.now();\n  self.lentDevice?.destroy();"
    engine.write_text(engine.read_text().replace("const start = performance.now();", lost, 1))
    with static_host(tmp_path / "site") as address:
        page = open_page(browser.new_page(), address, backend="webgpu")
        page.set_input_files("#choose", str(card))
        page.wait_for_selector(_FAILED, timeout=60_000)
        assert page.inner_text("#error").startswith("The GPU was lost;")
        page.select_option("#backend", "wasm")
        assert choose(page, card) == ""
        page.close()
