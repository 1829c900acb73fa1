"""The page in a real browser: what it gives is what `edgesr upscale` gives, or it says why not."""

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import edgesr
from edgesr.images.test_card import draw_test_card
from edgesr.web.build import build_page
from edgesr.web.models import model_files
from edgesr.weights.bundled import model_file
from helpers.browser import choose, download, open_browser, open_page, static_host

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with open_browser() as found:
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built page with both files that come with edgesr."""
    folder = tmp_path_factory.mktemp("web") / "site"
    build_page(folder, model_files(()))
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Generator[str]:
    with static_host(site) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Generator[Page]:
    context = browser.new_context(viewport={"width": 360, "height": 740})
    yield context.new_page()
    context.close()


def save_card(path: Path, height: int, width: int) -> Path:
    Image.fromarray(draw_test_card(height, width)).save(path)
    return path


def grey_levels_apart(got: Path, source: Path, model: str) -> int:
    """The largest difference of a downloaded image from what `edgesr.upscale` gives."""
    with edgesr.load_model(model) as net:
        expected = net.upscale(np.asarray(Image.open(source).convert("RGB")))
    found = np.asarray(Image.open(got).convert("RGB"))
    assert found.shape == expected.shape
    return int(np.abs(found.astype(int) - expected).max())


@pytest.mark.parametrize(
    ("model", "backend", "size"),
    [
        ("imdn-rtc x2", "wasm", (700, 1000)),
        ("fmen-s x4", "wasm", (128, 128)),
        ("imdn-rtc x2", "webgpu", (128, 128)),
    ],
)
def test_tiles_in_the_browser_give_what_upscale_gives(
    page: Page, address: str, tmp_path: Path, model: str, backend: str, size: tuple[int, int]
) -> None:
    source = save_card(tmp_path / "card.png", *size)
    open_page(page, address, model=model, backend=backend)
    assert choose(page, source) == ""
    got = download(page, tmp_path / "got.png")
    assert grey_levels_apart(got, source, model.split()[0]) <= 1


def test_attention_network_by_webgpu_gives_what_upscale_gives(page: Page, tmp_path: Path) -> None:
    """By a tile of 72x72: a software device needs 20 s for one of 128x128."""
    build_page(tmp_path / "site", model_files(["fmen-s"]), tiles=[(72, 72)])
    source = save_card(tmp_path / "card.png", 72, 72)
    with static_host(tmp_path / "site") as address:
        open_page(page, address, model="fmen-s x4", backend="webgpu")
        assert choose(page, source) == ""
        got = download(page, tmp_path / "got.png")
    assert grey_levels_apart(got, source, "fmen-s") <= 1


def test_a_plain_static_host_is_isolated_by_the_service_worker(page: Page, address: str) -> None:
    open_page(page, address)
    page.wait_for_selector("body[data-isolated=yes]", timeout=30_000)


def test_pixels_other_than_the_cpus_are_no_result(page: Page, site: Path, tmp_path: Path) -> None:
    """A file whose expected output is another one's: as if the backend gave garbage."""
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    expected = copy / "models/0/expected.bin"
    expected.write_bytes(np.fromfile(expected, "<f4")[::-1].tobytes())
    with static_host(copy) as address:
        open_page(page, address)
        assert choose(page, save_card(tmp_path / "card.png", 64, 64)).startswith("Wrong picture:")
        assert page.is_hidden("#comparison")
        assert page.is_disabled("#download")


def test_faults_are_one_sentence_and_the_page_goes_on(
    page: Page, site: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    (copy / "models/1/128x128.tflite").unlink()
    small = save_card(tmp_path / "card.png", 128, 128)
    (tmp_path / "text.png").write_text("no image")
    with static_host(copy) as address:
        open_page(page, address, model="fmen-s x4")
        assert "models/1/128x128.tflite is missing" in choose(page, small)
        assert "cannot be read as an image" in choose(page, tmp_path / "text.png")
        assert "too large" in choose(page, save_card(tmp_path / "large.png", 2001, 2000))
        page.select_option("#model", label="imdn-rtc x2")
        assert choose(page, small) == ""


def test_a_browser_without_webgpu_falls_back_to_wasm(
    page: Page, address: str, tmp_path: Path
) -> None:
    page.add_init_script(
        "Object.defineProperty(Navigator.prototype, 'gpu', {get: () => undefined})"
    )
    page.goto(address)
    page.wait_for_selector("#status:text('offers no WebGPU')", timeout=30_000)
    assert page.input_value("#backend") == "wasm"


def test_a_missing_runtime_is_named(page: Page, site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy, ignore=shutil.ignore_patterns("*.wasm"))
    with static_host(copy) as address:
        open_page(page, address)
        reason = choose(page, save_card(tmp_path / "card.png", 64, 64))
    assert reason.startswith("The runtime could not be loaded;")


def test_catalog_states_the_files_that_are_served(site: Path) -> None:
    catalog = json.loads((site / "models.json").read_bytes())
    assert [entry["name"] for entry in catalog["models"]] == ["imdn-rtc", "fmen-s"]
    assert catalog["models"][0]["file"]["name"] == model_file(None).name
