"""The server of the page: what it serves, what it takes, what it refuses without writing a byte."""

import http.client
import json
import ssl
from collections.abc import Generator
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from edgesr.benchmark.browser import MOST_BYTES, BrowserRecord
from edgesr.web import build, server
from edgesr.web.models import model_files
from edgesr.web.serve import Served, record_writer, serve_page
from edgesr.web.server import Events
from helpers.browser_records import a_record


@pytest.fixture(autouse=True)
def _no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "runtime_files", lambda *_: {"index.js": b"// none"})


@pytest.fixture
def records(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def served(records: Path, told: list[str]) -> Generator[Served]:
    def received(path: Path, record: BrowserRecord) -> None:
        told.append(f"{path.name} {record.on}")

    events = Events(record_writer(records, received), lambda _, browser: told.append(browser))
    with serve_page(model_files(["imdn-rtc"]), events, tiles=[(48, 48)]) as found:
        yield found


def ask(
    served: Served,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes, http.client.HTTPMessage]:
    """One request; a path without a slash in front is below the token."""
    place = urlsplit(served.address)
    connection = HTTPConnection(str(place.hostname), place.port, timeout=10)
    target = path if path.startswith("/") else place.path + path
    connection.request(method, target, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def test_page_comes_with_the_headers_of_isolation(served: Served, told: list[str]) -> None:
    status, body, headers = ask(served, "GET", "", headers={"User-Agent": "a\x1b[31mphone"})
    assert (status, b"<!doctype html>" in body) == (200, True)
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert told == ["a\\x1b[31mphone"]


def test_catalog_names_the_receiver(served: Served) -> None:
    assert json.loads(ask(served, "GET", "models.json")[1])["receiver"] == "records"


@pytest.mark.parametrize("path", ["/", "/index.html", "/wrong/index.html", "//index.html", "/%00/"])
def test_without_the_token_there_is_nothing(served: Served, path: str) -> None:
    assert ask(served, "GET", path)[0] == 404
    assert ask(served, "POST", f"{path}/records", a_record())[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "../key.pem",
        "../../../../etc/passwd",
        "runtime/../../key.pem",
        "%2e%2e/key.pem",
        "/etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_page(served: Served, path: str) -> None:
    assert ask(served, "GET", path if path != "/etc/passwd" else "//etc/passwd")[0] == 404


def test_a_record_is_kept(served: Served, records: Path, told: list[str]) -> None:
    assert ask(served, "POST", "records", a_record())[0] == 200
    (kept,) = records.iterdir()
    assert told == [f"{kept.name} browser"]
    assert json.loads(kept.read_bytes())["on"] == "browser"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (a_record(on="host"), {}, 400),
        (a_record(surprise=1), {}, 400),
        (a_record(files=[]), {}, 400),
        (a_record(created_at="2026-01-01\n\x1b[31m"), {}, 400),
        (a_record(host="x" * 401), {}, 400),
        (a_record().replace(b"12.5", b"-1"), {}, 400),
        (a_record().replace(b"12.5", b"NaN"), {}, 400),
        (a_record().replace(b"12.5", b"1e999"), {}, 400),
        (None, {"Content-Length": str(MOST_BYTES + 1)}, 413),
        (None, {"Content-Length": "-1"}, 411),
        (None, {"Content-Length": "9" * 40}, 411),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_record_is_refused_and_nothing_written(
    served: Served,
    records: Path,
    told: list[str],
    body: bytes | None,
    headers: dict[str, str],
    status: int,
) -> None:
    found, text, _ = ask(served, "POST", "records", body, headers)
    assert found == status
    assert text.decode().isprintable()
    assert not records.exists()
    assert not told


def test_the_number_of_records_is_bounded(
    served: Served, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MOST_RECORDS", 2)
    assert [ask(served, "POST", "records", a_record())[0] for _ in range(3)] == [200, 200, 400]
    assert len(list(records.iterdir())) == 2


def test_local_network_is_https_with_a_certificate_for_its_address(tmp_path: Path) -> None:
    from edgesr.web.certificate import make_certificate

    with serve_page(model_files(["imdn-rtc"]), Events(lambda _: None), tiles=[(48, 48)]) as plain:
        assert plain.address.startswith("http://127.0.0.1:")
    certificate, key = make_certificate(tmp_path, "127.0.0.1")
    assert key.stat().st_mode & 0o077 == 0
    build.build_page(tmp_path / "page", model_files(["imdn-rtc"]), tiles=[(48, 48)])
    found = server.PageServer(tmp_path / "page", ("127.0.0.1", 0), Events(lambda _: None))
    found.use_tls(certificate, key)
    with server.running(found):
        trusting = ssl.create_default_context(cafile=str(certificate))
        connection = HTTPSConnection(
            "127.0.0.1", found.server_address[1], context=trusting, timeout=10
        )
        connection.request("GET", f"/{found.token}/")
        assert connection.getresponse().status == 200
