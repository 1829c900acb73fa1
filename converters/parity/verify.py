"""Parity of a `.tflite` with the network it was made from, before folding."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class _Run:
    """A file loaded on one backend, with its measurements so far.

    Attributes:
        runners: The file by the size of its input, its own first; empty if the backend rejected it.
        rejected: Why it did.
        refusals: The same per operator, from the GPU accelerator.
        inputs: Names of the inputs that are run; None for all.
        not_comparable: Why a GPU's outputs cannot be compared with the CPU's; empty if they can.
        results: The measurements.
    """

    path: Path
    backend: Backend
    gate: Gate
    runners: Mapping[tuple[int, int], Runner]
    rejected: tuple[str, ...] = ()
    refusals: tuple[RefusedOperator, ...] = ()
    inputs: frozenset[str] | None = None
    not_comparable: tuple[str, ...] = ()
    results: list[InputParity] = field(default_factory=list[InputParity])

    def includes(self, image: InputImage) -> bool:
        """Whether this input is to be run."""
        return bool(self.runners) and (self.inputs is None or image.name in self.inputs)

    def record(self) -> BackendParity:
        device = _device(self.runners)
        return BackendParity(
            backend=self.backend.value,
            gate=str(self.gate),
            failures=self.rejected or tuple(self._failures()),
            psnr_db=pooled_psnr(self.results) if self.results else None,
            inputs=tuple(self.results),
            device=None
            if device is None
            else GpuDeviceRecord(
                adapter=device.adapter,
                api=device.api,
                software=device.software,
                precision=device.precision,
            ),
            refusals=self.refusals,
        )

    def _failures(self) -> list[str]:
        found = self.gate.failures(self.results)
        if self.backend.is_gpu and all(result.max_abs_to_cpu == 0.0 for result in self.results):
            found.append("every output equals the CPU's to the bit: it did not run on the GPU")
        return [*self.not_comparable, *found]


def _device(runners: Mapping[tuple[int, int], Runner]) -> GpuDevice | None:
    return next((runner.device for runner in runners.values()), None)


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
    with contextlib.ExitStack() as stack:
        pairs = [(path, p, backend) for path, p in files.items() for backend in backends[p]]
        quick = None if every_input else quick_inputs(inputs)
        sizes = list(dict.fromkeys(image.size for image in inputs))
        runs: list[_Run] = []
        for pair in pairs:
            progress("load", len(runs), len(pairs))
            runs.append(_open(*pair, sizes, threads, quick, stack))
        progress("load", len(runs), len(pairs))
        cpu_runners, rejected = _on_cpu(runs, sizes, threads)
        runs = [
            replace(run, not_comparable=rejected[run.path])
            if run.backend.is_gpu and run.path in rejected
            else run
            for run in runs
        ]
        for index, image in enumerate(inputs):
            progress("verify", index, len(inputs))
            if any(run.includes(image) for run in runs):
                _measure(runs, cpu_runners, image, reference)
        progress("verify", len(inputs), len(inputs))
        reports = [
            ParityReport(path.name, tuple(run.record() for run in runs if run.path == path))
            for path in files
        ]
    if any(report.failures for report in reports):
        raise ParityGateError(reports, reference_runtime.split(",")[0])
    return reports


def quick_inputs(inputs: Sequence[InputImage]) -> frozenset[str]:
    """Names of the inputs for a slow device: the first one and noise."""
    return frozenset({inputs[0].name} | {i.name for i in inputs if i.name == "noise"})


def _open(
    path: Path,
    precision: str,
    backend: Backend,
    sizes: Sequence[tuple[int, int]],
    threads: int | None,
    quick: frozenset[str] | None,
    stack: contextlib.ExitStack,
) -> _Run:
    """Load a file; record a rejection as a result, not an error."""
    gate = GATES[precision][backend]
    runners: dict[tuple[int, int], Runner] = {}
    try:
        for size in sizes:
            runners[size] = open_model(path, backend, threads=threads, size=size)
            stack.callback(runners[size].close)
    except GpuRefusalError as error:
        reasons = (str(error),)
        return _Run(path, backend, gate, {}, reasons, explain(path, error.refusals))
    except ModelFileError as error:
        return _Run(path, backend, gate, {}, (str(error),))
    device = _device(runners)
    slow = device is not None and device.software
    return _Run(path, backend, gate, runners, inputs=quick if slow else None)


def _on_cpu(
    runs: Sequence[_Run], sizes: Sequence[tuple[int, int]], threads: int | None
) -> tuple[dict[Path, Mapping[tuple[int, int], Runner]], dict[Path, tuple[str, ...]]]:
    """Load on the CPU every file that a GPU runs, for comparison.

    Returns:
        The runners, and the reasons for files that the CPU rejects.
    """
    loaded = {run.path: run.runners for run in runs if run.backend is Backend.CPU and run.runners}
    found: dict[Path, Mapping[tuple[int, int], Runner]] = {}
    rejected: dict[Path, tuple[str, ...]] = {}
    for path in {run.path for run in runs if run.backend.is_gpu and run.runners}:
        try:
            found[path] = loaded.get(path) or {
                size: open_model(path, threads=threads, size=size) for size in sizes
            }
        except ModelFileError as error:
            rejected[path] = (f"cannot be compared with the CPU: {error}",)
    return found, rejected


def _measure(
    runs: Sequence[_Run],
    cpu_runners: Mapping[Path, Mapping[tuple[int, int], Runner]],
    image: InputImage,
    reference: ReferenceNetwork,
) -> None:
    """Run one input on every file and backend that includes it."""
    fitting, wanted = reduce_contrast(image, reference)
    base = bicubic(fitting.lr_nhwc, wanted.shape[1], wanted.shape[2])
    on_cpu = {
        path: runners[image.size].run(fitting.lr_nhwc).copy()
        for path, runners in cpu_runners.items()
        if any(run.path == path and run.backend.is_gpu and run.includes(image) for run in runs)
    }
    rounding: Float32Array | None = None  # a run of the reference, which few inputs need
    for run in runs:
        if run.includes(image):
            got = run.runners[image.size].run(fitting.lr_nhwc)
            _check_shapes(run.path, got, wanted)
            cpu_output = on_cpu.get(run.path) if run.backend.is_gpu else None
            parity = compare(fitting, got, wanted, base, cpu_output)
            if not image.is_natural and run.gate.failure(parity) is not None:
                rounding = rounding_of(reference, fitting, wanted) if rounding is None else rounding
                parity = with_rounding(parity, rounding)
            run.results.append(parity)


def _check_shapes(path: Path, got: Float32Array, wanted: Float32Array) -> None:
    if got.shape != wanted.shape:
        raise ParityError(
            f"{path} has an output of {list(got.shape)}, the network {list(wanted.shape)}: it is "
            "another one, or of another scale; name the one that the file was made from"
        )
