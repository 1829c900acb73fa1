"""Parity of a `.tflite` with the network it was made from, before folding."""

import contextlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.gpu.refusal import explain
from converters.manifest import (
    PYTORCH,
    BackendParity,
    GpuDeviceRecord,
    InputParity,
    RefusedOperator,
)
from converters.parity.gates import (
    DEFAULT_BACKENDS,
    GATES,
    Gate,
    bicubic,
    compare,
    pooled_psnr,
    with_rounding,
)
from converters.parity.test_inputs import (
    InputImage,
    ReferenceNetwork,
    reduce_contrast,
    rounding_of,
)
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import ModelFileError, ParityError
from edgesr.runtime.gpu import GpuDevice, GpuRefusalError
from edgesr.runtime.session import Backend, Runner, open_model

if TYPE_CHECKING:
    from torch import nn

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class ParityReport:
    """Parity of one file on each of its backends.

    Attributes:
        file: Its name.
        backends: What was measured on each.
        not_run: Why a backend that was wanted was left out; empty if none was.
    """

    file: str
    backends: tuple[BackendParity, ...]
    not_run: str = ""

    @property
    def failures(self) -> list[str]:
        """Every gate that failed, input by input; empty when all passed."""
        return [
            f"{self.file} on {parity.backend}, {reason}"
            for parity in self.backends
            for reason in parity.failures
        ]


class ParityGateError(ParityError):
    """A file failed its gate.

    Attributes:
        reports: All measurements, those of passed gates too.
    """

    def __init__(self, reports: Sequence[ParityReport], reference_runtime: str = "PyTorch") -> None:
        failures = [text for report in reports for text in report.failures]
        ran = any(b.failures and b.inputs for report in reports for b in report.backends)
        what, shown = (f"not equal to {reference_runtime}", 3) if ran else ("rejected", 1)
        more = f" (and {len(failures) - shown} more)" if len(failures) > shown else ""
        super().__init__(f"{what}: {'; '.join(failures[:shown])}{more}; the file must not be used")
        self.reports = tuple(reports)


class _Outputs:
    """The network's outputs for all inputs, each computed when it is asked for first.

    A synthetic input's contrast is reduced as far as the network requires.
    """

    def __init__(self, network: ReferenceNetwork) -> None:
        self._network = network
        self._known: dict[str, tuple[InputImage, Float32Array]] = {}
        self._rounding: dict[str, Float32Array] = {}

    def of(self, image: InputImage) -> tuple[InputImage, Float32Array]:
        """The input, and the network's output for it."""
        if image.name not in self._known:
            self._known[image.name] = reduce_contrast(image, self._network)
        return self._known[image.name]

    def rounding(self, image: InputImage) -> Float32Array:
        """How much rounding in FP32 changes the output; a run that few inputs need."""
        if image.name not in self._rounding:
            self._rounding[image.name] = rounding_of(self._network, *self.of(image))
        return self._rounding[image.name]


class _OpenFile:
    """A file loaded on one backend, at the size of every input that it is run on.

    A context manager: leaving releases the runners.
    """

    def __init__(
        self, path: Path, backend: Backend, sizes: Sequence[tuple[int, int]], threads: int | None
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._runners: dict[tuple[int, int], Runner] = {}
        with self._stack:  # what is open already, if another size is refused
            for size in sizes:
                runner = open_model(path, backend, threads=threads, size=size)
                self._stack.callback(runner.close)
                self._runners[size] = runner
            self._stack = self._stack.pop_all()
        self.device = next((runner.device for runner in self._runners.values()), None)

    def __enter__(self) -> "_OpenFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Run one input; the output holds until the next."""
        return self._runners[lr_nhwc.shape[1], lr_nhwc.shape[2]].run(lr_nhwc)


@dataclass(frozen=True)
class _Case:
    """A file on one backend, and what it is to be compared with."""

    path: Path
    backend: Backend
    gate: Gate
    inputs: Sequence[InputImage]
    outputs: _Outputs
    quick: frozenset[str] | None
    threads: int | None

    @property
    def sizes(self) -> list[tuple[int, int]]:
        return list(dict.fromkeys(image.size for image in self.inputs))

    def measure(self, progress: Callable[[], None]) -> BackendParity:
        """Run every input; a rejection is a result, not an error."""
        with contextlib.ExitStack() as stack:
            try:
                runners = _OpenFile(self.path, self.backend, self.sizes, self.threads)
            except GpuRefusalError as error:
                return self._rejected(str(error), explain(self.path, error.refusals))
            except ModelFileError as error:
                return self._rejected(str(error))
            stack.enter_context(runners)
            cpu, apart = None, list[str]()
            if self.backend.is_gpu:
                try:
                    cpu = _OpenFile(self.path, Backend.CPU, self.sizes, self.threads)
                    stack.enter_context(cpu)
                except ModelFileError as error:
                    apart = [f"cannot be compared with the CPU: {error}"]
            results: list[InputParity] = []
            slow = runners.device is not None and runners.device.software
            for image in self.inputs:
                if not slow or self.quick is None or image.name in self.quick:
                    results.append(self._compared(image, runners, cpu))
                progress()
        failures = [*apart, *self.gate.failures(results)]
        if self.backend.is_gpu and all(result.max_abs_to_cpu == 0.0 for result in results):
            failures.append("every output equals the CPU's to the bit: it did not run on the GPU")
        return BackendParity(
            backend=self.backend.value,
            gate=str(self.gate),
            failures=tuple(failures),
            psnr_db=pooled_psnr(results),
            inputs=tuple(results),
            device=_device_record(runners.device),
        )

    def _rejected(self, why: str, refusals: tuple[RefusedOperator, ...] = ()) -> BackendParity:
        return BackendParity(
            backend=self.backend.value,
            gate=str(self.gate),
            failures=(why,),
            psnr_db=None,
            inputs=(),
            refusals=refusals,
        )

    def _compared(
        self, image: InputImage, runners: _OpenFile, cpu: _OpenFile | None
    ) -> InputParity:
        fitting, wanted = self.outputs.of(image)
        base = bicubic(fitting.lr_nhwc, wanted.shape[1], wanted.shape[2])
        got = runners.run(fitting.lr_nhwc)
        _check_shapes(self.path, got, wanted)
        on_cpu = None if cpu is None else cpu.run(fitting.lr_nhwc)
        parity = compare(fitting, got, wanted, base, on_cpu)
        if image.is_natural or self.gate.failure(parity) is None:
            return parity
        return with_rounding(parity, self.outputs.rounding(image))


def _device_record(device: GpuDevice | None) -> GpuDeviceRecord | None:
    if device is None:
        return None
    return GpuDeviceRecord(
        adapter=device.adapter,
        api=device.api,
        software=device.software,
        precision=device.precision,
    )


def torch_reference(net: "nn.Module", value_range: float) -> ReferenceNetwork:
    """Wrap a network as a function of NHWC images in [0, 1].

    Args:
        net: A network in eval mode, training or plain form, NCHW in [0, value_range].
        value_range: Upper end of the network's own range.
    """
    import torch

    def run(lr_nhwc: Float32Array) -> Float32Array:
        with torch.inference_mode():
            lr_nchw = torch.from_numpy(np.ascontiguousarray(lr_nhwc.transpose(0, 3, 1, 2)))
            hr_nchw = net(lr_nchw * value_range) / value_range
        return hr_nchw.numpy().transpose(0, 2, 3, 1)

    return run


def verify(
    files: Mapping[Path, str],
    reference: ReferenceNetwork,
    inputs: Sequence[InputImage],
    *,
    reference_runtime: str = PYTORCH,
    backends: Mapping[str, Sequence[Backend]] = DEFAULT_BACKENDS,
    every_input: bool = False,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[ParityReport]:
    """Run files on backends and compare their outputs with the network's.

    A GPU's outputs are compared with the CPU's too.

    Args:
        files: Path -> precision of the stored weights, "fp16" or "fp32".
        reference: The network before folding.
        inputs: The inputs. Where the size of one is not the files' own, they are opened at that
            size too: the same operators and weights.
        reference_runtime: Name of the reference runtime; after a comma, what it runs.
        backends: Precision of the stored weights -> backends.
        every_input: Whether a software device runs every input too. By default it runs a
            photograph (or the test card) and noise, as it is 60 times slower than the CPU.
        threads: CPU threads.
        progress: Called for every file and every input.

    Returns:
        One report per file, all gates passed.

    Raises:
        ParityGateError: A gate failed, or a backend rejected a file.
        NoGpuError: A GPU is required and there is none.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
    """
    outputs, quick = _Outputs(reference), None if every_input else quick_inputs(inputs)
    cases = [
        _Case(path, backend, GATES[precision][backend], inputs, outputs, quick, threads)
        for path, precision in files.items()
        for backend in backends[precision]
    ]
    # Before a file is open, as either takes memory; a GPU alone may not run every input.
    first = [] if all(case.backend.is_gpu for case in cases) else inputs
    steps, all_steps = itertools.count(1), len(first) + len(cases) * len(inputs)

    def step() -> None:
        progress("verify", next(steps), all_steps)

    for image in first:
        outputs.of(image)
        step()
    measured = [(case.path, case.measure(step)) for case in cases]
    reports = [
        ParityReport(path.name, tuple(parity for of, parity in measured if of == path))
        for path in files
    ]
    if any(report.failures for report in reports):
        raise ParityGateError(reports, reference_runtime.split(",")[0])
    return reports


def quick_inputs(inputs: Sequence[InputImage]) -> frozenset[str]:
    """Names of the inputs for a slow device: the first one and noise."""
    return frozenset({inputs[0].name} | {i.name for i in inputs if i.name == "noise"})


def _check_shapes(path: Path, got: Float32Array, wanted: Float32Array) -> None:
    if got.shape != wanted.shape:
        raise ParityError(
            f"{path} has an output of {list(got.shape)}, the network {list(wanted.shape)}: it is "
            "another one, or of another scale; name the one that the file was made from"
        )
