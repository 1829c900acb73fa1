"""A real HTTP server of one file, which serves it well or badly."""

import hashlib
import http.server
import threading

CONTENT = bytes(i * i % 251 for i in range(300_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "weights.pth"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under any path, well or badly.

    Attributes:
        ranges: Whether it honours Range.
        cut_after: Bytes of a body after which it hangs up, one entry for each answer to come.
        status: Sent instead of the content, if set.
        content_range: Sent instead of the right Content-Range, if set.
        silent: Whether it accepts a request and never answers.
        with_length: Whether it tells the length of what it sends.
        released: Cleared to hold back all answers.
        asked: The Range header of each request, or None.
        was_asked: Set by the first request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.ranges = True
        self.cut_after: list[int] = []
        self.status = 0
        self.content_range = ""
        self.silent = False
        self.with_length = True
        self.released = threading.Event()
        self.released.set()
        self.asked: list[str | None] = []
        self.was_asked = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/a/{NAME}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers["Range"]
        server.asked.append(asked)
        server.was_asked.set()
        server.released.wait(20)
        if server.silent:
            threading.Event().wait(1)
            return
        if server.status:
            self.send_error(server.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if not server.ranges:
            start = 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            right = f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            self.send_header("Content-Range", server.content_range or right)
        body = server.content[start:]
        if server.with_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut_after.pop(0)] if server.cut_after else body)
