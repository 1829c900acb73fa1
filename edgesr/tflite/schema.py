"""The structure of a `.tflite`, read with every offset checked: damaged files stay harmless.

A `.tflite` is a FlatBuffer (https://flatbuffers.dev/internals/): tables that point to each other by
offsets. The generated readers trust these offsets; a flipped bit makes them read anywhere, or
allocate gigabytes. This module follows every offset itself, within the file and within a budget.

Fields are listed in the order of TensorFlow's `schema.fbs`, as `name:type`, where the type is a
`struct` code (optionally with its default), `str`, a table, or one of these in brackets for a
vector. Tables of operator options are listed by number, and only where something needs them.
"""

import functools
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np

from edgesr.common.inputs import read_regular
from edgesr.common.text import shorten
from edgesr.errors import ModelFileError

#: A table as field name -> value: numbers, bytes for strings, numpy arrays for vectors of numbers,
#: lists of tables for vectors of tables. An absent vector is empty, an absent string or table None.
Table = dict[str, Any]

IDENTIFIER = b"TFL3"

#: TensorType of `schema.fbs` -> its name in lower case, and bits per element (None: no fixed size).
TENSOR_TYPES: dict[int, tuple[str, int | None]] = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    5: ("string", None),
    6: ("bool", 8),
    7: ("int16", 16),
    8: ("complex64", 64),
    9: ("int8", 8),
    10: ("float64", 64),
    11: ("complex128", 128),
    12: ("uint64", 64),
    13: ("resource", None),
    14: ("variant", None),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
    18: ("bfloat16", 16),
    19: ("int2", 2),
    20: ("uint4", 4),
    21: ("float8_e4m3fn", 8),
    22: ("float8_e5m2", 8),
}

_SCHEMA = {
    "Model": "version:I operator_codes:[OperatorCode] subgraphs:[SubGraph] description:str "
    "buffers:[Buffer] metadata_buffer:[i] metadata:[Metadata] signature_defs:[SignatureDef]",
    "OperatorCode": "deprecated_builtin_code:b custom_code:str version:i=1 builtin_code:i",
    "SubGraph": "tensors:[Tensor] inputs:[i] outputs:[i] operators:[Operator] name:str",
    "Tensor": "shape:[i] type:b buffer:I name:str quantization:Quantization is_variable:B "
    "sparsity:Sparsity shape_signature:[i] has_rank:B",
    "Quantization": "min:[f] max:[f] scale:[f] zero_point:[q] details_type:B",
    "Sparsity": "traversal_order:[i] block_map:[i]",
    "Operator": "opcode_index:I inputs:[i] outputs:[i] builtin_options_type:B "
    "builtin_options:Options custom_options:[B] custom_options_format:b "
    "mutating_variable_inputs:[B] intermediates:[i] large_custom_options_offset:Q "
    "large_custom_options_size:Q builtin_options_2_type:B builtin_options_2:Options",
    "Options": "",  # of other operators: only the table's frame is checked
    "Buffer": "data:[B] offset:Q size:Q",
    "Metadata": "name:str buffer:I",
    "SignatureDef": "inputs:[TensorMap] outputs:[TensorMap] signature_key:str _:B subgraph_index:I",
    "TensorMap": "name:str tensor_index:I",
}

_ACTIVATION = "fused_activation_function:b"
_STRIDES = "padding:b stride_w:i stride_h:i"
_DILATION = "dilation_w_factor:i=1 dilation_h_factor:i=1"

# BuiltinOptions -> fields.
_OPTIONS = {
    1: f"{_STRIDES} {_ACTIVATION} {_DILATION}",  # Conv2DOptions
    2: f"{_STRIDES} depth_multiplier:i {_ACTIVATION} {_DILATION}",  # DepthwiseConv2DOptions
    5: f"{_STRIDES} filter_width:i filter_height:i {_ACTIVATION}",  # Pool2DOptions
    8: f"{_ACTIVATION} weights_format:b keep_num_dims:B",  # FullyConnectedOptions
    9: "beta:f",  # SoftmaxOptions
    10: f"axis:i {_ACTIVATION}",  # ConcatenationOptions
    11: _ACTIVATION,  # AddOptions
    15: "_:i _:i align_corners:B half_pixel_centers:B",  # ResizeBilinearOptions
    19: "block_size:i",  # SpaceToDepthOptions
    21: _ACTIVATION,  # MulOptions
    23: "axis:i batch_dims:i",  # GatherOptions
    27: "keep_dims:B",  # ReducerOptions
    28: _ACTIVATION,  # SubOptions
    29: _ACTIVATION,  # DivOptions
    32: "begin_mask:i end_mask:i ellipsis_mask:i new_axis_mask:i shrink_axis_mask:i",
    35: "num_splits:i",  # SplitOptions
    49: f"{_STRIDES} {_ACTIVATION}",  # TransposeConvOptions
    64: "num:i axis:i",  # UnpackOptions
    74: "align_corners:B half_pixel_centers:B",  # ResizeNearestNeighborOptions
    75: "alpha:f",  # LeakyReluOptions
    77: "mode:b",  # MirrorPadOptions
    79: "num_splits:i",  # SplitVOptions
    94: "block_size:i",  # DepthToSpaceOptions
}

# A file may point to one table a million times; no honest network of this kind comes near.
_BUDGET = 1_000_000
_TABLE_COST = 10
_TEXT_PER_COST = 16
_MAX_RANK = 8
# Characters of a name in a message.


class DamagedError(Exception):
    """Damage of a file, for a message that names the file."""


class _Field:
    """One field of a table."""

    def __init__(self, text: str) -> None:
        self.name, _, kind = text.partition(":")
        kind, _, default = kind.partition("=")
        self.vector = kind.startswith("[")
        self.kind = kind.strip("[]")
        self.width = struct.calcsize(self.kind) if len(self.kind) == 1 else 4
        self.inline = 4 if self.vector else self.width
        self.default: Any = [] if self.vector else None
        if len(self.kind) == 1:
            empty = np.empty(0, np.dtype(f"<{_NUMPY[self.kind]}"))
            self.default = empty if self.vector else int(default or 0)


_NUMPY = {"b": "i1", "B": "u1", "i": "i4", "I": "u4", "q": "i8", "Q": "u8", "f": "f4"}
_FIELDS: dict[str | int, list[_Field]] = {
    table: [_Field(text) for text in fields.split()]
    for table, fields in [*_SCHEMA.items(), *_OPTIONS.items()]
}


def parse_model(content: bytes | bytearray, name: str) -> Table:
    """Read the structure of a `.tflite` and check that its parts fit each other.

    Afterwards every offset lies in the file, every index in its list, every buffer in the file, and
    every constant has as many bytes as its shape and type say.

    Args:
        content: The whole file.
        name: What to call it in an error.

    Returns:
        The root table, `Model`, to be read only. Vectors of numbers are views of `content`, to be
        written where that is a bytearray.

    Raises:
        ModelFileError: The file is no `.tflite`, is truncated or damaged.
    """
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise ModelFileError(
            f"{name} is not a .tflite file (got {len(content)} bytes without the TFL3 identifier); "
            "make one with `edgesr convert`"
        )
    try:
        # What nobody can write is parsed once: opening a file asks five times.
        return _parse_once(content) if isinstance(content, bytes) else _parse(content)
    except DamagedError as error:
        raise ModelFileError(
            f"{name} is truncated or damaged: {error}; convert or copy it anew"
        ) from None


def _parse(content: bytes | bytearray) -> Table:
    parser = _Parser(content)
    model = parser.table(parser.offset(0), "Model")
    _check_references(model, content)
    return model


_parse_once = functools.lru_cache(maxsize=2)(_parse)


def buffer_bytes(content: bytes | bytearray, buffer: Table) -> memoryview:
    """The data of a `Buffer`, which lies in the flatbuffer or, in large files, behind it."""
    if buffer["offset"] > 1:  # 0 and 1 are placeholders
        return memoryview(content)[buffer["offset"] : buffer["offset"] + buffer["size"]]
    return memoryview(buffer["data"])


def builtin_code(code: Table) -> int:
    """The operator's number, which old files keep in a field of one byte."""
    return max(code["deprecated_builtin_code"], code["builtin_code"])


def _check_references(model: Table, content: bytes | bytearray) -> None:
    buffers, codes, graphs = model["buffers"], model["operator_codes"], model["subgraphs"]
    if not graphs:
        raise DamagedError("it holds no graph")
    for index, buffer in enumerate(buffers):
        if buffer["offset"] > 1 and buffer["offset"] + buffer["size"] > len(content):
            raise DamagedError(f"buffer {index} ends behind the file's {len(content)} bytes")
    for graph in graphs:
        count = len(graph["tensors"])
        for tensor in graph["tensors"]:
            _check_index("buffer", [tensor["buffer"]], len(buffers))
            _check_constant(tensor, buffer_bytes(content, buffers[tensor["buffer"]]))
        for operator in graph["operators"]:
            _check_index("operator code", [operator["opcode_index"]], len(codes))
            _check_index("tensor", operator["inputs"], count, lowest=-1)  # -1: left out
            _check_index("tensor", operator["outputs"], count)
        _check_index("tensor", [*graph["inputs"], *graph["outputs"]], count)
    _check_index("buffer", [entry["buffer"] for entry in model["metadata"]], len(buffers))
    for signature in model["signature_defs"]:
        _check_index("graph", [signature["subgraph_index"]], len(graphs))
        count = len(graphs[signature["subgraph_index"]]["tensors"])
        named = [*signature["inputs"], *signature["outputs"]]
        _check_index("tensor", [entry["tensor_index"] for entry in named], count)


def _check_index(what: str, indices: Iterable[int], count: int, *, lowest: int = 0) -> None:
    for index in indices:
        if not lowest <= index < count:
            raise DamagedError(f"it names {what} {index} of {count}")


def _check_constant(tensor: Table, data: memoryview) -> None:
    shape = [int(n) for n in tensor["shape"]]
    if min(shape, default=0) < -1 or len(shape) > _MAX_RANK:
        raise DamagedError(f"tensor {short_name(tensor)} has the shape {shape[:_MAX_RANK]}")
    if tensor["type"] not in TENSOR_TYPES:
        raise DamagedError(f"tensor {short_name(tensor)} is of the unknown type {tensor['type']}")
    expected = tensor_bytes(tensor)
    if len(data) and expected is not None and not tensor["sparsity"] and len(data) != expected:
        raise DamagedError(
            f"constant {short_name(tensor)} of shape {shape} has {len(data)} bytes, not {expected}"
        )


def tensor_bytes(tensor: Table) -> int | None:
    """The size of a tensor of static shape in bytes; None for one of no fixed size (strings)."""
    bits = TENSOR_TYPES[tensor["type"]][1]
    return None if bits is None else (math.prod(map(int, tensor["shape"])) * bits + 7) // 8


def tensor_name(tensor: Table) -> str:
    """The name on one line."""
    return printable(tensor["name"]) or "without a name"


def short_name(tensor: Table) -> str:
    """The name, cut to what a message can hold."""
    return shorten(tensor_name(tensor))


def printable(text: bytes | None) -> str:
    """A file's own text on one line: no control character reaches a terminal."""
    decoded = (text or b"").decode("utf-8", "replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in decoded)


class _Parser:
    """Reads tables from bytes that may be damaged."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = content
        self._left = _BUDGET

    def offset(self, at: int) -> int:
        """Follow the unsigned offset at `at`."""
        return at + self._number("I", at)

    def table(self, at: int, kind: str | int) -> Table:
        """The table at `at`, with everything it points to."""
        self._spend(_TABLE_COST)
        vtable = at - self._number("i", at)
        vtable_size, table_size = self._number("H", vtable), self._number("H", vtable + 2)
        if vtable_size < 4 or vtable_size % 2 or vtable % 2 or table_size < 4:
            raise DamagedError(f"no {kind} table at byte {at}")
        self._check_range(vtable, vtable_size)
        self._check_range(at, table_size)
        result: Table = {}
        for index, field in enumerate(_FIELDS[kind]):
            entry = 4 + 2 * index
            start = self._number("H", vtable + entry) if entry < vtable_size else 0
            if start and not 4 <= start <= table_size - field.inline:
                raise DamagedError(f"field {field.name} lies outside its table at byte {at}")
            result[field.name] = self._value(at + start, field, result) if start else field.default
        return result

    def _value(self, at: int, field: _Field, table: Table) -> Any:  # noqa: ANN401 - see Table
        if len(field.kind) == 1 and not field.vector:
            return self._number(field.kind, at)
        target = self.offset(at)
        if field.vector:
            return self._vector(target, field)
        if field.kind == "str":
            text = self._vector(target, _TEXT)
            self._spend(len(text) // _TEXT_PER_COST)
            return text.tobytes()
        if field.name == "builtin_options":
            known = table["builtin_options_type"]
            return self.table(target, known if known in _OPTIONS else "Options")
        return self.table(target, field.kind)

    def _vector(self, at: int, field: _Field) -> Any:  # noqa: ANN401 - see Table
        count = self._number("I", at)
        start = at + 4
        self._check_range(start, count * field.width)
        if len(field.kind) == 1:
            self._spend(count if field.kind == "i" else 1)
            return np.frombuffer(self._content, field.default.dtype, count, start)
        self._spend(count)
        return [self.table(self.offset(start + 4 * i), field.kind) for i in range(count)]

    def _number(self, code: str, at: int) -> int:
        self._check_range(at, struct.calcsize(code))
        return cast(int, struct.unpack_from("<" + code, self._content, at)[0])

    def _check_range(self, start: int, length: int) -> None:
        # A negative start would silently count from the end in Python.
        if start < 0 or start + length > len(self._content):
            raise DamagedError(f"it points to byte {start + length} of {len(self._content)}")

    def _spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise DamagedError("it points to its own parts again and again")


_TEXT = _Field("_:[B]")
_TFLITE_IDENTIFIER = b"TFL3"
_MAX_BYTES = 2**31


def read_model_bytes(path: Path) -> bytes:
    """Read a `.tflite`, checking no more than that it may be one.

    Raises:
        ModelFileError: The file is missing, unreadable, no regular file, larger than a flatbuffer
            can be, or lacks the TFLite identifier.
    """
    content = read_regular(path, ModelFileError, limit=_MAX_BYTES)
    if content[4:8] != _TFLITE_IDENTIFIER:
        raise ModelFileError(
            f"{path} is not a .tflite file (got {len(content)} bytes without the TFL3 identifier); "
            "make one with `edgesr convert`"
        )
    return content
