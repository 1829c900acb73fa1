"""Super-resolution files as functions of images: `load_model` and `upscale`."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from edgesr._api.options import check_choice, check_threads
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ImageError, ModelFileError, OptionError
from edgesr.images.encoding import DEFAULT_QUALITY
from edgesr.images.files import MAX_PIXELS, SUFFIXES, Format, from_pillow, to_pillow
from edgesr.runtime.session import Backend, ModelFile, available_threads, read_model_file
from edgesr.upscaling.files import (
    FailedFile,
    ReadAhead,
    Settings,
    SkippedFile,
    UpscaledFile,
    upscale_files,
)
from edgesr.upscaling.final_size import final_size
from edgesr.upscaling.jobs import as_paths, find_sources, output_folders, plan, split_done
from edgesr.upscaling.output_checks import remedy_for
from edgesr.upscaling.tile_size import MOST_BYTES
from edgesr.upscaling.tiling import Overlap, choose_overlap
from edgesr.upscaling.upscaler import ImageUpscaler, Upscaler, open_fitted, open_whole
from edgesr.upscaling.video.kinds import ENCODERS, VideoSettings
from edgesr.weights.bundled import model_file

if TYPE_CHECKING:
    from PIL import Image

_T = TypeVar("_T", np.uint8, np.uint16, np.float32)
_DTYPES = ("uint8", "uint16", "float32")
DEFAULT_MEMORY_MIB = MOST_BYTES >> 20
#: Size of tiles: None for what fits the images best, "file" for the file's own, or height, width.
Tile = tuple[int, int] | Literal["file"] | None


class Model:
    """A loaded super-resolution `.tflite`. Not to be shared between threads.

    A context manager: at its end the model is closed, which ends the GPU accelerator's process.

    Attributes:
        path: The file.
        scale: Rows of the result per row of the image, and columns per column.
        input_size: Height and width of the file's own input.
        facts: What edgesr wrote into the file; None where another tool made it.
        backend: What runs it: cpu, cpu-fp16, gpu or gpu-fp16.
        notes: What a user should know of the results, one sentence each.
    """

    def __init__(
        self,
        path: Path,
        *,
        backend: Backend = Backend.CPU,
        threads: int | None = None,
        overlap: int | None = None,
        whole: bool = False,
        tile: Tile = None,
        memory_mib: int = DEFAULT_MEMORY_MIB,
    ) -> None:
        """Load a file; see `load_model`, which finds files by a network's name too."""
        file = read_model_file(path)
        self.path = path
        self.backend = backend
        self.facts = file.facts
        self.scale = file.shape.scale
        self.input_size = (file.shape.height, file.shape.width)
        self.notes: tuple[str, ...] = ()
        digest = hashlib.sha256(file.content).hexdigest()
        self._identity = repr((digest, str(backend), overlap, whole, tile, memory_mib))
        self._upscaler: ImageUpscaler | None
        threads = threads or available_threads()
        if whole:
            self._upscaler = open_whole(file, backend, threads)
            return
        placed, warning = choose_overlap(file.facts and file.facts.reach, overlap, file.shape)
        self.notes = (warning,) if warning else ()
        fitted = self._fitted(file, threads, placed, memory_mib << 20) if tile is None else None
        if fitted is None:
            size = tile if isinstance(tile, tuple) else None
            runner = file.open(backend, threads=threads, size=size)
            fitted = Upscaler(runner, placed, remedy_for(backend, file.facts))
        self._upscaler = fitted

    def _fitted(
        self, file: ModelFile, threads: int, overlap: Overlap, most_bytes: int
    ) -> ImageUpscaler | None:
        """The network at sizes that fit the images; None where it stays at its file's own.

        It does on an accelerator, which compiles for minutes; where how far the network sees is
        not known, or it sees the whole image; and where an operator fits one size only.
        """
        reach = file.facts.reach if file.facts else None
        if self.backend.is_gpu or reach is None or reach.radius is None or reach.whole_image:
            return None
        try:
            return open_fitted(file, self.backend, threads, overlap, most_bytes)
        except ModelFileError as error:
            height, width = self.input_size
            self.notes += (f"tiles are of the file's own size, {height}x{width}: {error}",)
            return None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        height, width = self.input_size
        return f"<edgesr.Model {self.path.name} x{self.scale} {height}x{width} on {self.backend}>"

    def close(self) -> None:
        """Release the runtime; the model cannot upscale any more. A second call does nothing."""
        if self._upscaler is not None:
            self._upscaler.close()
            self._upscaler = None

    @overload
    def upscale(
        self, image: "Image.Image", *, progress: ProgressCallback = ...
    ) -> "Image.Image": ...
    @overload
    def upscale(self, image: NDArray[_T], *, progress: ProgressCallback = ...) -> NDArray[_T]: ...

    def upscale(
        self, image: "Image.Image | NDArray[Any]", *, progress: ProgressCallback = silent
    ) -> "Image.Image | NDArray[Any]":
        """Upscale one image; the result is of the same kind.

        A Pillow image is turned upright by its EXIF orientation; ICC profile and EXIF block are in
        the result's `info`. Palette and 1-bit images become grey or RGB. Alpha is upscaled as an
        image of its own, and colours below full transparency are replaced before.

        Args:
            image: A Pillow image, or an array, height x width (grey) or height x width x channels:
                1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. uint8 and uint16 over the whole
                range, float32 in [0, 1]. Any size from 1x1 up.
            progress: Called as (stage, done, total) after every tile.

        Returns:
            `scale` times as many rows and columns; in the type of the image, rounded once, or
            float32 clipped to [0, 1].

        Raises:
            ImageError: The image is of another kind, or the result cannot be right.
            SizeError: The model's input is too small for its receptive radius.
            ModelFileError: The model was closed.

        Examples:
            >>> import edgesr, numpy as np
            >>> grey_hw = np.tile(np.arange(40, dtype=np.uint8), (30, 1))
            >>> with edgesr.load_model("rtc") as model:
            ...     model.upscale(grey_hw).shape
            (60, 80)
        """
        if isinstance(image, np.ndarray):
            pixels_hwc = _as_hwc(image)
            result = self._loaded().upscale_pixels(pixels_hwc, progress)
            return result.reshape(*result.shape[:2], *image.shape[2:])
        return to_pillow(self._loaded().upscale(from_pillow(image), progress))

    def upscale_files(
        self,
        inputs: Sequence[str | os.PathLike[str]],
        output: str | os.PathLike[str] | None = None,
        *,
        factor: float | None = None,
        size: tuple[int, int] | None = None,
        crop: bool = False,
        max_side: int | None = None,
        quality: int = DEFAULT_QUALITY,
        max_pixels: int = MAX_PIXELS,
        overwrite: bool = False,
        skip_existing: bool | None = None,
        recursive: bool = False,
        file_format: str | None = None,
        codec: str | None = None,
        crf: int | None = None,
        resume: bool | None = None,
        progress: ProgressCallback = silent,
    ) -> Iterator[UpscaledFile | SkippedFile | FailedFile]:
        """Upscale images, videos and folders of them; one that fails does not stop the others.

        Args:
            inputs: Files, or folders that hold some.
            output: File for one image, else a folder, which is made if need be; a slash at its
                end makes it a folder. None for beside each image, as NAME_x<scale>.
            factor: How much larger results are, 1 to 64, whatever the model's scale: it runs as
                often as needed, then a bicubic resize reduces. Models of scale 1 get images
                that were resized before.
            size: Height and width of a box that results fit into, instead of a factor.
            crop: Whether results fill the box, and what juts out is cut off.
            max_side: Results of a longer side are reduced to this one.
            quality: Of JPEG, WebP and AVIF, 1 to 100.
            max_pixels: Larger images are refused.
            overwrite: Whether files that exist may be replaced.
            skip_existing: Whether images whose results exist are left out, without `overwrite`;
                by default those that were found in folders.
            recursive: Whether folders below the folders are searched; `output` gets the same ones.
            file_format: Results' format: "png", "jpeg", "webp", "avif" or "tiff". By default the
                inputs' own, or that of the output's suffix. Videos keep theirs.
            codec: Of videos: "h264", "hevc", "av1", "vp9" or "ffv1". By default h264; hevc for
                more than 8 bits, vp9 in WebM.
            crf: The codec's quality, lower is better and larger.
            resume: Whether videos go on where a run was interrupted; by default those that were
                found in folders.
            progress: Called as (stage, done, total) for images, tiles and frames.

        Yields:
            One result per image: those that were left out, then the others in order.

        Raises:
            ImageError: A folder holds no image, or the output's suffix stands for no format.
            OutputError: Several images are to go into one file.
            VideoError: The output's suffix stands for no container of videos.
            OptionError: The codec is unknown.
            SizeError: Two of `factor`, `size` and `max_side` exclude each other, or one is out of
                range.

        Examples:
            >>> import edgesr
            >>> from PIL import Image
            >>> for name in ("a.png", "b.png"):
            ...     Image.new("RGB", (40, 30), "teal").save(name)
            >>> with edgesr.load_model("rtc") as model:
            ...     for result in model.upscale_files(["a.png", "b.png"], "large"):
            ...         print(result.job.target.as_posix(), result.output_size)
            large/a_x2.png (60, 80)
            large/b_x2.png (60, 80)
        """
        upscaler = self._loaded()
        final = final_size(factor, size, crop=crop, max_side=max_side)
        if codec is not None:
            check_choice("codec", codec, ENCODERS)
        if output is not None:
            as_paths([output])
        folder = None if output is None else Path(output)
        sources = find_sources(as_paths(inputs), recursive=recursive, output=folder)
        label = final.label if final else f"x{self.scale}"
        jobs, folder = plan(sources, output, label, _format(file_format))
        todo, done = (jobs, []) if overwrite else split_done(jobs, skip_existing)
        yield from map(SkippedFile, done)
        video = VideoSettings(codec, crf, model=self._identity)
        settings = Settings(quality, max_pixels, overwrite, final, video, resume)
        with (
            ReadAhead([job.source for job in todo if not job.video], max_pixels) as ahead,
            output_folders(folder, todo),
        ):
            yield from upscale_files(todo, ahead, upscaler, settings, progress)

    def _loaded(self) -> ImageUpscaler:
        if self._upscaler is None:
            raise ModelFileError(f"{self.path} was closed; load it again")
        return self._upscaler


def load_model(
    model: str | os.PathLike[str] | None = None,
    *,
    backend: str = "cpu",
    threads: int | None = None,
    overlap: int | None = None,
    whole: bool = False,
    tile: Tile = None,
    memory_mib: int = DEFAULT_MEMORY_MIB,
) -> Model:
    """Load a super-resolution `.tflite`.

    Args:
        model: A path, or the name or alias of a network whose FP16 file comes with edgesr (see
            `list_models`); a file that is there goes first. None for the file of "rtc".
        backend: "cpu"; "cpu-fp16" computes in FP16 as the GPUs of mobile devices do; "gpu" and
            "gpu-fp16" are LiteRT's GPU accelerator, in a process of its own.
        threads: CPU threads, 1 to 512; all that this process may use by default.
        overlap: Pixels by which tiles overlap on each side. By default the receptive radius that
            edgesr's files state; for others 48, or a quarter of the input's shorter side where
            that is less.
        whole: Run each image untiled, whatever the file's own size: exact for networks that see
            the whole image, at the cost of memory.
        tile: Height and width of tiles, or "file" for the file's own. By default what takes the
            least time for each image, on the CPU, where the file states how far its network sees;
            else the file's own. The results are the same, up to the rounding of float32.
        memory_mib: What tiles of the default size may take, in MiB, without the images themselves.

    Raises:
        ModelFileError: No such file comes with edgesr, or the file is missing, damaged, or not a
            super-resolution model.
        OptionError: The backend is unknown, `threads` is out of bounds, or `overlap` is given with
            `whole`, or `tile` is, or `tile` or `memory_mib` is out of bounds.
        SizeError: Tiles of that size need more memory than is free.
        NoGpuError: A GPU is required and there is none.
        AcceleratorError: The GPU accelerator does not accept the file, or failed.
        MissingDependencyError: The runtime is not installed.

    Examples:
        >>> import edgesr
        >>> model = edgesr.load_model("rtc")
        >>> model.scale, model.input_size, str(model.backend), model.facts.model
        (2, (720, 480), 'cpu', 'imdn-rtc')
        >>> model.close()
    """
    if whole and overlap is not None:
        raise OptionError("got overlap and whole: untiled images have no overlap; leave it out")
    if whole and tile is not None:
        raise OptionError("got tile and whole: untiled images have no tiles; leave it out")
    if isinstance(tile, tuple) and min(tile) < 1:
        raise OptionError(f'got the tile {tile!r}, allowed "file" or (height, width), 1 and up')
    if memory_mib < 1:
        raise OptionError(f"got {memory_mib} MiB of memory, allowed 1 and more")
    path = model_file(model) if model is None or isinstance(model, str) else Path(model)
    kind = Backend(check_choice("backend", backend, Backend))
    check_threads(threads)
    return Model(
        path,
        backend=kind,
        threads=threads,
        overlap=overlap,
        whole=whole,
        tile=tile,
        memory_mib=memory_mib,
    )


def upscale(
    image: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    model: str | os.PathLike[str] | None = None,
    backend: str = "cpu",
    threads: int | None = None,
    overlap: int | None = None,
    whole: bool = False,
    tile: Tile = None,
    memory_mib: int = DEFAULT_MEMORY_MIB,
    factor: float | None = None,
    size: tuple[int, int] | None = None,
    crop: bool = False,
    max_side: int | None = None,
    quality: int = DEFAULT_QUALITY,
    overwrite: bool = False,
    codec: str | None = None,
    crf: int | None = None,
    resume: bool = False,
    progress: ProgressCallback = silent,
) -> UpscaledFile:
    """Upscale one image or video; for several, load the model once (`Model.upscale_files`).

    Args:
        image: PNG, JPEG, WebP, AVIF, TIFF, BMP, GIF or HEIC. Bit depth, channels, profile stay.
            Or a video, with `edgesr[video]`, of which sound and all else stay.
        output: The file to write, its suffix is its format; None for beside the image.
        model: As for `load_model`.
        backend: As for `load_model`.
        threads: As for `load_model`.
        overlap: As for `load_model`.
        whole: As for `load_model`.
        tile: As for `load_model`.
        memory_mib: As for `load_model`.
        factor: As for `Model.upscale_files`.
        size: As for `Model.upscale_files`.
        crop: As for `Model.upscale_files`.
        max_side: As for `Model.upscale_files`.
        quality: Of JPEG, WebP and AVIF, 1 to 100.
        overwrite: Whether a file that exists may be replaced.
        codec: As for `Model.upscale_files`.
        crf: As for `Model.upscale_files`.
        resume: Whether a video goes on where a run was interrupted.
        progress: Called as (stage, done, total) after every tile; of a video after every frame.

    Returns:
        The files, their sizes, and how often the network ran.

    Raises:
        ImageError: The image cannot be read, or the result cannot be right.
        VideoError: The video cannot be read, or the output does not hold it.
        OutputError: The output exists or cannot be written.
        EdgeSRError: As `load_model` and `Model.upscale_files`.

    Examples:
        >>> import edgesr
        >>> from PIL import Image
        >>> Image.new("RGB", (40, 30), "teal").save("small.png")
        >>> done = edgesr.upscale("small.png", "large.png", model="rtc")
        >>> done.output_size, str(done.job.target)
        ((60, 80), 'large.png')
    """
    (path,) = as_paths([image])
    if os.path.isdir(path):
        raise ImageError(f"{path} is a folder; name an image, or use Model.upscale_files")
    with load_model(
        model,
        backend=backend,
        threads=threads,
        overlap=overlap,
        whole=whole,
        tile=tile,
        memory_mib=memory_mib,
    ) as loaded:
        (result,) = loaded.upscale_files(
            [path], output, factor=factor, size=size, crop=crop, max_side=max_side,
            quality=quality, overwrite=overwrite, skip_existing=False, codec=codec, crf=crf,
            resume=resume, progress=progress,
        )  # fmt: skip
    if isinstance(result, FailedFile):
        raise result.error
    assert isinstance(result, UpscaledFile)
    return result


def _format(name: str | None) -> Format | None:
    """The format of a name as users write it."""
    formats = {kind.name.lower(): kind for kind in SUFFIXES.values()}
    return None if name is None else formats[check_choice("file_format", name, formats)]


def _as_hwc(image: NDArray[Any]) -> NDArray[Any]:
    """An array with channels, checked.

    Raises:
        ImageError: Its type, shape or values are none of an image.
    """
    if image.dtype.name not in _DTYPES:
        raise ImageError(
            f"got an array of {image.dtype}, allowed uint8, uint16 and float32 (in [0, 1])"
        )
    pixels_hwc = image[..., None] if image.ndim == 2 else image
    if pixels_hwc.ndim != 3 or pixels_hwc.shape[2] not in (1, 2, 3, 4) or not pixels_hwc.size:
        raise ImageError(
            f"got an array of shape {image.shape}, allowed height x width, or height x width x "
            "channels with 1 to 4 channels"
        )
    if pixels_hwc.dtype == np.float32:
        lowest, highest = float(pixels_hwc.min()), float(pixels_hwc.max())
        if not (lowest >= 0 and highest <= 1):  # false for NaN too
            raise ImageError(
                f"got float32 values from {lowest:g} to {highest:g}, allowed 0 (black) to 1 "
                "(white); divide by the value of white"
            )
    return pixels_hwc
