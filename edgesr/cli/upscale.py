"""`edgesr upscale`: pictures of any size through a `.tflite` of one fixed size."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.errors import PictureError, SizeError

if TYPE_CHECKING:
    from edgesr.batch import Done, Failed, Settings
    from edgesr.overlap import StatedFacts
    from edgesr.runtime import Backend
    from edgesr.upscale import Upscaler
    from edgesr.whole import WholeUpscaler

_SHOWN_NAMES = 10


@click.command(
    epilog="""\b
Examples:
  edgesr upscale photo.jpg
  edgesr upscale photo.jpg -m rtc -o large.png
  edgesr upscale holiday/ scans/ -m mine_x2_720x480_fp16.tflite -o large/ --json
  edgesr upscale photo.jpg -m imdn_x4_720x480_fp16.tflite --whole
  edgesr upscale photo.jpg -m imdn-as_x1_720x480_fp16.tflite --factor 2.5
"""
)
@click.argument(
    "pictures", nargs=-1, required=True, metavar="PICTURES...", type=click.Path(path_type=Path)
)
@click.option(
    "-m",
    "--model-file",
    "model",
    metavar="FILE.tflite|NAME",
    help="Super-resolution model: a file (see `edgesr convert`), or the name or alias of a network "
    "whose FP16 file comes with edgesr; where a file is called like a network, the file is meant. "
    "Default: rtc.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="File (.png, .jpg, .jpeg or .webp) for one picture, else a folder, made if need be. "
    "Default: beside each picture, as NAME_x<scale>.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option("--threads", type=click.IntRange(1), help="CPU threads. Default: all.")
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cpu-fp16"]),
    default="cpu",
    show_default=True,
    help="cpu-fp16 computes in FP16 as phones' GPUs do.",
)
@click.option(
    "--overlap",
    type=click.IntRange(0),
    metavar="PIXELS",
    help="Overlap of tiles on each side. Default: the network's reach, which edgesr's own files "
    "state; 48 for others, or a quarter of the input's shorter side if that is less.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="Run each picture in one piece, whatever the file's own size: no tiles, and more memory. "
    "For networks that look at the whole picture (`edgesr models`), whose tiles are not exact.",
)
@click.option(
    "--factor",
    type=click.FloatRange(1, 64),
    metavar="N",
    help="For networks of scale 1, as imdn-as: resize by this factor before, e.g. 2.5.",
)
@click.option(
    "--to",
    "size",
    metavar="HxW",
    help="For networks of scale 1: resize to this height and width before.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Of JPEG (whose colours are never subsampled) and WebP.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=89_478_485,
    show_default=True,
    help="Refuse larger pictures, as decompression bombs, and larger results of --factor and --to.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON on stdout.")
def command(
    *,
    pictures: tuple[Path, ...],
    model: str | None,
    output: Path | None,
    force: bool,
    threads: int | None,
    backend: str,
    overlap: int | None,
    whole: bool,
    factor: float | None,
    size: str | None,
    quality: int,
    max_pixels: int,
    as_json: bool,
) -> None:
    """Upscale PNG, JPEG and WebP pictures (files, or folders of them).

    The picture is cut into tiles of the model's size that overlap far enough for no seam to exist.
    8 or 16 bits, grey, colour and transparency, ICC profile and EXIF stay; EXIF's orientation is
    applied. One picture that fails does not stop the others; the status is then 1.
    """
    from edgesr.batch import Failed, Settings
    from edgesr.bundled import model_file
    from edgesr.enlarge import read_final_size
    from edgesr.runtime import Backend, available_threads

    if whole and overlap is not None:
        raise click.UsageError("--whole makes no tiles: leave out --overlap")
    model_path = model_file(model)
    final_size = read_final_size(factor, size)
    settings = Settings(quality, max_pixels, force, threads or available_threads(), final_size)
    network = _Network(model_path, Backend(backend), overlap, whole)
    results: list[Done | Failed] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is an error or a note here
            _run(pictures, network, output, settings, results)
    except KeyboardInterrupt:
        written = sum(not isinstance(result, Failed) for result in results)
        click.echo(f"edgesr: interrupted; whole files written: {written}, others: none", err=True)
        raise click.exceptions.Exit(130) from None
    finally:
        _print_json(results, model_path, backend) if as_json else _print_lines(results)
    failed = [result for result in results if isinstance(result, Failed)]
    if len(results) == 1 and failed:
        raise PictureError(failed[0].message) from failed[0].error
    if failed:
        done = len(results) - len(failed)
        raise PictureError(f"{len(failed)} of {len(results)} pictures failed, {done} upscaled")


@dataclass(frozen=True)
class _Network:
    """Which file computes, and how."""

    path: Path
    backend: "Backend"
    overlap: int | None
    whole: bool


def _run(
    inputs: "Sequence[Path]",
    network: _Network,
    output: Path | None,
    settings: "Settings",
    results: "list[Done | Failed]",
) -> None:
    """Upscale all pictures; fill `results` one by one, so that an interruption loses none."""
    from edgesr.batch import ReadAhead, find_pictures, output_folder, plan, upscale_files
    from edgesr.cli.progress_bar import progress_bar
    from edgesr.overlap import stated_facts

    sources = find_pictures(inputs)
    _show_skipped(sources.skipped)
    with progress_bar() as progress, ReadAhead(sources.pictures, settings.max_pixels) as ahead:
        facts = stated_facts(network.path)
        upscaler = _upscaler(network, facts, settings.threads)
        _check_final_size(network, upscaler.scale, settings)
        label = settings.final_size.label if settings.final_size else f"x{upscaler.scale}"
        jobs, folder = plan(sources, output, label)
        warned = False
        with output_folder(folder):
            for result in upscale_files(jobs, ahead, upscaler, settings, progress):
                results.append(result)
                _show_trouble(result, alone=len(jobs) == 1)
                warned = warned or _show_inexact(result, facts)


def _upscaler(
    network: _Network, facts: "StatedFacts | None", threads: int
) -> "Upscaler | WholeUpscaler":
    """The network, loaded; with --whole it is loaded for each picture's size."""
    from edgesr.cli.progress_bar import say
    from edgesr.overlap import choose_overlap
    from edgesr.runtime import open_model
    from edgesr.upscale import Upscaler
    from edgesr.whole import whole_upscaler

    if network.whole:
        return whole_upscaler(network.path, network.backend, threads)
    runner = open_model(network.path, network.backend, threads=threads)
    overlap, warning = choose_overlap(facts, network.overlap, runner.shape)
    if warning:
        say(f"edgesr: note: {warning}")
    return Upscaler(runner, overlap)


def _check_final_size(network: _Network, scale: int, settings: "Settings") -> None:
    """Resizing before is for networks that do not enlarge, and these do little without it.

    Raises:
        SizeError: A picture is to be resized for a network that enlarges it.
    """
    from edgesr.cli.progress_bar import say

    if scale > 1 and settings.final_size is not None:
        raise SizeError(
            f"{network.path} enlarges x{scale} by itself, allowed with --factor and --to are "
            "networks of scale 1, as imdn-as; leave the option out"
        )
    if scale == 1 and settings.final_size is None:
        say(
            f"edgesr: note: {network.path} does not enlarge: pictures keep their size; resize them "
            "before with --factor N or --to HxW"
        )


def _show_inexact(result: "Done | Failed", facts: "StatedFacts | None") -> bool:
    """Say on stderr that tiles of this network are not exact, and what was measured of it."""
    from edgesr.batch import Failed
    from edgesr.bundled import tiled_quality
    from edgesr.cli.progress_bar import say

    if facts is None or not facts.whole_picture or isinstance(result, Failed) or result.one_tile:
        return False
    found = tiled_quality(facts.model, facts.scale)
    by_how_much = "how near they come was not measured for this network"
    if found is not None:
        by_how_much = (
            f"with tiles of {found.height}x{found.width}, PSNR to the picture in one piece is "
            f"{found.psnr_db:.1f} dB (on Y; {found.set_name} at half size)"
        )
    say(
        f"edgesr: note: {facts.model} looks at the whole picture, and its tiles are not exact: "
        f"{by_how_much}; --whole runs a picture in one piece"
    )
    return True


def _show_skipped(skipped: "Sequence[Path]") -> None:
    """Say on stderr what of the folders is not taken for a picture."""
    if skipped:
        names = ", ".join(str(path) for path in skipped[:_SHOWN_NAMES])
        more = f" and {len(skipped) - _SHOWN_NAMES} more" if len(skipped) > _SHOWN_NAMES else ""
        click.echo(f"edgesr: skipped, no picture by name: {names}{more}", err=True)


def _show_trouble(result: "Done | Failed", *, alone: bool) -> None:
    """Say on stderr what failed (unless that ends the command anyway) or could not be kept."""
    from edgesr.batch import Failed
    from edgesr.cli.progress_bar import say

    if isinstance(result, Failed):
        if not alone:
            say(f"edgesr: failed: {result.message}")
        return
    for note in result.notes:
        say(f"edgesr: note: {result.job.source}: {note}")


def _print_lines(results: "Sequence[Done | Failed]") -> None:
    """One line for each picture that was upscaled."""
    from edgesr.batch import Failed

    for result in results:
        if not isinstance(result, Failed):
            before, after = ("x".join(map(str, s)) for s in (result.input_size, result.output_size))
            tiles = "1 tile" if result.tiles == 1 else f"{result.tiles} tiles"
            click.echo(
                f"{result.job.source} {before} -> {result.job.target} {after} "
                f"({tiles}, {result.seconds:.2f} s)"
            )


def _print_json(results: "Sequence[Done | Failed]", model_path: Path, backend: str) -> None:
    """All results as one JSON document on stdout."""
    from edgesr.batch import Failed
    from edgesr.cli.report import as_json

    pictures: list[dict[str, object]] = []
    failures: list[dict[str, object]] = []
    for result in results:
        if isinstance(result, Failed):
            failures.append({"input": str(result.job.source), "error": result.message})
            continue
        pictures.append(
            {
                "input": str(result.job.source),
                "output": str(result.job.target),
                "input_size": _size(result.input_size),
                "output_size": _size(result.output_size),
                "tiles": result.tiles,
                "one_tile": result.one_tile,
                "seconds": round(result.seconds, 4),
                "model": str(model_path),
                "backend": backend,
                "notes": list(result.notes),
            }
        )
    as_json({"pictures": pictures, "failed": failures})


def _size(height_width: tuple[int, int]) -> dict[str, int]:
    return {"height": height_width[0], "width": height_width[1]}
