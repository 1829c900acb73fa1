"""Gates of an integer file: what rounding to 8 bits may do to an image, and what not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.int8.images import judging_images, to_u8
from converters.manifest import BackendParity, InputParity
from converters.parity.gates import bicubic, compare, pooled_psnr
from converters.parity.test_inputs import InputImage, ReferenceNetwork
from converters.parity.verify import ParityReport
from converters.spec import MAX_DROP_DB
from edgesr.common.progress import ProgressCallback, silent
from edgesr.images.imresize import imresize
from edgesr.images.metrics import psnr_y
from edgesr.runtime.session import Backend, open_model

Float32Array = NDArray[np.float32]

_MAX_ABS = 0.25
_MAX_CAST = 0.5 / 255
_MAX_STEP = 2 / 255
_RAMP = (0.2, 0.8)


@dataclass(frozen=True)
class _Judged:
    """Outputs of the file and of the network on one input.

    Attributes:
        parity: How far they are apart.
        scores: PSNR to the original, of the network and of the file; None where there is none.
        cast: Largest difference of the channels' means.
        step: How much larger a step between neighbours is than the network's largest; None for
            anything but the gradient.
    """

    parity: InputParity
    cast: float
    scores: tuple[float, float] | None = None
    step: float | None = None


def judge(
    path: Path,
    reference: ReferenceNetwork,
    scale: int,
    size: tuple[int, int],
    *,
    images: Path | None,
    max_drop: float = MAX_DROP_DB,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> ParityReport:
    """Compare an integer file with its FP32 network.

    Args:
        path: The file.
        reference: The network in FP32.
        scale: Its scale.
        size: Height and width that the file is run at.
        images: Folder of photographs; None for synthetic scenes. They are other ones than those of
            the calibration, where there are more than two.
        max_drop: dB of PSNR (on Y, as `edgesr eval` measures) that may be lost, by the mean square
            error of all images together.
        threads: CPU threads.
        progress: Called for every input.

    Returns:
        What was measured, and which gates failed; nothing is raised.
    """
    runner = open_model(path, Backend.CPU, threads=threads, size=size)
    originals = judging_images(*size, scale, images)
    judged: list[_Judged] = []
    for number, original in enumerate(originals, 1):
        lr_u8 = to_u8(imresize(original.astype(np.float32), 1 / scale))
        image = InputImage(f"image {number}", _nhwc(lr_u8), is_natural=True)
        got, wanted, parity = _compared(runner.run, reference, image)
        before, after = (psnr_y(to_u8(o[0] * 255), original, scale) for o in (wanted, got))
        judged.append(_Judged(parity, _cast(got, wanted), (before, after)))
        progress("verify", number, len(originals) + 1)
    gradient = InputImage("gradient", _gradient(*size))
    got, wanted, parity = _compared(runner.run, reference, gradient)
    judged.append(
        _Judged(parity, _cast(got, wanted), step=_largest_step(got) - _largest_step(wanted))
    )
    progress("verify", len(originals) + 1, len(originals) + 1)
    runner.close()
    parities = tuple(j.parity for j in judged)
    gate = f"PSNR drop <= {max_drop:g} dB, max abs <= {_MAX_ABS:g}, no cast, no banding"
    of_cpu = BackendParity(
        backend=Backend.CPU.value, gate=gate, failures=tuple(_failures(judged, max_drop)),
        psnr_db=pooled_psnr(parities), inputs=parities,
    )  # fmt: skip
    return ParityReport(path.name, (of_cpu,))


def _failures(judged: Sequence[_Judged], max_drop: float) -> list[str]:
    found: list[str] = []
    scores = np.array([j.scores for j in judged if j.scores is not None])
    before, after = -10 * np.log10(np.mean(10 ** (-scores / 10), axis=0))
    drop = float(before - after)
    if not drop <= max_drop:
        found.append(
            f"the images lose {drop:.2f} dB, allowed {max_drop:g} (--max-drop): more or other "
            "photographs by --images may help"
        )
    for j in judged:
        name = j.parity.input
        if not j.parity.max_abs <= _MAX_ABS:
            found.append(f"{name}: max abs {j.parity.max_abs:.3g}, allowed {_MAX_ABS:g}")
        if not j.cast <= _MAX_CAST:
            found.append(
                f"{name}: a channel's mean is {j.cast * 255:.2f} grey levels off, allowed 0.5"
            )
        if j.step is not None and not j.step <= _MAX_STEP:
            found.append(f"{name}: steps of {j.step * 255:.1f} grey levels more, allowed 2")
    return found


def _compared(
    run: ReferenceNetwork, reference: ReferenceNetwork, image: InputImage
) -> tuple[Float32Array, Float32Array, InputParity]:
    wanted = reference(image.lr_nhwc).clip(0, 1)  # an integer file ends at black and white
    got = run(image.lr_nhwc).copy()
    base = bicubic(image.lr_nhwc, wanted.shape[1], wanted.shape[2])
    return got, wanted, compare(image, got, wanted, base)


def _nhwc(hwc_u8: NDArray[np.uint8]) -> Float32Array:
    return (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]


def _gradient(height: int, width: int) -> Float32Array:
    """From left to right, dark to bright, in the grey levels that an image can have."""
    row = np.rint(np.linspace(*_RAMP, width) * 255).astype(np.uint8)
    return _nhwc(np.broadcast_to(row[None, :, None], (height, width, 3)))


def _cast(got: Float32Array, wanted: Float32Array) -> float:
    apart = got.astype(np.float64).mean((0, 1, 2)) - wanted.astype(np.float64).mean((0, 1, 2))
    return float(np.abs(apart).max())


def _largest_step(hr_nhwc: Float32Array) -> float:
    """Between neighbours in a row; the border, where networks see padding, is left out."""
    inner = hr_nhwc[:, 16:-16, 16:-16] if min(hr_nhwc.shape[1:3]) > 64 else hr_nhwc
    return float(np.abs(np.diff(inner, axis=2)).max())
