import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_bench.benchmark_model.result_proto import ResultProto, decode_result
from android_bench.errors import LogError


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def fixed32(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


LATENCY = b"".join(fixed32(n, v) for n, v in enumerate((2.5, 2.0, 4.0, 0.5, 2.25, 2.125, 3.0), 1))
PARTS = [
    message(1, b"model"),
    message(2, LATENCY + fixed32(8, 870.5) + fixed32(9, 9.0) + fixed32(10, 3.5)),
    message(3, varint(1 << 3) + varint(1024) + varint(2 << 3) + varint(4096) + fixed32(3, 61.0)),
    message(4, fixed32(1, 7.5) + varint(2 << 3) + varint(300) + varint(3 << 3) + varint(4)),
]
RESULT = b"".join(PARTS)


def test_every_field_is_decoded() -> None:
    assert decode_result(RESULT) == ResultProto(
        mean_ms=2.5,
        min_ms=2.0,
        max_ms=4.0,
        std_ms=0.5,
        median_ms=2.25,
        p5_ms=2.125,
        p95_ms=3.0,
        init_ms=870.5,
        first_ms=9.0,
        warm_up_mean_ms=3.5,
        init_kb=1024.0,
        overall_kb=4096.0,
        peak_mb=61.0,
        model_mb=7.5,
        runs=300,
        warm_up_runs=4,
    )


def test_fields_that_are_left_out_are_none_and_unknown_ones_are_passed_over() -> None:
    more = message(9, b"\xff") + varint(11 << 3 | 1) + bytes(8)
    assert decode_result(message(2, fixed32(1, 2.5)) + more) == ResultProto(mean_ms=2.5)
    assert decode_result(b"") == ResultProto()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(RESULT[:-1], "truncated", id="last byte missing"),
        pytest.param(b"\x12\x7f", "truncated", id="length beyond the end"),
        pytest.param(b"\xff" * 11, "does not end", id="endless number"),
        pytest.param(b"\x13", "wire type 3", id="a group"),
        pytest.param(varint(2 << 3) + b"\x01", "field 2 is a number", id="number for a message"),
        pytest.param(message(2, fixed32(1, float("nan"))), "impossible", id="nan"),
        pytest.param(message(2, fixed32(2, -1.0)), "impossible", id="negative"),
        pytest.param(message(4, fixed32(2, 1.5)), "runs 1.5", id="half a run"),
    ],
)
def test_a_damaged_result_is_an_error(content: bytes, message: str) -> None:
    with pytest.raises(LogError, match=message):
        decode_result(content)


@given(st.binary(max_size=300))
def test_noise_is_an_error_or_decodes(noise: bytes) -> None:
    try:
        decode_result(noise)
    except LogError:
        return


def test_every_truncation_inside_a_part_is_an_error() -> None:
    whole_parts = {len(b"".join(PARTS[:count])) for count in range(len(PARTS))}
    for end in range(len(RESULT)):
        if end in whole_parts:
            decode_result(RESULT[:end])
        else:
            with pytest.raises(LogError):
                decode_result(RESULT[:end])
