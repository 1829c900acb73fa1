"""`edgesr bench browser`: latency of a file in a headless browser."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.bench.options import output_options
from edgesr.cli.support.lines import print_line

if TYPE_CHECKING:
    from edgesr.benchmark.browser import BrowserRecord


@click.command(
    epilog="""\b
Examples:
  edgesr bench browser imdn-rtc_x2_720x480_fp16.tflite --backend wasm -o browser.json
  edgesr bench browser a.tflite --backend wasm --backend webgpu --software --size 128x128
"""
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--backend",
    "backends",
    type=click.Choice(["wasm", "webgpu"]),
    multiple=True,
    default=("wasm",),
    show_default=True,
    help="Backend; may be repeated.",
)
@click.option(
    "--size",
    default="256x256",
    show_default=True,
    metavar="HxW",
    help="Size of the file's input, height x width; a file that fits its own size only keeps it.",
)
@click.option(
    "--software",
    is_flag=True,
    help="WebGPU by SwiftShader, a software device: for CI. Its times say nothing of a GPU's.",
)
@click.option("--runs", type=click.IntRange(1, 10_000), default=20, show_default=True)
@click.option(
    "--warm-up", type=click.IntRange(0, 10_000), default=3, show_default=True, help="Runs before."
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for one backend.",
)
@output_options
def command(
    *,
    file: Path,
    backends: tuple[str, ...],
    size: str,
    software: bool,
    runs: int,
    warm_up: int,
    timeout: float,
    as_json: bool,
    output: Path | None,
    force: bool,
) -> None:
    """Measure the latency of a .tflite FILE in a headless Chromium, by LiteRT.js.

    Each run is with the read-back of its result. Pixels other than the CPU's exit with status 1.
    """
    from edgesr.cli.bench.records import output_record
    from edgesr.cli.support.progress_bar import progress_bar
    from edgesr.common.files import check_writable
    from edgesr.tflite.sizes import read_size
    from edgesr.web.bench import BrowserPlan, WebBackend, run_browser_benchmark

    if output is not None:
        check_writable(output, overwrite=force, inputs=[file])
    chosen: list[WebBackend] = [
        "wasm" if name == "wasm" else "webgpu" for name in dict.fromkeys(backends)
    ]
    plan = BrowserPlan(chosen, read_size(size, "256x256"), runs, warm_up, software, timeout)
    with progress_bar() as progress:
        record = run_browser_benchmark(file, plan, progress=progress)
    output_record(
        record,
        as_json=as_json,
        output=output,
        force=force,
        inputs=[file],
        print_table=lambda: _table(record),
    )


def _table(record: "BrowserRecord") -> None:
    from edgesr.benchmark.browser import measurements_in_browser
    from edgesr.cli.support.tables import make_table, print_table

    print_line(f"{record.machine.user_agent}, {record.machine.runtime}")
    table = make_table()
    table.add_column("file", overflow="fold")
    table.add_column("setting")
    names = ("p90", "min", "max", "first", "compile")
    for name in ("median ms", *names):
        table.add_column(name, justify="right", no_wrap=True)
    found = list(measurements_in_browser(record))
    for got in found:
        table.add_row(
            got.file,
            got.setting,
            f"{got.latency_ms:.2f}",
            *(got.facts[name] for name in names),
        )
    print_table(table)
    for got in found:
        print_line(f"{got.setting} on {got.device}: {'; '.join(got.notes)}")
