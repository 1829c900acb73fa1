"""What benchmark_model says with --enable_op_profiling, as builds of 2021 to 2024 print it.

Source: xla/tsl/util/stats_calculator.cc, tensorflow/lite/profiling/profile_summary_formatter.cc.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .dialects import NODES, Dialect, Printer, Step
from .flags import Flags
from .timing import Timings, count_line

#: Type, name, calls in one run, share of the time.
_CPU = (
    ("CONV_2D", "[lr/c1]:0", 1, 0.5),
    ("CONV_2D", "[lr/c2]:1", 1, 0.2),
    ("LEAKY_RELU", "[lr/c2/act]:2", 1, 0.05),
    ("DEPTH_TO_SPACE", "[hr]:3", 1, 0.25),
)
#: XNNPACK gives operators of one shape one row.
_XNNPACK = (
    ("Convolution (NHWC, F32) IGEMM", "Delegate/Convolution (NHWC, F32) IGEMM:0", 13, 0.75),
    ("Depth To Space (NHWC, X32)", "Delegate/Depth To Space (NHWC, X32):1", 1, 0.25),
)


@dataclass(frozen=True)
class _Row:
    kind: str
    name: str
    calls: int
    first_us: float
    sum_us: float


def profile(timings: Timings, flags: Flags, printer: Printer, *, on_gpu: bool) -> Iterator[Step]:
    """Both parts: the initialisation, and the operators in the runs that count."""
    initial = [_Row("AllocateTensors", "AllocateTensors/0", 1, timings.init_us, timings.init_us)]
    yield printer.info("Profiling Info for Benchmark Initialization:")
    yield "stdout", _report(initial, [timings.init_us], printer) + "\n"
    yield printer.info("Operator-wise Profiling Info for Regular Benchmark Runs:")
    inside = ""
    if on_gpu:
        shares = [("TfLiteGpuDelegateV2", f"[hr]:{NODES}", 1, 1.0)]
    elif not flags.on("use_xnnpack"):
        shares = list(_CPU)
    elif printer.has_percentiles:
        shares = list(_XNNPACK)
    else:  # older builds report what is inside a delegate apart
        shares = [("TfLiteXNNPackDelegate", f"[hr]:{NODES}", 1, 1.0)]
        inside = (
            f"Delegate internal: \n{_report(_rows(_XNNPACK, timings.runs), timings.runs, printer)}"
        )
    yield "stdout", _report(_rows(shares, timings.runs), timings.runs, printer) + inside + "\n"


def _rows(shares: Sequence[tuple[str, str, int, float]], runs: Sequence[int]) -> list[_Row]:
    return [
        _Row(kind, name, calls, runs[0] * share / calls, sum(runs) * share)
        for kind, name, calls, share in shares
    ]


def _report(rows: Sequence[_Row], runs: Sequence[int], printer: Printer) -> str:
    by_time = sorted(rows, key=lambda row: -row.sum_us)[:10]
    return (
        _table("Run Order", rows, runs, printer)
        + _table("Top by Computation Time", by_time, runs, printer)
        + f"Number of nodes executed: {len(rows)}\n"
        + _by_type(rows, runs)
        + f"Timings (microseconds): {count_line(runs, percentiles=printer.has_percentiles)}\n"
        + f"Memory (bytes): count=0\n{len(rows)} nodes observed\n\n\n"
    )


def _title(text: str) -> str:
    return f"{'=' * 30} {text} {'=' * 30}\n"


def _table(title: str, rows: Sequence[_Row], runs: Sequence[int], printer: Printer) -> str:
    old = printer.dialect in (Dialect.OLD, Dialect.OLDEST)
    start = f"\t{'[start]':>17}" if old else ""
    text = _title(title) + (
        f"\t{'[node type]':>24}{start}\t{'[first]':>9}\t{'[avg ms]':>9}\t{'[%]':>8}\t{'[cdf%]':>8}"
        f"\t{'[mem KB]':>10}\t[times called]\t[Name]\n"
    )
    together = begun_us = 0.0
    for row in rows:
        percent = 100 * row.sum_us / sum(runs)
        together += percent
        start = f"\t{begun_us / 1000:>17.3f}" if old else ""
        mean_us = row.sum_us / len(runs) / row.calls
        begun_us += mean_us * row.calls
        text += (
            f"\t{row.kind:>24}{start}\t{row.first_us / 1000:>9.3f}\t{mean_us / 1000:>9.3f}"
            f"\t{percent:>7.3f}%\t{together:>7.3f}%\t{0:>10.3f}\t{row.calls:>9}\t{row.name}\n"
        )
    return text + "\n"


def _by_type(rows: Sequence[_Row], runs: Sequence[int]) -> str:
    text = _title("Summary by node type") + (
        f"\t{'[Node type]':>24}\t{'[count]':>9}\t{'[avg ms]':>9}\t{'[avg %]':>11}\t{'[cdf %]':>11}"
        f"\t{'[mem KB]':>10}\t[times called]\n"
    )
    together = 0.0
    for kind in dict.fromkeys(row.kind for row in rows):
        same = [row for row in rows if row.kind == kind]
        part_us = sum(row.sum_us for row in same) / len(runs)
        percent = 100 * part_us * len(runs) / sum(runs)
        together += percent
        text += (
            f"\t{kind:>24}\t{len(same):>9}\t{part_us / 1000:>9.3f}\t{percent:>10.3f}%"
            f"\t{together:>10.3f}%\t{0:>10.3f}\t{sum(row.calls for row in same):>9}\n"
        )
    return text + "\n"
