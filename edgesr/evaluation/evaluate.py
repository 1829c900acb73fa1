"""Evaluate methods of upscaling: PSNR and SSIM on the same images, resumable."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import EdgeSRError, ImageError
from edgesr.evaluation.journal import Journal
from edgesr.evaluation.methods import Method, bicubic
from edgesr.evaluation.results import Evaluation, ImageScore, MethodScores
from edgesr.images.datasets import Pair, pairs_in
from edgesr.images.metrics import psnr_y, ssim_y


def evaluate_folder(
    folder: Path,
    methods: Sequence[Method],
    threads: int,
    journal: Journal,
    progress: ProgressCallback = silent,
) -> Evaluation:
    """Evaluate bicubic and every method on the images of a folder.

    Args:
        folder: Holds HR and LR, or HR images alone; see `edgesr.images.datasets.pairs_in`.
        methods: At least one, all of one scale.
        threads: CPU threads of the methods, for the record.
        journal: Scores of an interrupted evaluation; receives the new ones.
        progress: Reports every image and method done, as stage "evaluate".

    Raises:
        ImageError: An image cannot be read, upscaled or measured.
    """
    scale = methods[0].scale
    pairs = pairs_in(folder, scale)
    scored = evaluate(pairs, [bicubic(scale), *methods], journal, progress)
    return Evaluation(pairs, scored, _conditions(folder, scale, threads))


def evaluate(
    pairs: Sequence[Pair],
    methods: Sequence[Method],
    journal: Journal,
    progress: ProgressCallback = silent,
) -> list[MethodScores]:
    """Upscale every image by every method and compare it with the HR image.

    Args:
        pairs: The images, of the methods' scale.
        methods: The methods, of one scale.
        journal: Scores of an interrupted evaluation; receives the new ones.
        progress: Reports every image and method done, as stage "evaluate".

    Raises:
        ImageError: An image cannot be upscaled or measured; the message names both.
    """
    total = len(pairs) * len(methods)
    scores: list[list[ImageScore]] = [[] for _ in methods]
    for index, pair in enumerate(pairs):
        image = image_digest(pair)
        for place, method in enumerate(methods):
            progress("evaluate", index * len(methods) + place, total)
            score = journal.find(image, method.digest)
            if score is None:
                score = _score(pair, method)
                journal.add(image, method.digest, score)
            scores[place].append(score)
    progress("evaluate", total, total)
    return [MethodScores(m, tuple(s)) for m, s in zip(methods, scores, strict=True)]


def image_digest(pair: Pair) -> str:
    """SHA-256 of the pixels in both resolutions, whatever file they came from."""
    digest = hashlib.sha256()
    for pixels in (pair.lr_hwc_u8, pair.hr_hwc_u8):
        digest.update(str(pixels.shape).encode())
        digest.update(pixels.tobytes())
    return digest.hexdigest()


def _score(pair: Pair, method: Method) -> ImageScore:
    try:
        started = time.perf_counter()
        upscaled = method.upscale(pair.lr_hwc_u8)
        seconds = time.perf_counter() - started
        psnr_db = psnr_y(upscaled, pair.hr_hwc_u8, method.scale)
        return ImageScore(psnr_db, ssim_y(upscaled, pair.hr_hwc_u8, method.scale), seconds)
    except EdgeSRError as error:
        raise ImageError(f"{pair.name} by {method.name}: {error}") from error


def _conditions(folder: Path, scale: int, threads: int) -> dict[str, Any]:
    """How the numbers were obtained, name -> value."""
    from edgesr import __version__
    from edgesr.common.machine import processor, system

    return {
        "data": str(folder),
        "scale": scale,
        "shave": scale,
        "measured on": "Y of BT.601, 8 bits",
        "threads": threads,
        "processor": processor(),
        "system": system(),
        "edgesr": __version__,
    }
