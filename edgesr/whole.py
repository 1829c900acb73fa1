"""Upscaling pictures as a whole: the network takes each at its own size, and there are no tiles."""

from collections.abc import Callable
from pathlib import Path

from edgesr.images import Picture
from edgesr.overlap import stated_facts
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import Backend, Runner, open_model, read_shape
from edgesr.tiling import Overlap, next_multiple
from edgesr.upscale import Upscaler

#: Height, width -> the network for that size.
OpenSize = Callable[[tuple[int, int]], Runner]


class WholeUpscaler:
    """Upscales pictures of any size in one piece. Not to be shared between threads.

    The network of the last size is kept, for the next picture of that size.
    """

    def __init__(self, open_size: OpenSize, scale: int, multiple: int = 1) -> None:
        """Take a network that can be had for every size.

        Args:
            open_size: Loads it for a size; errors are passed on.
            scale: Its upscaling factor.
            multiple: What its height and width must be multiples of. Other pictures are continued
                by reflection at their bottom and right end, and the result is cropped.
        """
        self._open_size = open_size
        self._multiple = multiple
        self._runner: Runner | None = None
        self.scale = scale

    def count_tiles(self, picture: Picture) -> int:
        """How often the network is run for a picture.

        Raises:
            EdgeSRError: The network cannot be had for that size.
        """
        return self._of_size(picture).count_tiles(picture)

    def is_one_tile(self, picture: Picture) -> bool:
        """Whether the network sees all of a picture at once, and nothing else: always."""
        return True

    def upscale(self, picture: Picture, progress: ProgressCallback = silent) -> Picture:
        """Upscale a picture; see `Upscaler.upscale`.

        Raises:
            PictureError: The result cannot be right, or does not fit into memory.
            EdgeSRError: The network cannot be had for that size.
        """
        return self._of_size(picture).upscale(picture, progress)

    def close(self) -> None:
        """Let go of the network, and of whatever computes it outside this process."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    def _of_size(self, picture: Picture) -> Upscaler:
        height, width = (next_multiple(n, self._multiple) for n in (picture.height, picture.width))
        runner = self._runner
        if runner is None or (runner.shape.height, runner.shape.width) != (height, width):
            if runner is not None:
                self._runner = None  # the next one may need its memory
                runner.close()
                del runner
            runner = self._runner = self._open_size((height, width))
        return Upscaler(runner, Overlap(0, self._multiple))


def whole_upscaler(path: Path, backend: Backend, threads: int) -> WholeUpscaler:
    """A file that is loaded anew for each picture's size.

    Args:
        path: The `.tflite`.
        backend: What computes.
        threads: CPU threads.

    Raises:
        ModelFileError: The file is unreadable, or not a super-resolution model.
    """

    def open_size(size: tuple[int, int]) -> Runner:
        return open_model(path, backend, threads=threads, size=size)

    facts = stated_facts(path)
    return WholeUpscaler(open_size, read_shape(path).scale, facts.size_multiple if facts else 1)
