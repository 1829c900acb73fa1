"""Emulated benchmark_model: the lines it prints, in their order, and how it ends.

Wording and order are those of LiteRT's tflite/tools/benchmark; the numbers are made up.
"""

import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..faults import Fault
from ..storage import Storage
from . import flags as flag_words
from .delegates import Delegates
from .dialects import Dialect, Failed, Printer, Step
from .flags import DESCRIPTIONS
from .inference import InputError, InputFile, check_inputs, outputs
from .profile import profile
from .results import results
from .timing import Speed, count_line, measure, result_proto

#: Between warm-up and measurement: where most faults strike.
MID_RUN: Step = ("event", "mid-run")

#: What Fault.UNKNOWN_FLAG makes unknown: whatever is asked for, one of them is.
_FORGOTTEN = frozenset({"num_threads", "use_gpu", "min_secs"})
_DEATHS = {
    Fault.ABORT: signal.SIGABRT,
    Fault.SEGFAULT: signal.SIGSEGV,
    Fault.OUT_OF_MEMORY: signal.SIGKILL,
}


@dataclass(frozen=True)
class Behaviour:
    """How the device's benchmark_model behaves.

    Attributes:
        faults: Those of the device.
        dialect: Which build it is.
        speed: How fast the device is.
        unknown_flags: Flags that this build has not got.
        lists_flags: Whether --help lists them; LiteRT's tool always does.
    """

    faults: frozenset[Fault] = frozenset()
    dialect: Dialect = Dialect.NEW
    speed: Speed = field(default_factory=Speed)
    unknown_flags: frozenset[str] = frozenset()
    lists_flags: bool = False

    @property
    def known_flags(self) -> frozenset[str]:
        """The flags of this build."""
        forgotten = _FORGOTTEN if Fault.UNKNOWN_FLAG in self.faults else frozenset()
        every = flag_words.LITERT if self.dialect is Dialect.LITERT else flag_words.CLASSIC
        return every - self.unknown_flags - forgotten


class Benchmark:
    """One invocation.

    Args:
        words: The program and what followed it, with the host's paths.
        folder: Working folder, on the host.
        behaviour: How it goes.
        storage: The device's files.
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
        self._flags = flag_words.parse(words[1:], behaviour.known_flags)
        self._program = words[0]
        self._folder, self._behaviour, self._storage = folder, behaviour, storage
        self._slowdown, self._seed = slowdown, seed
        self._voice = Printer(behaviour.dialect)

    def steps(self) -> Iterator[Step]:
        """Everything it prints and does; ends with the exit status or a signal."""
        try:
            yield from self._run()
        except InputError as error:
            yield self._voice.error(str(error), "FATAL")
            yield "signal", signal.SIGABRT
        except Failed as failed:
            for line in failed.lines:
                yield self._voice.error(line)
            yield self._voice.error("Benchmarking failed.")
            yield "exit", 1

    def _run(self) -> Iterator[Step]:
        flags, printer = self._flags, self._voice
        yield printer.info("STARTING!")
        yield from self._complain()
        yield from self._repeat_flags()
        model = self._load()
        yield printer.info(f"Loaded model {self._shown(flags.text('graph'))}")
        files = self._input_files(model)
        cache = self._kernel_cache()
        cached = cache is not None and cache.is_file()
        faults = self._behaviour.faults
        on_gpu = yield from Delegates(flags, faults, printer, cached=cached).apply()
        if on_gpu and cache is not None and cache.parent.is_dir():
            cache.write_bytes(b"compiled kernels")
        init_ms = self._behaviour.speed.init_ms * (0.1 if cached or not on_gpu else 1.0)
        yield from self._measure(model, on_gpu, init_ms)
        if target := flags.text("output_filepath"):
            half = on_gpu and flags.on("gpu_precision_loss_allowed", True)
            half = half or flags.on("xnnpack_force_fp16")
            self._path(target).write_bytes(outputs(model, files, half=half))
        yield "exit", 0

    def _complain(self) -> Iterator[Step]:
        flags, behaviour = self._flags, self._behaviour
        for name, word in flags.unreadable:
            yield self._voice.error(f"Failed to parse flag '{name}' against argv '{word}'")
        if flags.unreadable or flags.wants_help:
            program = self._shown(self._program)
            tells = behaviour.lists_flags or behaviour.dialect is Dialect.LITERT
            known = behaviour.known_flags
            raise Failed(flag_words.usage(program, known if tells else frozenset()))
        if flags.unconsumed:
            unknown = " ".join(map(self._shown, flags.unconsumed))
            yield self._voice.info(f"Unconsumed cmdline flags: {unknown}", "WARN")

    def _repeat_flags(self) -> Iterator[Step]:
        printer, given = self._voice, self._flags.values
        yield printer.info(f"Log parameter values verbosely: [{int(self._flags.on('verbose'))}]")
        for name, words in DESCRIPTIONS.items():
            if name in given:
                value = {"true": "1", "false": "0"}.get(given[name], self._shown(given[name]))
                yield printer.info(f"{words}: [{value}]")
        if printer.has_percentiles:
            yield printer.info(f"Signature to run: [{self._flags.text('signature_to_run_for')}]")

    def _load(self) -> Path:
        graph = self._flags.text("graph")
        if not graph:
            raise Failed("Please specify the name of your TF Lite input file with --graph")
        model, shown = self._path(graph), self._shown(graph)
        if not model.is_file():
            raise Failed(f"Could not open '{shown}'.", f"Failed to load model {shown}")
        if model.read_bytes()[4:8] != b"TFL3":
            raise Failed(f"Failed to load model {shown}")
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

    def _kernel_cache(self) -> Path | None:
        """The file that keeps compiled kernels; the tool does not make its folder."""
        folder = self._flags.text("delegate_serialize_dir")
        token = self._flags.text("delegate_serialize_token")
        folder = folder or self._flags.text("gpu_serialization_dir")
        token = token or self._flags.text("gpu_model_cache_key")
        return self._path(folder) / f"gpu_{token}.bin" if folder and token else None

    def _measure(self, model: Path, on_gpu: bool, init_ms: float) -> Iterator[Step]:
        flags, printer, speed = self._flags, self._voice, self._behaviour.speed
        run_us = speed.run_us(flags, on_gpu=on_gpu) * self._slowdown
        timings = measure(flags, run_us, init_ms * 1000, speed.spread, self._seed)
        model_mb = model.stat().st_size / 1e6
        stop = "" if printer.dialect is Dialect.OLDEST else "."
        yield printer.info(f"The input model file size (MB): {model_mb:g}")
        yield printer.info(f"Initialized session in {timings.init_us / 1000:g}ms{stop}")
        yield self._announce("warmup_runs", 1, "warmup_min_secs", 0.5)
        yield printer.info(count_line(timings.warm_up, percentiles=printer.has_percentiles) + "\n")
        yield MID_RUN
        yield from self._end_before_the_result()
        yield self._announce("num_runs", 50, "min_secs", 1)
        yield printer.info(count_line(timings.runs, percentiles=printer.has_percentiles) + "\n")
        yield from results(timings, flags, printer)
        if flags.on("enable_op_profiling"):
            yield from profile(timings, flags, printer, on_gpu=on_gpu)
        if target := flags.text("result_file_path"):
            yield printer.info(f"Saving benchmark result to: {self._shown(target)}")
            self._path(target).write_bytes(result_proto(model.name, timings, model_mb))
            yield printer.info(f"Saved benchmark result to: {self._shown(target)}")

    def _end_before_the_result(self) -> Iterator[Step]:
        for fault, number in _DEATHS.items():
            if fault in self._behaviour.faults:
                yield "signal", number
        if Fault.NO_RESULT in self._behaviour.faults:
            yield "exit", 0

    def _announce(self, count: str, most: int, secs: str, least: float) -> Step:
        text = (
            f"Running benchmark for at least {self._flags.number(count, most):g} iterations and at "
            f"least {self._flags.number(secs, least):g} seconds"
        )
        if self._voice.dialect is not Dialect.OLDEST:
            longest = self._flags.number("max_secs", 150)
            text += f" but terminate if exceeding {longest:g} seconds."
        return self._voice.info(text)

    def _path(self, text: str) -> Path:
        return self._folder / text

    def _shown(self, text: str) -> str:
        return self._storage.to_device(text)
