"""benchmark_model's result as it writes it to `--result_file_path`, decoded by hand.

A protocol buffer (https://protobuf.dev/programming-guides/encoding/) of two dozen numbers needs no
library. Source of the fields: tensorflow/lite/tools/benchmark/proto/benchmark_result.proto.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from android_bench.errors import LogError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SCALAR = {_FIXED64: ("<d", 8), _FIXED32: ("<f", 4)}
_MOST_VARINT_BYTES = 10

_LATENCY = {
    1: "mean_ms",
    2: "min_ms",
    3: "max_ms",
    4: "std_ms",
    5: "median_ms",
    6: "p5_ms",
    7: "p95_ms",
    8: "init_ms",
    9: "first_ms",
    10: "warm_up_mean_ms",
}
_MEMORY = {1: "init_kb", 2: "overall_kb", 3: "peak_mb"}
_MISC = {1: "model_mb", 2: "runs", 3: "warm_up_runs"}
_PARTS = {2: _LATENCY, 3: _MEMORY, 4: _MISC}


@dataclass(frozen=True)
class ResultProto:
    """The numbers of a result; None where the tool left them out.

    Attributes:
        mean_ms: Mean latency of the runs that count.
        min_ms: The shortest.
        max_ms: The longest.
        std_ms: Their standard deviation.
        median_ms: Their median.
        p5_ms: Their 5th percentile.
        p95_ms: Their 95th percentile.
        init_ms: Initialisation.
        first_ms: First inference.
        warm_up_mean_ms: Mean of the warm-up.
        init_kb: Growth of memory by the initialisation.
        overall_kb: Growth of memory from start to end.
        peak_mb: Peak memory, sampled.
        model_mb: Size of the model file.
        runs: Runs that count.
        warm_up_runs: Runs before.
    """

    mean_ms: float | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    init_ms: float | None = None
    first_ms: float | None = None
    warm_up_mean_ms: float | None = None
    init_kb: float | None = None
    overall_kb: float | None = None
    peak_mb: float | None = None
    model_mb: float | None = None
    runs: int | None = None
    warm_up_runs: int | None = None


def decode_result(content: bytes) -> ResultProto:
    """Read the protobuf that benchmark_model wrote to its result file.

    Raises:
        LogError: It is truncated or no such message.
    """
    values: dict[str, float | int] = {}
    for number, value in _fields(content):
        names = _PARTS.get(number)
        if names is None:
            continue
        if not isinstance(value, bytes):
            raise LogError(f"benchmark_model's result file is damaged: field {number} is a number")
        for inner, scalar in _fields(value):
            if inner in names and not isinstance(scalar, bytes):
                values[names[inner]] = scalar
    if not all(math.isfinite(value) and value >= 0 for value in values.values()):
        raise LogError(f"benchmark_model's result file holds impossible numbers: {values}")
    for name in ("runs", "warm_up_runs"):
        if name in values and values[name] != int(values[name]):
            raise LogError(f"benchmark_model's result file has {name} {values[name]}")
    whole = {n: int(v) for n, v in values.items() if n in ("runs", "warm_up_runs")}
    rest = {n: float(v) for n, v in values.items() if n not in whole}
    return ResultProto(**rest, **whole)


def _fields(content: bytes) -> Iterator[tuple[int, float | int | bytes]]:
    """Field numbers and values of one message."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
        elif kind in _SCALAR:
            code, size = _SCALAR[kind]
            value, at = struct.unpack(code, _take(content, at, size))[0], at + size
        elif kind == _BYTES:
            size, at = _varint(content, at)
            value, at = _take(content, at, size), at + size
        else:
            raise LogError(f"benchmark_model's result file is damaged: wire type {kind}")
        yield number, value


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(_MOST_VARINT_BYTES):
        byte = _take(content, at + index, 1)[0]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise LogError("benchmark_model's result file is damaged: a number does not end")


def _take(content: bytes, at: int, size: int) -> bytes:
    if at + size > len(content):
        raise LogError(f"benchmark_model's result file is truncated at {len(content)} bytes")
    return content[at : at + size]
