"""Benchmark a file in a headless Chromium of this machine."""

import os
import queue
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgesr.benchmark.browser import BrowserRecord
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError, MissingDependencyError
from edgesr.web.build import Size
from edgesr.web.serve import serve_page
from edgesr.web.server import Events

WebBackend = Literal["wasm", "webgpu"]
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--headless=new",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--enable-unsafe-webgpu",
)
_SOFTWARE = ("--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")


class BrowserBenchError(EdgeSRError):
    """The browser gave no result."""


@dataclass(frozen=True)
class BrowserPlan:
    """Backends, runs and size of a benchmark in a browser.

    Attributes:
        backends: What is to compute, one after the other.
        size: Height and width of the file's input.
        runs: Timed runs.
        warm_up: Runs before.
        software: Whether WebGPU is to be SwiftShader's, a software device.
        timeout_s: Time for one backend.
    """

    backends: Sequence[WebBackend]
    size: Size = (256, 256)
    runs: int = 20
    warm_up: int = 3
    software: bool = False
    timeout_s: float = 600.0


def run_browser_benchmark(
    file: Path, plan: BrowserPlan, *, progress: ProgressCallback = silent
) -> BrowserRecord:
    """Measure a file in a headless Chromium.

    Args:
        file: A super-resolution `.tflite`.
        plan: What to measure, and how.
        progress: Told how far it is.

    Raises:
        MissingDependencyError: There is no Chromium.
        BrowserBenchError: The browser ended, failed, gave wrong pixels, or took too long.
        EdgeSRError: The page cannot be built.
    """
    program = _program()
    answers: queue.Queue[BrowserRecord | str] = queue.Queue()
    events = Events(record=answers.put, failed=answers.put)
    found: list[BrowserRecord] = []
    with serve_page([file], events, tiles=[plan.size], progress=progress) as served:
        for index, backend in enumerate(plan.backends):
            progress(f"{backend} in a browser", index, len(plan.backends))
            wanted = f"#backend={backend}&runs={plan.runs}&warm-up={plan.warm_up}"
            found.append(_measure(program, f"{served.address}{wanted}", plan, answers, backend))
    cases = tuple(case for record in found for case in record.cases)
    for case in cases:
        if not case.fidelity.passed:
            raise BrowserBenchError(
                f"wrong picture: {case.file} with {case.setting} differs from the CPU by up to "
                f"{case.fidelity.max_abs:.2g} ({case.fidelity.psnr_db:.1f} dB); its times are of "
                "no use"
            )
    return found[-1].model_copy(update={"cases": cases})


def _program() -> str:
    found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        raise MissingDependencyError(
            f"no Chromium on this machine, allowed {', '.join(_PROGRAMS)}; install one of them "
            "(Debian's package is chromium)"
        )
    return found


def _measure(
    program: str,
    address: str,
    plan: BrowserPlan,
    answers: "queue.Queue[BrowserRecord | str]",
    backend: WebBackend,
) -> BrowserRecord:
    """Open the page, which measures unasked, and wait for its record."""
    arguments = [*_ARGUMENTS, *(_SOFTWARE if plan.software else ())]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to run as root with it
    with tempfile.TemporaryDirectory(prefix="edgesr-chromium-", ignore_cleanup_errors=True) as home:
        process = subprocess.Popen(
            [program, *arguments, f"--user-data-dir={home}", address],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            answer = _wait(process, plan.timeout_s, answers)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    if isinstance(answer, str):
        raise BrowserBenchError(f"{backend} in a browser: {answer}")
    return answer


def _wait(
    process: "subprocess.Popen[bytes]",
    timeout_s: float,
    answers: "queue.Queue[BrowserRecord | str]",
) -> BrowserRecord | str:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            return answers.get(timeout=0.5)
        except queue.Empty:
            if process.poll() is not None:
                return f"Chromium ended with status {process.returncode}; try it with fewer runs"
    return f"no record within {timeout_s:g} s; use fewer --runs or a smaller --size"
