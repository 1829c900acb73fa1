"""Fetching, against a real HTTP server on this machine."""

import dataclasses
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgesr.errors import DownloadError
from edgesr.networks.spec import ArchSpec, PublishedWeights, all_specs, find_spec
from edgesr.weights import download
from helpers.file_server import CONTENT, NAME, SHA256, Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def fetch(server: Server, cache: Path, **kwargs: object) -> Path:
    return download.fetch(server.url, SHA256, NAME, cache, **kwargs)


def refusal(server: Server, cache: Path, **kwargs: object) -> str:
    """The one line with which a fetch fails; no final file may be there."""
    with pytest.raises(DownloadError) as caught:
        fetch(server, cache, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert server.url in message
    assert "--checkpoint FILE" in message
    assert not (cache / NAME).exists()
    return message


def parts(cache: Path) -> list[Path]:
    return list(cache.glob(".*.part"))


class TestDownload:
    def test_whole_file_arrives_in_a_cache_that_is_made(
        self, server: Server, tmp_path: Path
    ) -> None:
        path = fetch(server, tmp_path / "new" / "cache")
        assert path == tmp_path / "new" / "cache" / NAME
        assert path.read_bytes() == CONTENT
        assert not parts(path.parent)
        assert server.asked == [None]

    def test_progress_counts_bytes_up_to_all(self, server: Server, tmp_path: Path) -> None:
        told: list[tuple[str, int, int]] = []
        fetch(server, tmp_path, progress=lambda *step: told.append(step))
        assert {stage for stage, _, _ in told} == {f"downloading {NAME}"}
        assert {total for _, _, total in told} == {len(CONTENT)}
        done = [done for _, done, _ in told]
        assert done == sorted(done)
        assert (done[0], done[-1]) == (0, len(CONTENT))

    def test_a_server_that_tells_no_length_is_read_to_the_end(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.with_length = False
        totals: set[int] = set()
        path = fetch(server, tmp_path, progress=lambda _s, _d, total: totals.add(total))
        assert path.read_bytes() == CONTENT
        assert totals == {0}

    def test_two_processes_fetch_once_and_both_get_it(self, server: Server, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from edgesr.weights.download import fetch\n"
            "def say(stage, done, total): print(stage, flush=True)\n"
            "fetch(*sys.argv[1:4], Path(sys.argv[4]), progress=say)"
        )
        argv = [sys.executable, "-c", code, server.url, SHA256, NAME, str(tmp_path)]
        server.released.clear()
        with subprocess.Popen(argv) as first:
            assert server.was_asked.wait(20)
            with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as second:
                assert second.stdout is not None
                said = second.stdout.readline()
                server.released.set()
                rest = second.stdout.read()
        assert (first.returncode, second.returncode) == (0, 0)
        assert (said, rest) == (f"waiting for another download of {NAME}\n", "")
        assert (tmp_path / NAME).read_bytes() == CONTENT
        assert server.asked == [None]


class TestBrokenConnections:
    def test_a_cut_download_is_continued_where_it_broke(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.cut_after = [100_000, 50_000]
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert server.asked == [None, "bytes=100000-", "bytes=150000-"]

    def test_a_later_run_continues_what_an_earlier_one_left(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.cut_after = [100_000, 0]
        assert "broke off after 100000 of 300000 bytes" in refusal(server, tmp_path)
        assert [part.stat().st_size for part in parts(tmp_path)] == [100_000]
        server.asked.clear()
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert server.asked == ["bytes=100000-"]

    def test_a_server_without_range_starts_anew(self, server: Server, tmp_path: Path) -> None:
        server.ranges = False
        server.cut_after = [100_000]
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert server.asked == [None, "bytes=100000-"]

    @pytest.mark.parametrize("content_range", ["bytes 5-299999/300000", "nonsense"])
    def test_a_server_that_continues_elsewhere_is_asked_for_everything(
        self, content_range: str, server: Server, tmp_path: Path
    ) -> None:
        server.content_range = content_range
        server.cut_after = [100_000]
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert server.asked == [None, "bytes=100000-", None]

    def test_a_part_that_is_too_long_is_started_anew(self, server: Server, tmp_path: Path) -> None:
        server.cut_after = [100_000, 0]
        refusal(server, tmp_path)
        parts(tmp_path)[0].write_bytes(CONTENT + b"more")
        assert fetch(server, tmp_path).read_bytes() == CONTENT

    def test_a_damaged_part_is_started_anew(self, server: Server, tmp_path: Path) -> None:
        server.cut_after = [100_000, 0]
        refusal(server, tmp_path)
        parts(tmp_path)[0].write_bytes(bytes(100_000))
        server.asked.clear()
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert server.asked == ["bytes=100000-", None]

    def test_a_server_that_always_hangs_up_is_given_up(
        self, server: Server, tmp_path: Path
    ) -> None:
        server.cut_after = [10] * 100
        assert "broke off" in refusal(server, tmp_path)
        assert len(server.asked) < 10

    def test_an_interrupt_leaves_no_final_file(self, server: Server, tmp_path: Path) -> None:
        def interrupt(_stage: str, done: int, _total: int) -> None:
            if done > 0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fetch(server, tmp_path, progress=interrupt)
        assert not (tmp_path / NAME).exists()
        assert fetch(server, tmp_path).read_bytes() == CONTENT  # and the lock is free again


class TestRefusals:
    @pytest.mark.parametrize("continued", [False, True], ids=["in-one-go", "continued"])
    def test_wrong_content(self, continued: bool, server: Server, tmp_path: Path) -> None:
        server.content = CONTENT[:-1] + b"?"
        server.cut_after = [100_000] if continued else []
        message = refusal(server, tmp_path)
        assert hashlib.sha256(server.content).hexdigest() in message
        assert SHA256 in message
        assert not parts(tmp_path)

    @pytest.mark.parametrize("status", [403, 404, 500])
    def test_http_error(self, status: int, server: Server, tmp_path: Path) -> None:
        server.status = status
        assert f"HTTP {status}" in refusal(server, tmp_path)

    def test_offline(self, server: Server, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        url = f"http://127.0.0.1:{port}/x"
        with pytest.raises(DownloadError, match=f"from {url}: no connection .*refused"):
            download.fetch(url, SHA256, NAME, tmp_path)

    def test_unknown_host(self, tmp_path: Path) -> None:
        url = "https://no-such-host.invalid/x"  # RFC 6761: never resolves
        with pytest.raises(DownloadError, match=f"from {url}: no connection"):
            download.fetch(url, SHA256, NAME, tmp_path)

    def test_silence(self, server: Server, tmp_path: Path) -> None:
        server.silent = True
        assert re.search("silent|timed out", refusal(server, tmp_path, timeout_s=0.2))

    def test_endless_content(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "_MAX_BYTES", 200_000)
        assert "more than 200000 bytes" in refusal(server, tmp_path)
        assert not parts(tmp_path)

    def test_cache_that_cannot_be_written(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(DownloadError, match=r"cannot write to the cache .* EDGESR_CACHE"):
            fetch(server, tmp_path / "file")
        assert not server.asked

    def test_full_disk(self, server: Server, tmp_path: Path) -> None:
        if not os.access("/dev/full", os.W_OK):
            pytest.skip("this system has no /dev/full")
        (tmp_path / f".{NAME}.{SHA256[:12]}.part").symlink_to("/dev/full")
        with pytest.raises(DownloadError, match="No space left on device"):
            fetch(server, tmp_path)


class TestCache:
    def test_is_used_with_the_server_gone(self, tmp_path: Path) -> None:
        (tmp_path / NAME).write_bytes(CONTENT)
        url = "https://no-such-host.invalid/x"
        assert download.fetch(url, SHA256, NAME, tmp_path) == tmp_path / NAME

    def test_is_not_asked_again_after_a_download(self, server: Server, tmp_path: Path) -> None:
        fetch(server, tmp_path)
        fetch(server, tmp_path)
        assert len(server.asked) == 1

    @pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT + b"x", bytes(len(CONTENT))])
    def test_a_damaged_file_is_fetched_again(
        self, damage: bytes, server: Server, tmp_path: Path
    ) -> None:
        (tmp_path / NAME).write_bytes(damage)
        assert fetch(server, tmp_path).read_bytes() == CONTENT

    def test_folder_is_taken_from_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDGESR_CACHE", str(tmp_path / "here"))
        assert download.cache_folder() == tmp_path / "here"

    def test_folder_is_the_users_cache_by_default(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("EDGESR_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert download.cache_folder().name == "edgesr"


class TestPublishedCheckpoint:
    @pytest.fixture
    def spec(self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArchSpec:
        """A network whose published weights lie on the local server, and an empty cache."""
        monkeypatch.setenv("EDGESR_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("EDGESR_SHARED", raising=False)
        weights = PublishedWeights(NAME, "127.0.0.1", server.url, SHA256, "Apache-2.0")
        return dataclasses.replace(find_spec("rtc"), published=weights)

    def test_is_downloaded_into_the_cache(self, spec: ArchSpec, tmp_path: Path) -> None:
        assert download.published_checkpoint(spec) == tmp_path / "cache" / NAME

    def test_is_taken_from_the_shared_folder_first(
        self, spec: ArchSpec, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "reference").mkdir()
        (tmp_path / "reference" / NAME).write_bytes(CONTENT)
        monkeypatch.setenv("EDGESR_SHARED", str(tmp_path))
        assert download.published_checkpoint(spec) == tmp_path / "reference" / NAME
        assert not server.asked

    def test_is_downloaded_where_the_shared_folder_has_it_not(
        self, spec: ArchSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDGESR_SHARED", str(tmp_path))
        assert download.published_checkpoint(spec) == tmp_path / "cache" / NAME

    def test_a_wrong_file_in_the_shared_folder_is_refused(
        self, spec: ArchSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "reference").mkdir()
        (tmp_path / "reference" / NAME).write_bytes(b"another")
        monkeypatch.setenv("EDGESR_SHARED", str(tmp_path))
        with pytest.raises(DownloadError, match=f"the published file {SHA256}"):
            download.published_checkpoint(spec)

    def test_a_network_without_published_weights_asks_for_a_file(self, spec: ArchSpec) -> None:
        with pytest.raises(DownloadError, match="no published weights; pass --checkpoint FILE"):
            download.published_checkpoint(dataclasses.replace(spec, published=None))

    @pytest.mark.parametrize("spec", [pytest.param(s, id=s.name) for s in all_specs()])
    def test_the_shared_folder_holds_what_the_list_pins(
        self, spec: ArchSpec, shared: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDGESR_SHARED", str(shared))
        if spec.published:
            path = download.published_checkpoint(spec)
            assert path == shared / "reference" / spec.published.filename
