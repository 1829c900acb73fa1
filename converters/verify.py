"""Parity: a `.tflite` against the network it was made from, before anything was rewritten."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.gpu_refusal import explain
from converters.manifest import (
    PYTORCH,
    BackendParity,
    DeviceRecord,
    InputParity,
    RefusalRecord,
)
from converters.parity import DEFAULT_BACKENDS, GATES, Gate, bicubic, compare, pooled_psnr
from converters.probes import Probe, Reference, within_range
from edgesr.errors import ModelFileError, ParityError
from edgesr.gpu import GpuRefusalError
from edgesr.progress import ProgressCallback, silent
from edgesr.runtime import Backend, Runner, open_model

if TYPE_CHECKING:
    from torch import nn

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class ParityReport:
    """Parity of one file on every backend it was run on."""

    file: str
    backends: tuple[BackendParity, ...]

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
        reports: Everything that was measured, the passed gates too.
    """

    def __init__(self, reports: Sequence[ParityReport], referee: str = "PyTorch") -> None:
        failures = [text for report in reports for text in report.failures]
        ran = any(b.failures and b.inputs for report in reports for b in report.backends)
        what, shown = (f"not equal to {referee}", 3) if ran else ("not taken", 1)
        more = f" (and {len(failures) - shown} more)" if len(failures) > shown else ""
        super().__init__(f"{what}: {'; '.join(failures[:shown])}{more}; the file must not be used")
        self.reports = tuple(reports)


@dataclass(frozen=True)
class _Run:
    """A file loaded on one backend, and what was measured on it so far.

    Attributes:
        runner: None if the backend does not take the file.
        refused: Why not.
        refusals: The same operator by operator, from the GPU accelerator.
        inputs: Names of the inputs it is run on; None for all.
        unproven: Why a GPU's results cannot be compared with the CPU's; empty if they can.
    """

    path: Path
    backend: Backend
    gate: Gate
    runner: Runner | None
    refused: tuple[str, ...] = ()
    refusals: tuple[RefusalRecord, ...] = ()
    inputs: frozenset[str] | None = None
    unproven: tuple[str, ...] = ()
    results: list[InputParity] = field(default_factory=list[InputParity])

    def takes(self, probe: Probe) -> bool:
        """Whether it is to run this input."""
        return self.runner is not None and (self.inputs is None or probe.name in self.inputs)

    def record(self) -> BackendParity:
        device = self.runner.device if self.runner else None
        return BackendParity(
            backend=self.backend.value,
            gate=str(self.gate),
            failures=self.refused or tuple(self._failures()),
            psnr_db=pooled_psnr(self.results) if self.results else None,
            inputs=tuple(self.results),
            device=None
            if device is None
            else DeviceRecord(
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
        return [*self.unproven, *found]


def torch_reference(net: "nn.Module", value_range: float) -> Reference:
    """The network as a function of NHWC pictures in [0, 1].

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
    reference: Reference,
    probes: Sequence[Probe],
    *,
    referee: str = PYTORCH,
    backends: Mapping[str, Sequence[Backend]] = DEFAULT_BACKENDS,
    every_input: bool = False,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> list[ParityReport]:
    """Run files on backends, and compare with the network, and a GPU with the CPU too.

    Args:
        files: Path -> precision of the stored weights, "fp16" or "fp32".
        reference: The network before folding.
        referee: Who computes the reference, and on what, divided by a comma.
        probes: The inputs, of the files' own size.
        backends: Precision of the stored weights -> what is to compute.
        every_input: Whether a software device runs every input too. By default it runs a
            photograph (or the test card) and noise, for it takes 60 times as long as the CPU.
        threads: CPU threads.
        progress: Told after every input.

    Returns:
        One report per file, all gates passed.

    Raises:
        ParityGateError: A gate failed, or a backend does not take a file.
        NoGpuError: A GPU is asked for and there is none.
        AcceleratorError: The GPU accelerator crashed, or ran out of memory or time.
    """
    with contextlib.ExitStack() as stack:
        quick = None if every_input else quick_inputs(probes)
        wanted = [(path, p, backend) for path, p in files.items() for backend in backends[p]]
        runs: list[_Run] = []
        for path, precision, backend in wanted:
            progress("load", len(runs), len(wanted))
            runs.append(_open(path, precision, backend, threads, quick, stack))
        progress("load", len(runs), len(wanted))
        references, unopened = _on_cpu(runs, threads)
        runs = [
            replace(run, unproven=unopened[run.path])
            if run.backend.is_gpu and run.path in unopened
            else run
            for run in runs
        ]
        for index, probe in enumerate(probes):
            progress("verify", index, len(probes))
            if any(run.takes(probe) for run in runs):
                _measure(runs, references, probe, reference)
        progress("verify", len(probes), len(probes))
        reports = [
            ParityReport(path.name, tuple(run.record() for run in runs if run.path == path))
            for path in files
        ]
    if any(report.failures for report in reports):
        raise ParityGateError(reports, referee.split(",")[0])
    return reports


def quick_inputs(probes: Sequence[Probe]) -> frozenset[str]:
    """What a slow device is run on: the first input, which is a picture, and noise."""
    return frozenset({probes[0].name} | {p.name for p in probes if p.name == "noise"})


def _open(
    path: Path,
    precision: str,
    backend: Backend,
    threads: int | None,
    quick: frozenset[str] | None,
    stack: contextlib.ExitStack,
) -> _Run:
    """Load a file; that a backend does not take it is a result, not an error."""
    gate = GATES[precision][backend]
    try:
        runner = open_model(path, backend, threads=threads)
    except GpuRefusalError as error:
        reasons = (str(error),)
        return _Run(path, backend, gate, None, reasons, explain(path, error.refusals))
    except ModelFileError as error:
        return _Run(path, backend, gate, None, (str(error),))
    stack.callback(runner.close)
    slow = runner.device is not None and runner.device.software
    return _Run(path, backend, gate, runner, inputs=quick if slow else None)


def _on_cpu(
    runs: Sequence[_Run], threads: int | None
) -> tuple[dict[Path, Runner], dict[Path, tuple[str, ...]]]:
    """For every file that a GPU runs: the same on the CPU, to be compared with.

    Returns:
        The runners, and for files that the GPU takes and the CPU does not, why.
    """
    loaded = {run.path: run.runner for run in runs if run.backend is Backend.CPU and run.runner}
    found: dict[Path, Runner] = {}
    unopened: dict[Path, tuple[str, ...]] = {}
    for path in {run.path for run in runs if run.backend.is_gpu and run.runner}:
        try:
            found[path] = loaded.get(path) or open_model(path, threads=threads)
        except ModelFileError as error:
            unopened[path] = (f"cannot be compared with the CPU: {error}",)
    return found, unopened


def _measure(
    runs: Sequence[_Run], references: Mapping[Path, Runner], probe: Probe, reference: Reference
) -> None:
    """Run one input everywhere."""
    fitting, wanted = within_range(probe, reference)
    base = bicubic(fitting.lr_nhwc, wanted.shape[1], wanted.shape[2])
    on_cpu = {
        path: runner.run(fitting.lr_nhwc).copy()
        for path, runner in references.items()
        if any(run.path == path and run.backend.is_gpu and run.takes(probe) for run in runs)
    }
    for run in runs:
        if run.runner is not None and run.takes(probe):
            got = run.runner.run(fitting.lr_nhwc)
            _check_shapes(run.path, got, wanted)
            beside = on_cpu.get(run.path) if run.backend.is_gpu else None
            run.results.append(compare(fitting, got, wanted, base, beside))


def _check_shapes(path: Path, got: Float32Array, wanted: Float32Array) -> None:
    if got.shape != wanted.shape:
        raise ParityError(
            f"{path} gives {list(got.shape)}, the network {list(wanted.shape)}: it is another "
            "one, or of another scale; name the one that the file was made from"
        )
