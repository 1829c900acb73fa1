"""What the tests share: images and checkpoints, a GPU, seeds, hypothesis settings."""

import os
import random
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from edgesr.runtime.vulkan import Driver, find_drivers

# Under CI two cores are shared with other work: a slow example is no failure.
settings.register_profile("edgesr", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("edgesr")

_ROOT = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under pytest-xdist the files with the most slow tests begin first.

    Begun last, one of them would keep a single process busy after the others have ended.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test draws the same random numbers, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="module")
def one_torch_thread() -> Generator[None]:
    """Small networks on one thread: on busy cores torch's threads wait for each other for minutes.

    A module asks for it by `pytestmark = pytest.mark.usefixtures("one_torch_thread")`.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """RTC with random weights: needs no shared folder."""
    import torch

    from edgesr.networks.architectures.imdn_rtc import IMDNRTC

    path = tmp_path_factory.mktemp("checkpoint") / "random.pth"
    torch.manual_seed(0)
    torch.save(IMDNRTC().state_dict(), path)
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of published checkpoints and real images, which is no part of the project.

    Absent, the test is skipped; with EDGESR_REQUIRE_SHARED=1, as in CI, it fails instead.
    """
    folder = Path(os.environ.get("EDGESR_SHARED", _ROOT / ".." / "shared")).resolve()
    if not (folder / "reference").is_dir():
        message = f"EDGESR_SHARED: no folder reference/ in {folder}"
        if os.environ.get("EDGESR_REQUIRE_SHARED") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def vulkan_driver() -> Driver:
    """The Vulkan driver that is tried first here, for tests on LiteRT's GPU accelerator.

    Without any, the test is skipped; with EDGESR_REQUIRE_GPU=1, as in CI, it fails instead.
    """
    found = find_drivers()
    if not found:
        message = "no Vulkan driver on this machine (`make system-deps` installs a software device)"
        if os.environ.get("EDGESR_REQUIRE_GPU") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return found[0]


@pytest.fixture
def slow_driver(vulkan_driver: Driver, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """SwiftShader, chosen for this test: its limits are known, and it can be caught at its work."""
    found = [driver for driver in find_drivers() if "swiftshader" in str(driver).lower()]
    if not found:
        pytest.skip(f"needs SwiftShader, found {vulkan_driver.kind}")
    for variable, value in found[0].variables.items():
        monkeypatch.setenv(variable, value)
    return found[0]
