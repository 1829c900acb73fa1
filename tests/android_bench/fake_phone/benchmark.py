"""Plays benchmark_model: the lines it prints, in their order, and how it ends.

Wording and order are those of LiteRT's tflite/tools/benchmark; the numbers are made up.
"""

import enum
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import flags as flag_words
from .faults import Fault
from .flags import DESCRIPTIONS
from .inference import InputError, InputFile, check_inputs, outputs
from .storage import Storage
from .timing import Speed, Timings, count_line, mean, measure, result_proto

#: A step for the player: stdout or stderr with text, exit or signal with a number; or "event".
Step = tuple[str, str | int]
#: Between warm-up and measurement: where most faults strike.
MID_RUN: Step = ("event", "mid-run")

_NODES = 31
#: What Fault.UNKNOWN_FLAG makes unknown: whatever is asked for, one of them is.
_FORGOTTEN = frozenset({"num_threads", "use_gpu", "min_secs"})
_DEATHS = {
    Fault.ABORT: signal.SIGABRT,
    Fault.SEGFAULT: signal.SIGSEGV,
    Fault.OUT_OF_MEMORY: signal.SIGKILL,
}


class Dialect(enum.StrEnum):
    """Which build of the tool it is."""

    #: `INFO: ` before each line, and percentiles.
    NEW = enum.auto()
    #: The prefix, but no percentiles.
    NO_PERCENTILES = enum.auto()
    #: Until 2022: neither, and the tool's lines bare among the runtime's prefixed ones.
    OLD = enum.auto()
    #: Before that: "Average inference timings in us", no full stop after the initialisation.
    OLDEST = enum.auto()


@dataclass(frozen=True)
class Behaviour:
    """How the phone's benchmark_model behaves.

    Attributes:
        faults: Those of the phone.
        dialect: Which build it is.
        speed: How fast the phone is.
        unknown_flags: Flags that this build has not got.
    """

    faults: frozenset[Fault] = frozenset()
    dialect: Dialect = Dialect.NEW
    speed: Speed = field(default_factory=Speed)
    unknown_flags: frozenset[str] = frozenset()

    @property
    def known_flags(self) -> frozenset[str]:
        """The flags of this build."""
        forgotten = _FORGOTTEN if Fault.UNKNOWN_FLAG in self.faults else frozenset()
        return flag_words.KNOWN - self.unknown_flags - forgotten


class Benchmark:
    """One invocation.

    Args:
        words: What followed the program's name, with the host's paths.
        folder: Working folder, on the host.
        behaviour: How it goes.
        storage: The phone's files.
        slowdown: Times as long, for heat.
        seed: Draws the runs' times.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        behaviour: Behaviour,
        storage: Storage,
        slowdown: float,
        seed: int,
    ) -> None:
        self._flags = flag_words.parse(words, behaviour.known_flags)
        self._folder, self._behaviour, self._storage = folder, behaviour, storage
        self._slowdown, self._seed = slowdown, seed
        self._prefixed = behaviour.dialect in (Dialect.NEW, Dialect.NO_PERCENTILES)

    def steps(self) -> Iterator[Step]:
        """Everything it prints and does; ends with the exit status or a signal."""
        try:
            yield from self._run()
        except InputError as error:
            yield "stderr", f"FATAL: {error}\n" if self._prefixed else f"{error}\n"
            yield "signal", signal.SIGABRT
        except _Failed as failed:
            for line in failed.lines:
                yield self._error(line)
            yield self._error("Benchmarking failed.")
            yield "exit", 1

    def _info(self, text: str, kind: str = "INFO") -> Step:
        return "stdout", f"{kind}: {text}\n" if self._prefixed else f"{text}\n"

    def _error(self, text: str) -> Step:
        return "stderr", f"ERROR: {text}\n" if self._prefixed else f"{text}\n"

    def _runtime(self, text: str, kind: str = "INFO") -> Step:
        """A line of the runtime's own, which has its prefix in every build."""
        return "stderr", f"{kind}: {text}\n"

    def _path(self, text: str) -> Path:
        return self._folder / text

    def _shown(self, text: str) -> str:
        return self._storage.to_phone(text)

    def _run(self) -> Iterator[Step]:
        flags = self._flags
        yield self._info("STARTING!")
        if flags.unconsumed:
            unknown = " ".join(map(self._shown, flags.unconsumed))
            yield self._info(f"Unconsumed cmdline flags: {unknown}", "WARN")
        if flags.duplicates:
            yield self._info(f"Duplicate flags: {', '.join(flags.duplicates)}", "WARN")
        if flags.unreadable:
            name, word = flags.unreadable
            raise _Failed(f"Failed to parse flag '{name}' against argv '{word}'")
        if flags.on("help"):
            yield self._error("usage: benchmark_model <flags>")
            yield "exit", 1
            return
        yield from self._repeat_flags()
        model = self._load()
        yield self._info(f"Loaded model {self._shown(flags.text('graph'))}")
        files = self._input_files(model)
        on_gpu = yield from self._delegate()
        yield from self._measure(model, on_gpu)
        if flags.text("output_filepath"):
            half = on_gpu and flags.on("gpu_precision_loss_allowed", True)
            half = half or flags.on("xnnpack_force_fp16")
            self._path(flags.text("output_filepath")).write_bytes(outputs(model, files, half=half))
        yield "exit", 0

    def _repeat_flags(self) -> Iterator[Step]:
        yield self._info(f"Log parameter values verbosely: [{int(self._flags.on('verbose'))}]")
        for name, words in DESCRIPTIONS.items():
            if name in self._flags.values:
                value = self._shown(self._flags.values[name])
                value = {"true": "1", "false": "0"}.get(value, value)
                yield self._info(f"{words}: [{value}]")
        if self._behaviour.dialect is Dialect.NEW:
            yield self._info(f"Signature to run: [{self._flags.text('signature_to_run_for')}]")

    def _load(self) -> Path:
        graph = self._flags.text("graph")
        if not graph:
            raise _Failed("Please specify the name of your TF Lite input file with --graph")
        model, shown = self._path(graph), self._shown(graph)
        if not model.is_file():
            raise _Failed(f"Could not open '{shown}'.", f"Failed to load model {shown}")
        if model.read_bytes()[4:8] != b"TFL3":
            raise _Failed(f"Failed to load model {shown}")
        return model

    def _input_files(self, model: Path) -> list[InputFile]:
        pairs = self._flags.text("input_layer_value_files")
        if not pairs:
            return []
        files: list[InputFile] = []
        for pair in pairs.split(","):
            name, _, path = pair.replace("::", "\0").partition(":")
            files.append(InputFile(name.replace("\0", ":"), self._path(path), self._shown(path)))
        check_inputs(files, self._flags.text("input_layer").split(","), model)
        return files

    def _delegate(self) -> Iterator[Step]:
        """Returns whether the GPU computes."""
        flags, faults = self._flags, self._behaviour.faults
        yield self._runtime("Initialized TensorFlow Lite runtime.")
        on_gpu = False
        if flags.on("use_gpu"):
            on_gpu = yield from self._use_gpu()
        elif flags.on("use_nnapi"):
            yield self._info("NNAPI accelerators available: [fake-gpu,nnapi-reference]")
            yield from self._apply("NNAPI", "TfLiteNnapiDelegate", faults)
        elif flags.on("use_xnnpack"):
            yield self._runtime("Created TensorFlow Lite XNNPACK delegate for CPU.")
            yield from self._apply("XNNPACK", "TfLiteXNNPackDelegate", frozenset())
        if not on_gpu and "use_xnnpack" not in flags.values and not flags.on("use_nnapi"):
            yield self._runtime("Created TensorFlow Lite XNNPACK delegate for CPU.")
            yield self._replacing("TfLiteXNNPackDelegate", _NODES, 1)
        return on_gpu

    def _use_gpu(self) -> Iterator[Step]:
        yield self._runtime("Created TensorFlow Lite delegate for GPU.")
        faults, backend = self._behaviour.faults, self._flags.text("gpu_backend")
        name = {"": "OpenCL", "cl": "OpenCL", "gl": "OpenGL"}[backend]
        if Fault.NO_OPENCL in faults and name == "OpenCL":
            yield self._runtime(
                "Can not open OpenCL library on this device - dlopen failed: "
                'library "libOpenCL.so" not found',
                "ERROR",
            )
            if backend:
                raise _Failed(
                    "TfLiteGpuDelegate Prepare: delegate is not initialized",
                    f"Node number {_NODES} (TfLiteGpuDelegateV2) failed to prepare.",
                    "Restored original execution plan after delegate application failure.",
                    "Failed to apply GPU delegate.",
                )
            yield self._runtime("Falling back to OpenGL", "ERROR")
            name = "OpenGL"
        return (yield from self._apply("GPU", "TfLiteGpuDelegateV2", faults, api=name))

    def _apply(
        self, provider: str, delegate: str, faults: frozenset[Fault], api: str = ""
    ) -> Iterator[Step]:
        """Returns whether the delegate runs anything."""
        taken, partitions = _NODES, 1
        yield self._info(f"{provider} delegate created.")
        if Fault.SILENT_FALLBACK in faults:
            taken = 0
        elif Fault.PARTIAL_DELEGATION in faults:
            taken, partitions = _NODES - 2, 3
        if taken < _NODES:
            yield self._runtime(
                f"Following operations are not supported by {provider} delegate:\n"
                "SPLIT: Operation is not supported.\n"
                + (f"{taken} operations will run on the GPU, and the remaining {_NODES - taken} "
                   "operations will run on the CPU." if taken else
                   f"No operations will run on the GPU, and all {_NODES} operations will run on "
                   "the CPU."),
                "ERROR",
            )  # fmt: skip
        if taken:
            yield self._replacing(delegate, taken, partitions)
        kernels = 1 if taken == _NODES else 2
        if api and taken:
            yield self._runtime(f"Initialized {api}-based API.")
            yield self._runtime(f"Created {kernels} GPU delegate kernels.")
        if taken < _NODES and self._flags.on("require_full_delegation"):
            raise _Failed("Disallowed CPU fallback detected.")
        yield self._info(_applied(provider, taken, kernels))
        return bool(taken)

    def _replacing(self, delegate: str, taken: int, partitions: int) -> Step:
        text = (
            f"Replacing {taken} out of {_NODES} node(s) with delegate ({delegate}) node, yielding "
            f"{partitions} partitions"
        )
        new = self._behaviour.dialect is Dialect.NEW
        return self._runtime(text + (" for subgraph 0 (main)." if new else "."), "VERBOSE")

    def _measure(self, model: Path, on_gpu: bool) -> Iterator[Step]:
        flags, behaviour = self._flags, self._behaviour
        speed = behaviour.speed
        run_us = speed.run_us(flags, on_gpu=on_gpu) * self._slowdown
        init_us = speed.init_ms * (1000 if on_gpu else 100)
        timings = measure(flags, run_us, init_us, speed.spread, self._seed)
        percentiles = behaviour.dialect is Dialect.NEW
        model_mb = model.stat().st_size / 1e6
        stop = "" if behaviour.dialect is Dialect.OLDEST else "."
        yield self._info(f"The input model file size (MB): {model_mb:g}")
        yield self._info(f"Initialized session in {timings.init_us / 1000:g}ms{stop}")
        yield self._announce("warmup_runs", 1, "warmup_min_secs", 0.5)
        yield self._info(count_line(timings.warm_up, percentiles=percentiles) + "\n")
        yield MID_RUN
        for fault, number in _DEATHS.items():
            if fault in behaviour.faults:
                yield "signal", number
        if Fault.NO_RESULT in behaviour.faults:
            yield "exit", 0
        yield self._announce("num_runs", 50, "min_secs", 1)
        yield self._info(count_line(timings.runs, percentiles=percentiles) + "\n")
        yield from self._results(timings)
        yield from self._save(model, timings, model_mb)

    def _announce(self, count: str, most: int, secs: str, least: float) -> Step:
        text = (
            f"Running benchmark for at least {self._flags.number(count, most):g} iterations and at "
            f"least {self._flags.number(secs, least):g} seconds"
        )
        if self._behaviour.dialect is not Dialect.OLDEST:
            longest = self._flags.number("max_secs", 150)
            text += f" but terminate if exceeding {longest:g} seconds."
        return self._info(text)

    def _results(self, timings: Timings) -> Iterator[Step]:
        warm_up, runs = mean(timings.warm_up), mean(timings.runs)
        if self._behaviour.dialect is Dialect.OLDEST:
            yield self._info(
                f"Average inference timings in us: Warmup: {warm_up:g}, Init: {timings.init_us}, "
                f"Inference: {runs:g}"
            )
            yield self._info("Peak memory footprint (MB): init=0 overall=12.8672")
            return
        first = (timings.warm_up or timings.runs or [0])[0]
        yield self._info(
            f"Inference timings in us: Init: {timings.init_us}, First inference: {first}, "
            f"Warmup (avg): {warm_up:g}, Inference (avg): {runs:g}"
        )
        yield self._info(
            "Note: as the benchmark tool itself affects memory footprint, the following is only "
            "APPROXIMATE to the actual memory footprint of the model at runtime. Take the "
            "information at your discretion."
        )
        yield self._info(
            "Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227"
        )
        if self._flags.on("report_peak_memory_footprint"):
            yield self._info("Overall peak memory footprint (MB) via periodic monitoring: 61.2")

    def _save(self, model: Path, timings: Timings, model_mb: float) -> Iterator[Step]:
        wanted = self._flags.text("result_file_path")
        if wanted:
            yield self._info(f"Saving benchmark result to: {self._shown(wanted)}")
            self._path(wanted).write_bytes(result_proto(model.name, timings, model_mb))
            yield self._info(f"Saved benchmark result to: {self._shown(wanted)}")


class _Failed(Exception):  # noqa: N818 - the tool's own ending
    """The tool gives up, with these lines before "Benchmarking failed."."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


def _applied(provider: str, taken: int, kernels: int) -> str:
    if not taken:
        return (
            f"Though {provider} delegate is explicitly applied, the model graph will not be "
            "executed by the delegate."
        )
    how = (
        "completely executed by the delegate."
        if taken == _NODES
        else f"partially executed by the delegate w/ {kernels} delegate kernels."
    )
    return f"Explicitly applied {provider} delegate, and the model graph will be {how}"
