"""What the GPU accelerator needs, missing one thing at a time: each is told in one line."""

import sys
from pathlib import Path

import pytest

from edgesr.errors import AcceleratorError, MissingDependencyError, NoGpuError
from edgesr.runtime import vulkan
from edgesr.runtime.gpu import probe_device
from edgesr.runtime.vulkan import Driver
from helpers.gpu_models import children, one_line, opened
from helpers.litert_copies import ACCELERATOR, litert, put_litert


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Vulkan driver can be found but in the folder, which XDG_DATA_HOME names."""
    for variable in (*vulkan.DRIVER_VARIABLES, "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.delenv(variable, raising=False)
    nowhere = str(tmp_path / "nowhere")
    monkeypatch.setattr(vulkan, "_BROWSER_FOLDERS", (nowhere,))
    monkeypatch.setattr(vulkan, "_FOLDERS", (("XDG_DATA_HOME", nowhere),))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", nowhere)
    folder = tmp_path / "vulkan" / "icd.d"
    folder.mkdir(parents=True)
    return folder


def without_device(folder: Path) -> Path:
    """A driver whose library no linker finds: the loader passes it over."""
    path = folder / "absent_icd.json"
    path.write_text(
        '{"file_format_version": "1.0.0",'
        ' "ICD": {"library_path": "libedgesr_absent.so", "api_version": "1.1.0"}}'
    )
    return path


class TestWithout:
    def test_a_driver(self, bare_machine: Path) -> None:
        with pytest.raises(NoGpuError) as caught:
            opened()
        assert one_line(caught).startswith("no Vulkan driver on this machine: install your GPU's")
        assert "`apt-get install chromium libvulkan1`" in one_line(caught)

    def test_a_device(self, vulkan_driver: Driver, bare_machine: Path) -> None:
        path = without_device(bare_machine)
        before = children()
        with pytest.raises(NoGpuError) as caught:
            opened()
        assert one_line(caught).startswith(
            f"no GPU: the Vulkan driver {path} (installed) offers LiteRT no device; install"
        )
        assert children() == before

    def test_a_device_of_the_first_driver_the_next_is_taken(
        self, vulkan_driver: Driver, bare_machine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        without_device(bare_machine)
        (manifest, *_) = vulkan_driver.manifests
        monkeypatch.setattr(vulkan, "_swiftshader", lambda _: iter([manifest]))
        before = children()
        assert probe_device().driver == str(manifest)
        assert children() == before

    def test_what_the_environment_names(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VK_DRIVER_FILES", "")
        monkeypatch.setenv("VK_ICD_FILENAMES", "/nowhere/icd.json")
        with pytest.raises(NoGpuError) as caught:
            opened()
        assert one_line(caught) == (
            "got VK_ICD_FILENAMES=/nowhere/icd.json: cannot read /nowhere/icd.json: No such file "
            "or directory; name a Vulkan driver's manifest (.json) or unset VK_ICD_FILENAMES"
        )

    def test_the_loader(
        self, vulkan_driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "libvulkan.so.1").write_bytes(b"no library")
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        with pytest.raises(NoGpuError) as caught:
            opened()
        assert one_line(caught) == (
            "no Vulkan loader (libvulkan.so.1) on this machine: `apt-get install libvulkan1`"
        )

    @pytest.mark.parametrize("content", [None, b"no library"], ids=["missing", "damaged"])
    def test_the_accelerator(
        self,
        content: bytes | None,
        vulkan_driver: Driver,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        put_litert(tmp_path, ACCELERATOR, content)
        monkeypatch.syspath_prepend(tmp_path)
        before = children()
        with pytest.raises(NoGpuError) as caught:
            opened()
        assert one_line(caught) == (
            "LiteRT's GPU accelerator cannot be loaded, its library is missing or damaged: "
            "`pip install --force-reinstall ai-edge-litert`"
        )
        assert children() == before

    def test_half_of_the_accelerator(
        self, vulkan_driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A download that was broken off: the linker maps what is not there, and is killed."""
        whole = (litert() / ACCELERATOR).read_bytes()
        put_litert(tmp_path, ACCELERATOR, whole[:500_000])
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(
            AcceleratorError, match=r"was killed by SIG\w+ while compiling"
        ) as caught:
            opened()
        assert "Attempting to load GPU accelerator" in one_line(caught)

    def test_litert(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ai_edge_litert.compiled_model", None)
        with pytest.raises(MissingDependencyError, match="the GPU accelerator needs LiteRT: `pip"):
            probe_device()
