"""Download published files by address and sha256 into a cache.

What arrives goes to a `.part` file, which a later attempt continues where the server can (HTTP
Range, RFC 9110 section 14) and starts anew where it cannot. Only a file whose digest is right gets
its final name. A lock file keeps two processes from writing the same `.part`.
"""

import contextlib
import hashlib
import http
import http.client
import os
import re
import urllib.error
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from edgesr import __version__
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import DownloadError
from edgesr.networks.spec import ArchSpec

_CHUNK_BYTES = 2**16
_MAX_BYTES = 2**30  # a server that never stops sending shall not fill the disk
_ATTEMPTS = 5
_TIMEOUT_S = 30.0
_ADVICE = "check the connection and try again, or get the file by hand and pass "


def cache_folder() -> Path:
    """Where fetched files are kept: `EDGESR_CACHE`, else the user's cache folder."""
    if folder := os.environ.get("EDGESR_CACHE"):
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("edgesr", appauthor=False)


def published_checkpoint(spec: ArchSpec, progress: ProgressCallback = silent) -> Path:
    """The authors' weights of a network: from `EDGESR_SHARED/reference`, the cache, or the net.

    Raises:
        DownloadError: The network has no published weights, the file in `EDGESR_SHARED` is not
            the published one, or it cannot be fetched.
    """
    weights = spec.published
    if weights is None:
        raise DownloadError(f"{spec.name} has no published weights; pass --checkpoint FILE")
    if shared := os.environ.get("EDGESR_SHARED"):
        path = Path(shared) / "reference" / weights.filename
        if path.is_file():
            if (got := file_sha256(path)) != weights.sha256:
                raise DownloadError(
                    f"{path} has sha256 {got}, the published file {weights.sha256}; "
                    "remove it, or pass it with --checkpoint if it is what you mean"
                )
            return path
    return fetch(weights.url, weights.sha256, weights.filename, progress=progress)


def fetch(
    url: str,
    sha256: str,
    filename: str,
    cache_dir: Path | None = None,
    progress: ProgressCallback = silent,
    *,
    timeout_s: float = _TIMEOUT_S,
) -> Path:
    """The file with that digest: from the cache, where it is there and sound, else from `url`.

    Args:
        url: Address.
        sha256: Digest that the file must have, in hexadecimal.
        filename: Its name in the cache.
        cache_dir: The cache; `cache_folder()` by default. It is made if it is missing.
        progress: Called with the bytes got and the bytes in all (0: unknown).
        timeout_s: Seconds without a byte after which the connection is given up.

    Raises:
        DownloadError: The address cannot be reached or has no such file, the connection broke, the
            content is not the one published, or the cache cannot be written. No file of that name
            is left behind unless it is sound.
    """
    folder = cache_folder() if cache_dir is None else cache_dir
    target = folder / filename
    if file_sha256(target) == sha256:
        return target
    with _cache_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f".{filename}.lock", filename, progress):
            if file_sha256(target) != sha256:  # else another process fetched it meanwhile
                # The digest in its name: a later release of the same name is not continued.
                part = folder / f".{filename}.{sha256[:12]}.part"
                _Transfer(url, sha256, filename, part, progress, timeout_s).complete()
                part.replace(target)
    return target


def receive(
    url: str, path: Path, filename: str, progress: ProgressCallback = silent, *, option: str
) -> None:
    """Fetch a file whose digest nobody has published.

    Args:
        url: Address.
        path: Where to; a file there is continued, where the server can.
        filename: What it is called to the user.
        progress: Called with the bytes got and the bytes in all (0: unknown).
        option: How the user passes a file got by hand.

    Raises:
        DownloadError: The address cannot be reached or has no such file, or the connection broke.
    """
    _Transfer(url, "", filename, path, progress, _TIMEOUT_S, option).receive()


def file_sha256(path: Path) -> str:
    """Digest of a file in hexadecimal; empty if there is no file that can be read."""
    try:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_CHUNK_BYTES):
                digest.update(block)
        return digest.hexdigest()
    except OSError:
        return ""


@contextlib.contextmanager
def _cache_errors(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise DownloadError(
            f"cannot write to the cache {folder}: {error.strerror or error}; make room or set "
            "EDGESR_CACHE to a folder that can be written"
        ) from error


@contextlib.contextmanager
def _locked(path: Path, filename: str, progress: ProgressCallback) -> Generator[None]:
    """Hold the lock while the block runs; the system releases it even if this process dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        progress(f"waiting for another download of {filename}", 0, 0)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _BrokenOffError(Exception):
    """The connection failed; what arrived before is kept."""


@dataclass(frozen=True)
class _Transfer:
    """One file on its way into its `.part`."""

    url: str
    sha256: str
    filename: str
    part: Path
    progress: ProgressCallback
    timeout_s: float
    option: str = "--checkpoint FILE"

    def complete(self) -> None:
        """Fill the `.part` until its digest is right."""
        continued = self._size() > 0
        self.receive()
        if continued and file_sha256(self.part) != self.sha256:
            # What an earlier run left may be at fault: once more from the first byte.
            self.part.unlink()
            self.receive()
        if (got := file_sha256(self.part)) != self.sha256:
            self.part.unlink()
            raise self._error(f"got sha256 {got}, the published file has {self.sha256}")

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def receive(self) -> None:
        """Receive to the end; a connection that broke after some bytes is taken up again."""
        for attempt in range(1, _ATTEMPTS + 1):
            before = self._size()
            try:
                self._receive()
                return
            except _BrokenOffError as error:
                if self._size() == before or attempt == _ATTEMPTS:
                    raise self._error(str(error)) from error

    def _receive(self) -> None:
        """One request: append to the `.part` what is missing, or write it anew."""
        with self._open() as response:
            start = _first_byte(response)
            if start not in (0, self._size()):
                self.part.unlink()  # the next attempt requests everything
                raise _BrokenOffError(f"the server sent bytes from {start} on, unasked")
            length = response.headers.get("Content-Length", "")
            total = start + int(length) if length.isdecimal() else 0
            with self.part.open("r+b" if start else "wb") as out:
                out.seek(start)
                done = self._copy(response, out, start, total)
        if done < total:
            raise _BrokenOffError(f"the connection broke off after {done} of {total} bytes")

    def _open(self) -> http.client.HTTPResponse:
        """Request the bytes that the `.part` lacks."""
        headers = {"User-Agent": f"edgesr/{__version__}", "Accept-Encoding": "identity"}
        if have := self._size():
            headers["Range"] = f"bytes={have}-"
        try:
            with _network_errors():
                request = urllib.request.Request(self.url, headers=headers)
                return urllib.request.urlopen(request, timeout=self.timeout_s)
        except urllib.error.HTTPError as error:
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
                self.part.unlink()  # it is as long as the file or longer, and yet not right
                raise _BrokenOffError("the server has fewer bytes than were got before") from error
            raise self._error(f"the server answers HTTP {error.code} {error.reason}") from error

    def _copy(
        self, response: http.client.HTTPResponse, out: BinaryIO, done: int, total: int
    ) -> int:
        """Write what comes, from byte `done` on; the number of bytes the file then has."""
        stage = f"downloading {self.filename}"
        self.progress(stage, done, total)
        while chunk := _read(response):
            out.write(chunk)
            done += len(chunk)
            if done > _MAX_BYTES:
                self.part.unlink()
                raise self._error(f"more than {_MAX_BYTES} bytes came")
            self.progress(stage, done, total)
        return done

    def _error(self, reason: str) -> DownloadError:
        return DownloadError(
            f"cannot download {self.filename} from {self.url}: {reason}; {_ADVICE}{self.option}"
        )


def _first_byte(response: http.client.HTTPResponse) -> int:
    """Where in the file the body of an answer begins: a 200 always sends all of it."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else -1


def _read(response: http.client.HTTPResponse) -> bytes:
    with _network_errors():
        return response.read1(_CHUNK_BYTES)


@contextlib.contextmanager
def _network_errors() -> Generator[None]:
    """Separate failures of the connection from OSErrors of the disk."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:
        raise _BrokenOffError(f"no connection ({error.reason})") from error
    except TimeoutError as error:
        raise _BrokenOffError("the server fell silent") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenOffError(f"the connection failed ({error or type(error).__name__})") from error
