"""`edgesr upscale`: images of any size, and videos, through a `.tflite`."""

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgesr.cli.support.lines import print_line
from edgesr.cli.support.termination import TERMINATED, TerminatedError, report_stopped
from edgesr.cli.support.threads import threads_option
from edgesr.errors import ImageError

if TYPE_CHECKING:
    from edgesr import Model, UpscaledFile
    from edgesr._api.model import Tile
    from edgesr.cli.support.streams import Streams
    from edgesr.upscaling.files import FailedFile, SkippedFile

    Result = UpscaledFile | SkippedFile | FailedFile

_SHOWN_NAMES = 10


@click.command(
    epilog="""\b
Examples:
  edgesr upscale photo.jpg
  edgesr upscale photo.jpg -m rtc -o large.png
  edgesr upscale holiday/ scans/ -m mine_x2_720x480_fp16.tflite -o large/ --json
  edgesr upscale photo.jpg -m imdn_x4_720x480_fp16.tflite --whole
  edgesr upscale photo.jpg --factor 3
  edgesr upscale photos/ -r -o photos_x2/
  cat photo.jpg | edgesr upscale - -o - > large.jpg
  edgesr upscale holiday/ --to 1080x1920 --crop -o wallpapers/
  edgesr upscale clip.mp4 -o clip_x2.mp4 --resume
"""
)
@click.argument("images", nargs=-1, required=True, metavar="IMAGES...", type=click.Path())
@click.option(
    "-m",
    "--model-file",
    "model",
    metavar="FILE.tflite|NAME",
    help="Super-resolution model: a file (see `edgesr convert`), or the name or alias of a network "
    "whose FP16 file comes with edgesr; a file of a network's name takes precedence. "
    "Default: rtc.",
)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    type=click.Path(),  # a path would lose the slash at its end
    help="File (.png, .jpg, .webp, .avif or .tiff; .mp4, .mov, .mkv or .webm) for one image or "
    "video, else a folder, made if need be; OUT/ is always a folder. "
    "Default: beside each image, as NAME_x<scale>.",
)
@click.option(
    "-r", "--recursive", is_flag=True, help="Search folders below folders; OUT gets the same ones."
)
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["png", "jpeg", "webp", "avif", "tiff"]),
    help="Format of images. Default: that of OUT's suffix, else each image's own.",
)
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--skip-existing",
    is_flag=True,
    help="Leave out images whose result exists; without --force always for those in folders.",
)
@threads_option
@click.option(
    "--backend",
    type=click.Choice(["cpu", "cpu-fp16"]),
    default="cpu",
    show_default=True,
    help="cpu-fp16 computes in FP16 as mobile GPUs do.",
)
@click.option(
    "--overlap",
    type=click.IntRange(0),
    metavar="PIXELS",
    help="Overlap of tiles on each side. Default: the network's receptive radius, which "
    "edgesr's files state; 48 for others, or a quarter of the input's shorter side if less.",
)
@click.option(
    "--whole",
    is_flag=True,
    help="Run each image untiled, whatever the file's own size: exact, and more memory. "
    "For networks with a global receptive field (`edgesr models`), whose tiles are not exact.",
)
@click.option(
    "--tile",
    metavar="HxW|file",
    help="Size of tiles; file for the file's own. Default: what takes the least time for each "
    "image, where the file states how far its network sees; else the file's own.",
)
@click.option(
    "--memory",
    "memory_mib",
    type=click.IntRange(1),
    metavar="MIB",
    help="What tiles may take in MiB, beside the images. Default: 320.",
)
@click.option(
    "--factor",
    type=click.FloatRange(1, 64),
    metavar="N",
    help="Upscale by this factor, e.g. 3 or 2.5: the network runs as often as needed, then bicubic "
    "reduces. Images for networks of scale 1, as imdn-as, are resized before.",
)
@click.option(
    "--to",
    "size",
    metavar="HxW",
    help="Fit the result into this height and width; with --crop it fills them.",
)
@click.option("--crop", is_flag=True, help="Fill --to, and cut off what juts out on both sides.")
@click.option(
    "--max-side",
    type=click.IntRange(1),
    metavar="N",
    help="Reduce results of a longer side to N pixels.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    help="Of JPEG (whose colours are never subsampled), WebP and AVIF.",
)
@click.option(
    "--max-pixels",
    type=click.IntRange(1),
    default=89_478_485,
    show_default=True,
    help="Refuse larger images, as decompression bombs, and larger results of --factor, --to.",
)
@click.option(
    "--codec",
    type=click.Choice(["h264", "hevc", "av1", "vp9", "ffv1"]),
    help="Of videos. Default: h264; hevc for more than 8 bits, vp9 in WebM. ffv1 is lossless.",
)
@click.option(
    "--crf",
    type=click.IntRange(0, 63),
    metavar="N",
    help="Quality of the codec, lower is better and larger. Default: 16 for h264, 18 for hevc, "
    "22 for av1, 20 for vp9.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a video where a run was interrupted; for those in folders always, without "
    "--force.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as JSON on stdout.")
def command(
    *,
    images: tuple[str, ...],
    model: str | None,
    output: str | None,
    recursive: bool,
    file_format: str | None,
    force: bool,
    skip_existing: bool,
    threads: int | None,
    backend: str,
    overlap: int | None,
    whole: bool,
    tile: str | None,
    memory_mib: int | None,
    factor: float | None,
    size: str | None,
    crop: bool,
    max_side: int | None,
    quality: int,
    max_pixels: int,
    codec: str | None,
    crf: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Upscale images and videos: files, folders of them, or - for stdin and stdout.

    PNG, JPEG, WebP, AVIF, TIFF; BMP, GIF and HEIC (with edgesr[heif]) become PNG. Animations
    and pages stay what they are. Videos (with edgesr[video]) keep sound, subtitles and times.

    The image is cut into tiles that overlap far enough for no seam to exist.
    8 or 16 bits, grey, colour and transparency, ICC profile and EXIF stay; EXIF's orientation is
    applied. One image that fails does not stop the others; the status is then 1. The same command
    again goes on where a folder's first run stopped.
    """
    import edgesr
    from edgesr._api.model import DEFAULT_MEMORY_MIB
    from edgesr.cli.support.progress_bar import progress_bar
    from edgesr.cli.support.streams import Streams
    from edgesr.tflite.sizes import read_size
    from edgesr.upscaling.files import FailedFile, UpscaledFile
    from edgesr.upscaling.jobs import as_paths, find_sources
    from edgesr.weights.bundled import model_file

    if whole and (overlap is not None or tile is not None or memory_mib is not None):
        raise click.UsageError("--whole makes no tiles: leave out --overlap, --tile and --memory")
    if tile is not None and memory_mib is not None:
        raise click.UsageError("--memory is for tiles of the size that fits: leave out --tile")
    if as_json and (output == "-" or ("-" in images and output is None)):
        raise click.UsageError("--json and the image both go to stdout: leave one out, or name -o")
    if crop and size is None:
        raise click.UsageError("--crop is for a result that fills --to HxW: name one")
    model_path = model_file(model)
    final_size = read_size(size, "1080x1920") if size else None
    results: list[Result] = []
    streams = Streams(images, output)
    try:
        with streams, warnings.catch_warnings(), progress_bar() as progress:
            warnings.simplefilter("ignore")  # Pillow warns of what is an error or a note here
            paths = as_paths(streams.inputs)
            where = Path(streams.output) if streams.output else None
            sources = find_sources(paths, recursive=recursive, output=where)
            _show_skipped(sources.skipped)
            with edgesr.load_model(
                model_path,
                backend=backend,
                threads=threads,
                overlap=overlap,
                whole=whole,
                tile=_read_tile(tile),
                memory_mib=memory_mib or DEFAULT_MEMORY_MIB,
            ) as loaded:
                _show_notes(loaded, resized=factor is not None or final_size is not None)
                upscaled = loaded.upscale_files(
                    paths,
                    streams.output,
                    factor=factor,
                    size=final_size,
                    crop=crop,
                    max_side=max_side,
                    quality=quality,
                    max_pixels=max_pixels,
                    overwrite=force,
                    skip_existing=skip_existing or None,
                    recursive=recursive,
                    file_format=file_format,
                    codec=codec,
                    crf=crf,
                    resume=resume or (False if force else None),
                    progress=progress,
                )
                _collect(upscaled, results, loaded, alone=len(sources.images) == 1)
    except (KeyboardInterrupt, TerminatedError) as stopped:
        written = sum(isinstance(result, UpscaledFile) for result in results)
        terminated = isinstance(stopped, TerminatedError)
        what = f"whole files written: {written}, others: none{_hint_resume(streams.inputs)}"
        report_stopped(terminated=terminated, what=what)
        raise click.exceptions.Exit(TERMINATED if terminated else 130) from None
    finally:
        if as_json:
            _print_json(results, model_path, backend, streams)
        elif not streams.to_stdout:
            _print_lines(results, streams)
    failed = [result for result in results if isinstance(result, FailedFile)]
    if len(results) == 1 and failed:
        raise ImageError(streams.named(failed[0].message)) from failed[0].error
    done = sum(isinstance(result, UpscaledFile) for result in results)
    skipped = len(results) - len(failed) - done
    there = f", {skipped} skipped: their results exist (--force replaces them)" if skipped else ""
    if failed:
        raise ImageError(f"{len(failed)} of {len(results)} images failed, {done} upscaled{there}")
    if not as_json and (len(results) > 1 or skipped):
        print_line(f"edgesr: {_count(done, 'image')} upscaled{there}", err=True)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _hint_resume(inputs: "Sequence[str]") -> str:
    """How to go on, where a video that was named may be unfinished."""
    from edgesr.upscaling.video.kinds import is_video

    if any(Path(name).is_file() and is_video(Path(name)) for name in inputs):
        return "; --resume goes on with the video"
    return ""


def _read_tile(text: str | None) -> "Tile":
    from edgesr.tflite.sizes import read_size

    if text is None:
        return None
    return "file" if text == "file" else read_size(text, "256x256")


def _show_notes(model: "Model", *, resized: bool) -> None:
    """Print on stderr what to expect of a file's results."""
    from edgesr.cli.support.progress_bar import log_line

    for note in model.notes:
        log_line(f"edgesr: note: {note}")
    if model.scale == 1 and not resized:
        log_line(
            f"edgesr: note: {model.path} does not upscale: images keep their size; resize them "
            "before with --factor N or --to HxW"
        )


def _collect(
    upscaled: "Iterable[Result]",
    results: "list[Result]",
    model: "Model",
    *,
    alone: bool,
) -> None:
    """Fill `results` one by one, so that an interruption loses none, and print their notes."""
    warned = False
    for result in upscaled:
        results.append(result)
        _show_trouble(result, alone=alone)
        warned = warned or _show_inexact(result, model)


def _show_inexact(result: "Result", model: "Model") -> bool:
    """Report on stderr that tiles of this network are not exact, and their quality."""
    from edgesr.cli.support.progress_bar import log_line
    from edgesr.tflite.resize import fits_any_size
    from edgesr.tflite.schema import read_model_bytes
    from edgesr.upscaling.files import UpscaledFile
    from edgesr.weights.bundled import tiled_quality

    facts = model.facts
    if (
        facts is None
        or not facts.whole_image
        or not isinstance(result, UpscaledFile)
        or result.one_tile
    ):
        return False
    found = tiled_quality(facts.model, facts.scale)
    by_how_much = "their quality was not measured for this network"
    if found is not None:
        by_how_much = (
            f"with tiles of {found.height}x{found.width}, PSNR to the untiled image is "
            f"{found.psnr_db:.1f} dB (on Y; {found.set_name} at half size)"
        )
    untiled = "; --whole runs images untiled"
    if not fits_any_size(read_model_bytes(model.path)):
        untiled = ", and its file fits one size only"
    log_line(
        f"edgesr: note: {facts.model} has a global receptive field, and its tiles are not exact: "
        f"{by_how_much}{untiled}"
    )
    return True


def _show_skipped(skipped: "Sequence[Path]") -> None:
    """List on stderr the files in folders that are no images by name."""
    if skipped:
        names = ", ".join(str(path) for path in skipped[:_SHOWN_NAMES])
        more = f" and {len(skipped) - _SHOWN_NAMES} more" if len(skipped) > _SHOWN_NAMES else ""
        print_line(f"edgesr: skipped, no image by name: {names}{more}", err=True)


def _show_trouble(result: "Result", *, alone: bool) -> None:
    """Report on stderr what failed (unless that ends the command) or was not kept."""
    from edgesr.cli.support.progress_bar import log_line
    from edgesr.upscaling.files import FailedFile, SkippedFile

    if isinstance(result, SkippedFile):
        return
    if isinstance(result, FailedFile):
        if not alone:
            log_line(f"edgesr: failed: {result.message}")
        return
    for note in result.notes:
        log_line(f"edgesr: note: {result.job.source}: {note}")


def _print_lines(results: "Sequence[Result]", streams: "Streams") -> None:
    """One line for each image that was upscaled."""
    from edgesr.upscaling.files import UpscaledFile

    for result in results:
        if isinstance(result, UpscaledFile):
            before, after = ("x".join(map(str, s)) for s in (result.input_size, result.output_size))
            tiles = "1 tile" if result.tiles == 1 else f"{result.tiles} tiles"
            if result.frames:
                tiles = f"{_count(result.frames, 'frame')}, {tiles}"
            print_line(
                f"{streams.named(result.job.source)} {before} -> {result.job.target} {after} "
                f"({tiles}, {result.seconds:.2f} s)"
            )


def _print_json(
    results: "Sequence[Result]", model_path: Path, backend: str, streams: "Streams"
) -> None:
    """All results as one JSON document on stdout."""
    from edgesr.cli.support.printing import as_json
    from edgesr.upscaling.files import FailedFile, SkippedFile

    images: list[dict[str, object]] = []
    failures: list[dict[str, object]] = []
    skipped: list[dict[str, object]] = []
    for result in results:
        if isinstance(result, FailedFile):
            named, message = streams.named(result.job.source), streams.named(result.message)
            failures.append({"input": named, "error": message})
            continue
        if isinstance(result, SkippedFile):
            skipped.append({"input": str(result.job.source), "output": str(result.job.target)})
            continue
        frames = {"frames": result.frames} if result.frames else {}
        images.append(
            {
                "input": streams.named(result.job.source),
                "output": str(result.job.target),
                "input_size": _size(result.input_size),
                "output_size": _size(result.output_size),
                "tiles": result.tiles,
                "one_tile": result.one_tile,
                **frames,
                "seconds": round(result.seconds, 4),
                "model": str(model_path),
                "backend": backend,
                "notes": list(result.notes),
            }
        )
    as_json({"images": images, "skipped": skipped, "failed": failures})


def _size(height_width: tuple[int, int]) -> dict[str, int]:
    return {"height": height_width[0], "width": height_width[1]}
