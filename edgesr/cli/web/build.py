"""`edgesr web build`: the page as a static folder."""

from pathlib import Path

import click

from edgesr.cli.support.lines import print_line


@click.command(
    epilog="""\b
Examples:
  edgesr web build site
  edgesr web build site -m imdn-rtc -m mine_720x480_fp16.tflite --force
"""
)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="A .tflite, or a network whose file comes with edgesr; may be repeated. Default: all that "
    "come with it.",
)
@click.option("--force", is_flag=True, help="Replace a folder that an earlier build made.")
@click.option("--json", "as_json", is_flag=True, help="Print what was built as JSON on stdout.")
def command(*, out: Path, models: tuple[str, ...], force: bool, as_json: bool) -> None:
    """Build a static folder OUT that runs .tflite files in a browser, by WebGPU or WASM.

    The runtime, LiteRT.js, is fetched from the npm registry once and then taken from the cache;
    the variable npm_config_registry names a mirror.
    """
    from edgesr.cli.support import printing
    from edgesr.cli.support.progress_bar import progress_bar
    from edgesr.web.build import build_page
    from edgesr.web.models import model_files

    with progress_bar() as progress:
        page = build_page(out, model_files(models), overwrite=force, progress=progress)
    if as_json:
        printing.as_json(
            {
                "folder": str(page.folder),
                "files": page.files,
                "size_bytes": page.size_bytes,
                "models": list(page.models),
            }
        )
        return
    print_line(
        f"wrote {page.folder}: {page.files} files, {page.size_bytes / 1e6:.1f} MB, models "
        f"{', '.join(page.models)}"
    )
