"""`edgesr web serve`: the page for devices on the local network."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line

if TYPE_CHECKING:
    from edgesr.benchmark.browser import BrowserRecord


@click.command(
    epilog="""\b
Examples:
  edgesr web serve
  edgesr web serve --lan -m imdn-rtc
"""
)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="A .tflite, or a network whose file comes with edgesr; may be repeated. Default: all that "
    "come with it.",
)
@click.option(
    "--lan",
    is_flag=True,
    help="Serve to the local network too, by https with a certificate made on the spot, of which "
    "browsers warn. Default: this machine only.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="a free one",
    help="Port to serve on.",
)
@click.option(
    "--records",
    type=click.Path(path_type=Path),
    default=Path("browser-records"),
    show_default=True,
    help="Folder for the records of benchmarks that devices send.",
)
def command(*, models: tuple[str, ...], lan: bool, port: int, records: Path) -> None:
    r"""Serve a page that runs .tflite files in a browser, and receive its benchmarks.

    The address holds a random token: only who knows it can open the page. Ctrl-C ends it.

    \b
    Ways to a phone without a warning of its browser:
      adb reverse tcp:PORT tcp:PORT, then the address without --lan
      edgesr web build, on a static host of your own with https
    """
    from edgesr.cli.support.progress_bar import progress_bar
    from edgesr.web.models import model_files
    from edgesr.web.serve import record_writer, serve_page
    from edgesr.web.server import Events

    events = Events(record_writer(records, _received), _connected)
    with progress_bar() as progress:
        serving = serve_page(model_files(models), events, lan=lan, port=port, progress=progress)
        served = serving.__enter__()
    try:
        print_line(served.address)
        if lan:
            _print_code(served.address)
        else:
            print_line(f"for a phone on a cable: adb reverse tcp:{served.port} tcp:{served.port}")
        threading.Event().wait()
    finally:
        serving.__exit__(None, None, None)


def _print_code(address: str) -> None:
    """Print the address as a QR code, where its library is there."""
    try:
        import segno
    except ImportError:
        print_line("for a QR code here: pip install 'edgesr[web]'", err=True)
        return
    segno.make(address, micro=False).terminal(compact=True)


def _connected(address: str, browser: str) -> None:
    print_line(f"{address} opened the page: {browser}")


def _received(path: Path, record: "BrowserRecord") -> None:
    from edgesr.benchmark.browser import measurements_in_browser

    for got in measurements_in_browser(record):
        print_line(
            f"{path}: {got.file}, {got.setting}, {got.device}: {got.latency_ms:.2f} ms; "
            + "; ".join(got.notes)
        )
