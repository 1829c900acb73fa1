"""What benchmark_model says at its end: times and memory, as each build puts them."""

from collections.abc import Iterator

from .dialects import Dialect, Printer, Step
from .flags import Flags
from .timing import Timings, deviation, mean


def results(timings: Timings, flags: Flags, printer: Printer) -> Iterator[Step]:
    """The lines after the measurement."""
    if printer.dialect is Dialect.LITERT:
        yield from _litert(timings, printer)
    elif printer.dialect is Dialect.OLDEST:
        yield printer.info(
            f"Average inference timings in us: Warmup: {mean(timings.warm_up):g}, "
            f"Init: {timings.init_us}, Inference: {mean(timings.runs):g}"
        )
        yield printer.info("Peak memory footprint (MB): init=0 overall=12.8672")
    else:
        yield from _classic(timings, flags, printer)


def _classic(timings: Timings, flags: Flags, printer: Printer) -> Iterator[Step]:
    yield printer.info(
        f"Inference timings in us: Init: {timings.init_us}, First inference: {timings.first_us}, "
        f"Warmup (avg): {mean(timings.warm_up):g}, Inference (avg): {mean(timings.runs):g}"
    )
    yield printer.info(
        "Note: as the benchmark tool itself affects memory footprint, the following is only "
        "APPROXIMATE to the actual memory footprint of the model at runtime. Take the "
        "information at your discretion."
    )
    yield printer.info(
        "Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227"
    )
    if flags.on("report_peak_memory_footprint"):
        yield printer.info("Overall peak memory footprint (MB) via periodic monitoring: 61.2")


def _litert(timings: Timings, printer: Printer) -> Iterator[Step]:
    def row(line: int, name: str, us: float, end: str = "") -> Step:
        return printer.result(line, f"{name + ':':<21} {us / 1000:.2f} ms{end}")

    runs = timings.runs or [0]
    yield printer.result(81, "\n========== BENCHMARK RESULTS ==========")
    yield row(82, "Model initialization", timings.init_us)
    yield row(84, "Warmup (first)", timings.first_us)
    yield row(86, "Warmup (avg)", mean(timings.warm_up), f" ({len(timings.warm_up)} runs)")
    yield row(88, "Inference (avg)", mean(timings.runs), f" ({len(timings.runs)} runs)")
    yield row(92, "Inference (min)", min(runs))
    yield row(94, "Inference (max)", max(runs))
    yield printer.result(96, f"{'Inference (std):':<21} {deviation(runs) / 1000:.2f}")
    yield printer.result(112, "\nMemory Usage:")
    yield printer.result(114, f"{'Init footprint:':<21} 8.94 MB")
    yield printer.result(116, f"{'Overall footprint:':<21} 11.51 MB")
    yield printer.result(123, "Peak memory usage not available.")
