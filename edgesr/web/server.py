"""A server for the page: on this machine or the local network, behind a token, with uploads.

What it serves is listed when it starts, so that no path leads out of the folder. What it receives
is bounded in size and number and checked against the schema before anything of it is kept.
"""

import contextlib
import http.server
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import cast

from edgesr.benchmark.browser import (
    MOST_BYTES,
    BrowserRecord,
    BrowserRecordError,
    parse_browser_record,
)
from edgesr.common.text import printable, shorten
from edgesr.errors import EdgeSRError
from edgesr.web.build import CATALOG

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_HEADERS = {
    # Cross-origin isolation, without which a browser gives no threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_RECORDS, _FAILURE = "records", "failure"
_MOST_FAILURE_BYTES = 4096
_MOST_RECORDS = 200
_MOST_CLIENTS = 100
_SILENT_S = 30.0


class ServerError(EdgeSRError):
    """The page cannot be served."""


@dataclass
class Events:
    """What a server calls as things happen, in its own threads.

    Attributes:
        record: With a record that was received; it may raise an `EdgeSRError` to refuse it.
        connected: With the address and the browser of a device that opened the page first.
        failed: With the reason why a page that measures unasked gave up.
    """

    record: Callable[[BrowserRecord], None]
    connected: Callable[[str, str], None] = field(default=lambda _address, _browser: None)
    failed: Callable[[str], None] = field(default=lambda _reason: None)


class PageServer(http.server.ThreadingHTTPServer):
    """Serves one built page below a token.

    Attributes:
        token: First part of every path that is answered.
    """

    daemon_threads = True

    def __init__(self, folder: Path, address: tuple[str, int], events: Events) -> None:
        self.token = secrets.token_urlsafe(12)
        self.events = events
        self.files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and not path.is_symlink()
        }
        if CATALOG not in self.files:
            raise ServerError(f"{folder} is no page of edgesr; run `edgesr web build {folder}`")
        catalog = json.loads(self.files[CATALOG].read_bytes())
        self.catalog = json.dumps(catalog | {"receiver": _RECORDS}).encode()
        self.lock = threading.Lock()
        self.received = 0
        self.clients: set[str] = set()
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise ServerError(
                f"cannot serve on port {address[1]}: {error.strerror}; choose another --port"
            ) from error

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a client that hangs up, or speaks no TLS, is no error of the server."""

    def use_tls(self, certificate: Path, key: Path) -> None:
        """Speak https from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        # A handshake in the thread that accepts would let one silent client hold up all others.
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )


@contextlib.contextmanager
def running(server: PageServer) -> Generator[PageServer]:
    """Serve in a thread of its own while the block runs."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _SILENT_S

    @property
    def _served(self) -> PageServer:
        return cast(PageServer, self.server)

    def version_string(self) -> str:
        return "edgesr"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what a client sends is not printed."""

    def do_GET(self) -> None:
        name = self._name()
        path = self._served.files.get(name or "index.html") if name is not None else None
        if path is None:
            self._answer(HTTPStatus.NOT_FOUND, b"not found")
            return
        if not name or name == "index.html":
            self._greet()
        content = self._served.catalog if name == CATALOG else path.read_bytes()
        kind = _TYPES.get(path.suffix, "application/octet-stream")
        self._answer(HTTPStatus.OK, content, kind)

    def do_POST(self) -> None:
        name = self._name()
        limits = {_RECORDS: MOST_BYTES, _FAILURE: _MOST_FAILURE_BYTES}
        if name not in limits:
            self._answer(HTTPStatus.NOT_FOUND, b"not found")
            return
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) <= 12):
            self._answer(HTTPStatus.LENGTH_REQUIRED, b"no length")
        elif int(length) > limits[name]:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"too large")
        else:
            self._take(name, self.rfile.read(int(length)))

    def _take(self, name: str, content: bytes) -> None:
        if name == _FAILURE:
            self._served.events.failed(printable(shorten(content.decode("utf-8", "replace"), 500)))
            self._answer(HTTPStatus.OK, b"received")
            return
        try:
            record = parse_browser_record(content)
            with self._served.lock:
                if self._served.received >= _MOST_RECORDS:
                    raise BrowserRecordError(f"{_MOST_RECORDS} records were received already")
                self._served.events.record(record)
                self._served.received += 1
        except EdgeSRError as error:
            self._answer(HTTPStatus.BAD_REQUEST, printable(str(error)).encode())
        else:
            self._answer(HTTPStatus.OK, b"received")

    def _name(self) -> str | None:
        """The name below the token; None without the token."""
        parts = self.path.partition("?")[0].split("/", 2)
        given = parts[1] if len(parts) == 3 else ""
        # Compared in constant time, so that no answer tells how much of a guess was right.
        fits = secrets.compare_digest(given.encode(), self._served.token.encode())
        return parts[2] if fits else None

    def _greet(self) -> None:
        address = self.client_address[0]
        browser = printable(shorten(self.headers.get("User-Agent", ""), 160))
        key = f"{address} {browser}"
        with self._served.lock:
            new = key not in self._served.clients and len(self._served.clients) < _MOST_CLIENTS
            if new:
                self._served.clients.add(key)
        if new:
            self._served.events.connected(address, browser)

    def _answer(self, status: HTTPStatus, content: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
