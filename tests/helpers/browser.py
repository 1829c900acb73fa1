"""The page of `edgesr web` in the Chromium of this system."""

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# WebGPU by SwiftShader: a software device, so its times say nothing of a GPU's.
_ARGUMENTS = (
    "--no-sandbox",  # Chromium's own needs privileges that containers lack
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)
_DONE = "#status:text-is('Done.'), #error:not([hidden])"


@contextmanager
def open_browser() -> Generator[Browser]:
    """Start Chromium; without one the test is skipped, or fails where CI requires a GPU."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        message = "no chromium on this machine (`make system-deps` installs it)"
        if os.environ.get("EDGESR_REQUIRE_GPU") == "1":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[*_ARGUMENTS])
        yield browser
        browser.close()


class _Static(http.server.SimpleHTTPRequestHandler):
    """A host that sets no headers of its own, as the plainest static hosts."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def static_host(folder: Path) -> Generator[str]:
    """Serve a folder on this machine; gives its address."""
    handler = functools.partial(_Static, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def open_page(
    page: Page, address: str, *, model: str = "imdn-rtc x2", backend: str = "wasm"
) -> Page:
    """Open the page, wait until it has its models, and choose."""
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=30_000)
    page.select_option("#model", label=model)
    page.select_option("#backend", backend)
    return page


def choose(page: Page, image: Path) -> str:
    """Choose an image and wait; the page's error, empty where the image was upscaled."""
    page.set_input_files("#choose", str(image))
    page.wait_for_selector(_DONE, timeout=180_000)
    return "" if page.is_hidden("#error") else page.inner_text("#error")


def download(page: Page, into: Path) -> Path:
    """Download the upscaled image."""
    with page.expect_download() as caught:
        page.click("#download")
    caught.value.save_as(into)
    return into
