"""Building the page: the runtime out of a registry or the cache, a folder whole or not at all."""

import shutil
import threading
from pathlib import Path

import pytest

from edgesr.errors import DownloadError, OutputError
from edgesr.web import build, runtime
from edgesr.web.build import build_page
from edgesr.web.models import model_files
from helpers.commands import run_here
from helpers.file_server import Server


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime of one file: what is built around it is tested here, without the network."""
    monkeypatch.setattr(build, "runtime_files", lambda *_: {"index.js": b"// none"})


def test_page_is_small_enough(tmp_path: Path) -> None:
    page = Path(build.__file__).parent / "page"
    assert sum(path.stat().st_size for path in page.glob("*.js")) <= 60_000


@pytest.mark.usefixtures("no_runtime")
def test_only_a_page_of_edgesr_is_replaced(tmp_path: Path) -> None:
    files = model_files(["imdn-rtc"])
    out = tmp_path / "site"
    assert build_page(out, files).models == ("imdn-rtc",)
    with pytest.raises(OutputError, match="pass --force"):
        build_page(out, files)
    (out / "old.txt").write_text("of the last build")
    build_page(out, files, overwrite=True)
    assert not (out / "old.txt").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="is no page of edgesr"):
        build_page(mine, files, overwrite=True)
    assert (mine / "thesis.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "site"]


@pytest.mark.usefixtures("no_runtime")
def test_a_build_that_fails_leaves_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "site"
    build_page(out, model_files(["imdn-rtc"]))
    before = (out / "models.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(OutputError, match="No space left on device"):
        build_page(out, model_files(["imdn-rtc"]), overwrite=True)
    assert (out / "models.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_without_the_registry_one_line_names_the_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGESR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(runtime.REGISTRY_VARIABLE, "http://127.0.0.1:9/")
    ran = run_here(monkeypatch, capsys, "web", "build", tmp_path / "site", "-m", "imdn-rtc")
    ran.fails("127.0.0.1:9/@litertjs/core/-/core-2.5.3.tgz", "npm_config_registry")
    assert not (tmp_path / "site").exists()


def test_a_registry_with_another_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv(runtime.REGISTRY_VARIABLE, server.url)
        with pytest.raises(DownloadError, match="sha256"):
            runtime.runtime_files(tmp_path)
        server.shutdown()
    assert not list(tmp_path.glob("*.tgz"))
