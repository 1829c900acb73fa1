"""Outputs of a device against this host's CPU and PyTorch.

That a delegate runs the whole graph does not make its output right. The stock benchmark_model
reads an input from a file and writes the output into one, so it can be compared, on the device and
with the delegate and precision that are measured.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from android_bench.benchmark_model.command import Load, Run, Setting, TensorFiles
from android_bench.benchmark_model.invoke import Session, invoke
from android_bench.device.workspace import WORKSPACE, put
from android_bench.errors import ToolError
from android_bench.record import Fidelity, Invocation, Reference
from edgesr.errors import ImageError, ModelFileError
from edgesr.images.datasets import find_images, read_rgb
from edgesr.images.metrics import Bounds, psnr_of_mse
from edgesr.images.test_card import draw_test_card
from edgesr.runtime.precision import ComputePrecision
from edgesr.runtime.session import open_model
from edgesr.tflite.schema import parse_model, read_model_bytes, tensor_name
from edgesr.tflite.shape import ModelShape

Float32Array = NDArray[np.float32]

_OUTPUT = f"{WORKSPACE}/output.bin"
_IMAGES = 2
#: Takes RGB 1 x height x width x 3 in [0, 1], and gives the same, scale times as large.
Network = Callable[[Float32Array], Float32Array]
#: Takes a drawn input and gives it with the share of its contrast that the network can take.
Weakening = Callable[[Float32Array], tuple[Float32Array, float]]


#: Arithmetic on the device -> how near to the same file in FP32 on this host's CPU.
CPU_GATES = {
    ComputePrecision.FP16: Bounds(psnr_db=55.0),
    ComputePrecision.FP32: Bounds(max_abs=1e-4),
}


@dataclass(frozen=True)
class TorchReference:
    """The PyTorch network that a file was made from.

    Attributes:
        network: It, as a function; None where there is none.
        missing: Why there is none.
        gates: Arithmetic on the device -> how near to the network.
        weakening: What drawn inputs go through first, as in `edgesr verify`: a network that leaves
            its own range on one says nothing of a file there. Photographs are taken as they are.
    """

    network: Network | None = None
    missing: str = ""
    gates: Mapping[ComputePrecision, Bounds] = field(default_factory=dict[ComputePrecision, Bounds])
    weakening: Weakening | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """An image and what is made of it here.

    Attributes:
        name: For reports.
        lr_nhwc: RGB, 1 x height x width x 3, float32 in [0, 1].
        hr_nhwc: The file's output on this host's CPU in FP32 arithmetic.
        torch_nhwc: PyTorch's output; None where it is not compared with.
    """

    name: str
    lr_nhwc: Float32Array
    hr_nhwc: Float32Array
    torch_nhwc: Float32Array | None = None


@dataclass(frozen=True, eq=False)
class Expected:
    """Outputs of a file on this host.

    Attributes:
        input_name: Name of its input tensor.
        shape: Its sizes.
        samples: Images with their results.
        torch: The network that it was made from; None where nobody asked for it.
    """

    input_name: str
    shape: ModelShape
    samples: tuple[Sample, ...]
    torch: TorchReference | None = None


def choose_images(folder: Path | None) -> list[Path]:
    """Choose the first two images of a folder by name.

    None of no folder: then the test card is used.

    Raises:
        ImageError: The folder holds none.
    """
    return [] if folder is None else find_images(folder)[:_IMAGES]


def expect(path: Path, images: Sequence[Path], torch: TorchReference | None = None) -> Expected:
    """Compute the reference outputs: this host's CPU, and the PyTorch network.

    Args:
        path: A super-resolution `.tflite`.
        images: Images, of which the middle is used; none for the drawn test card.
        torch: The network; None to compare with the CPU alone.

    Raises:
        ModelFileError: The file is none that edgesr runs, or not made from the network.
        ImageError: An image cannot be read, or is smaller than the file's input.
    """
    runner = open_model(path)
    graph = parse_model(read_model_bytes(path), str(path))["subgraphs"][0]
    name = tensor_name(graph["tensors"][graph["inputs"][0]])
    shape = runner.shape
    inputs = [(image.name, _network_input(_crop(image, shape))) for image in images]
    if not inputs:
        inputs = [_test_card(shape, torch)]
    samples: list[Sample] = []
    for called, lr_nhwc in inputs:
        wanted = None if torch is None or torch.network is None else torch.network(lr_nhwc)
        if wanted is not None and wanted.shape != shape.hr_nhwc:
            raise ModelFileError(
                f"{path} makes {list(shape.hr_nhwc)} of an image, its PyTorch network "
                f"{list(wanted.shape)}: not the same network"
            )
        samples.append(Sample(called, lr_nhwc, runner.run(lr_nhwc).copy(), wanted))
    return Expected(name, shape, tuple(samples), torch)


def _test_card(shape: ModelShape, torch: TorchReference | None) -> tuple[str, Float32Array]:
    """Draw the test card in the contrast that the network can process."""
    lr_nhwc = _network_input(draw_test_card(shape.height, shape.width))
    if torch is None or torch.weakening is None:
        return "test card", lr_nhwc
    lr_nhwc, contrast = torch.weakening(lr_nhwc)
    return "test card" + (f" at {contrast:g} of its contrast" if contrast < 1 else ""), lr_nhwc


def _network_input(hwc_u8: NDArray[np.uint8]) -> Float32Array:
    return (hwc_u8.astype(np.float32) / np.float32(255))[np.newaxis]


def check_fidelity(
    session: Session, setting: Setting, model_path: str, expected: Expected, cpu_mask: str | None
) -> tuple[list[Fidelity], list[Invocation]]:
    """Run every image on the device and compare.

    Raises:
        ToolError: As `invoke`, or the output has another size.
        AdbError: An input or an output did not arrive.
    """
    results: list[Fidelity] = []
    invocations: list[Invocation] = []
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder, "input.bin"), Path(folder, "output.bin")
        for sample in expected.samples:
            given.write_bytes(sample.lr_nhwc.astype("<f4").tobytes())
            tensors = TensorFiles(
                expected.input_name, expected.shape.lr_nhwc, put(session.device, given, given.name),
                _OUTPUT,
            )  # fmt: skip
            run = Run(setting, Load(runs=1, warm_up_runs=0), model_path, tensors=tensors)
            invocations.append(invoke(session, run, "check", cpu_mask=cpu_mask, cool=False))
            # Removed there: the next run shall not be judged by it.
            session.device.take(_OUTPUT, got, sample.hr_nhwc.nbytes)
            hr_nhwc = _read_output(got, expected.shape, invocations[-1].log)
            results += compare_all(sample, hr_nhwc, setting.precision, expected.torch)
    return results, invocations


def compare_all(
    sample: Sample, got: Float32Array, precision: ComputePrecision, torch: TorchReference | None
) -> list[Fidelity]:
    """Compare an output with this host's and, where available, with PyTorch's."""
    results = [compare(sample.name, got, sample.hr_nhwc, CPU_GATES[precision], "host CPU")]
    if torch is not None and sample.torch_nhwc is not None:
        gate = torch.gates[precision]
        results.append(compare(sample.name, got, sample.torch_nhwc, gate, "PyTorch"))
    return results


def compare(
    image: str, got: Float32Array, wanted: Float32Array, gate: Bounds, reference: Reference
) -> Fidelity:
    """Compare two outputs by PSNR and largest difference."""
    finite = bool(np.isfinite(got).all())
    psnr_db = largest = None
    if finite:
        difference = np.abs(got - wanted)
        largest = float(difference.max())
        mse = float(np.mean(np.square(difference), dtype=np.float64))
        psnr_db = None if mse == 0.0 else psnr_of_mse(mse)
    return Fidelity(
        image=image,
        reference=reference,
        psnr_db=psnr_db,
        max_abs=largest,
        finite=finite,
        gate=str(gate),
        passed=largest is not None and not gate.is_low(psnr_db) and not gate.is_far(largest),
    )


def _read_output(path: Path, shape: ModelShape, log: str) -> Float32Array:
    values = np.fromfile(path, dtype="<f4")
    wanted = math.prod(shape.hr_nhwc)
    if values.size != wanted or path.stat().st_size != 4 * wanted:
        raise ToolError(
            f"benchmark_model wrote {path.stat().st_size} bytes of output, {4 * wanted} belong to "
            f"{list(shape.hr_nhwc)}",
            log,
        )
    return values.reshape(shape.hr_nhwc)


def _crop(path: Path, shape: ModelShape) -> NDArray[np.uint8]:
    """The middle of an image, RGB."""
    pixels_hwc = read_rgb(path)
    height, width = pixels_hwc.shape[:2]
    if height < shape.height or width < shape.width:
        raise ImageError(
            f"{path} is {height}x{width}, allowed {shape.height}x{shape.width} and more; choose "
            "larger images"
        )
    top, left = (height - shape.height) // 2, (width - shape.width) // 2
    return pixels_hwc[top : top + shape.height, left : left + shape.width]
