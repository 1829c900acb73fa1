"""Build the page into a temporary folder and serve it until the caller ends."""

import contextlib
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgesr.benchmark.browser import BrowserRecord
from edgesr.common.files import atomic_outputs, made_folder
from edgesr.common.progress import ProgressCallback, silent
from edgesr.web.build import TILES, Size, build_page
from edgesr.web.certificate import lan_address, make_certificate
from edgesr.web.server import Events, PageServer, running


@dataclass(frozen=True)
class Served:
    """A page that is being served.

    Attributes:
        address: Where a browser finds it; whoever knows it may open it.
        port: Its port.
    """

    address: str
    port: int


@contextlib.contextmanager
def serve_page(
    models: Sequence[Path],
    events: Events,
    *,
    lan: bool = False,
    port: int = 0,
    tiles: Sequence[Size] = TILES,
    progress: ProgressCallback = silent,
) -> Generator[Served]:
    """Serve a page while the block runs.

    Args:
        models: Super-resolution `.tflite` files.
        events: Called as things happen.
        lan: Whether other devices of the local network may open it; it is then https.
        port: Port; 0 for a free one.
        tiles: Sizes of the tiles; see `build_page`.
        progress: Told how far building is.

    Raises:
        EdgeSRError: It cannot be built or served, or https lacks its library.
    """
    with tempfile.TemporaryDirectory(prefix="edgesr-web-") as made:
        host = lan_address() if lan else "127.0.0.1"
        tls = make_certificate(Path(made), host) if lan else None
        page = build_page(Path(made) / "page", models, tiles=tiles, progress=progress)
        server = PageServer(page.folder, (host, port), events)
        if tls is not None:
            server.use_tls(*tls)
        with running(server):
            found = int(server.server_address[1])
            scheme = "https" if lan else "http"
            yield Served(f"{scheme}://{host}:{found}/{server.token}/", found)


def record_writer(
    folder: Path, told: Callable[[Path, BrowserRecord], None]
) -> Callable[[BrowserRecord], None]:
    """Make a function that writes every record into a file of its own.

    Args:
        folder: Where to; it is made with the first record.
        told: Called with every file and its record.
    """

    def write(record: BrowserRecord) -> None:
        with made_folder(folder):
            stamp = record.created_at[:19].replace(":", "").replace("-", "")
            names = (f"browser-{stamp}{f'-{n}' if n else ''}.json" for n in range(1000))
            target = next(path for name in names if not (path := folder / name).exists())
            with atomic_outputs([target]) as (part,):
                part.write_text(f"{record.model_dump_json(indent=2)}\n")
        told(target, record)

    return write
