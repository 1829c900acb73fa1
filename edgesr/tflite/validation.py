"""Validate the structure of a `.tflite` before native code reads it.

LiteRT verifies a file's offsets but believes much of what it reads: a graph without subgraphs, a
tensor that two operators write, or a DEQUANTIZE whose declared output is larger than its input end
in a segmentation fault, which no `except` catches. What is checked here was found by running
mutated files in child processes; tests/edgesr/test_tflite_check.py does so again.
"""

import os

import numpy as np

from edgesr.errors import ModelFileError
from edgesr.tflite.operators import CUSTOM, SIGNATURES
from edgesr.tflite.schema import (
    DamagedError,
    Table,
    buffer_bytes,
    builtin_code,
    parse_model,
    short_name,
    tensor_bytes,
)

# TensorType -> range of its values, for the quantised types.
_ZERO_POINTS = {3: (0, 255), 7: (-32768, 32767), 9: (-128, 127)}
_NONE = np.empty(0)


def check_structure(content: bytes, name: str = "the file") -> None:
    """Refuse a `.tflite` whose structure could crash the native runtime. Nothing is run.

    Args:
        content: The whole file.
        name: What to call it in an error.

    Raises:
        ModelFileError: The file is truncated or damaged, or a tensor does not fit this machine.
    """
    model = parse_model(content, name)
    try:
        for graph in model["subgraphs"]:
            for operator in graph["operators"]:
                _check_operator(operator, model)
            _check_flow(graph, _constants(graph, model, content))
            _check_sizes(graph)
    except DamagedError as error:
        raise ModelFileError(f"{name} cannot be run: {error}; convert or copy it anew") from None


def _check_operator(operator: Table, model: Table) -> None:
    """The operator is known, and has the inputs, outputs and options that its kernel expects."""
    code = builtin_code(model["operator_codes"][operator["opcode_index"]])
    if code == CUSTOM:
        return  # the runtime names it and refuses
    signature = SIGNATURES.get(code)
    if signature is None:
        raise DamagedError(
            f"it holds the operator {_operator_name(code)}, none of an image network"
        )
    inputs, outputs = operator["inputs"].tolist(), operator["outputs"].tolist()
    extra = len(inputs) - signature.inputs
    most = signature.optional
    if extra < 0 or (most is not None and extra > most) or -1 in inputs[: signature.inputs]:
        raise DamagedError(f"{signature.name} has the inputs {inputs}")
    if not outputs or len(outputs) != (signature.outputs or len(outputs)):
        raise DamagedError(f"{signature.name} has the outputs {outputs}")
    options = operator["builtin_options"]
    if signature.options and (
        operator["builtin_options_type"] != signature.options or options is None
    ):
        raise DamagedError(f"{signature.name} lacks its options")
    parts = (options or {}).get("num_splits", (options or {}).get("num", len(outputs)))
    if parts != len(outputs):
        raise DamagedError(f"{signature.name} in {parts} has {len(outputs)} outputs")


def _operator_name(code: int) -> str:
    try:
        from ai_edge_litert.schema_py_generated import BuiltinOperator
    except ImportError:  # the runtime is another one: it has no list of names
        return str(code)
    return next((name for name, value in vars(BuiltinOperator).items() if value == code), str(code))


def _constants(graph: Table, model: Table, content: bytes) -> set[int]:
    """Indices of the tensors whose values are in the file."""
    return {
        index
        for index, tensor in enumerate(graph["tensors"])
        if len(buffer_bytes(content, model["buffers"][tensor["buffer"]]))
    }


def _check_flow(graph: Table, constants: set[int]) -> None:
    """Every tensor that is read has been written before, once, and not over a constant."""
    tensors = graph["tensors"]
    inputs = {int(index) for index in graph["inputs"]}
    variables = {i for i, tensor in enumerate(tensors) if tensor["is_variable"]}
    known = constants | inputs | variables
    for operator in graph["operators"]:
        for index in map(int, operator["inputs"]):
            if index >= 0 and index not in known:
                raise DamagedError(f"tensor {short_name(tensors[index])} is read before it is made")
        for index in map(int, operator["outputs"]):
            if index in known:
                raise DamagedError(f"tensor {short_name(tensors[index])} is made twice")
            if 0 in tensors[index]["shape"]:  # kernels read behind its end, or divide by its sides
                raise DamagedError(f"tensor {short_name(tensors[index])} has no elements")
            known.add(index)
    for index in map(int, graph["outputs"]):
        if index not in known:
            raise DamagedError(f"output {short_name(tensors[index])} is never made")


def _check_quantization(tensor: Table) -> None:
    """Scales are usable numbers and zero points lie in the type's range: kernels index by them."""
    quantization = tensor["quantization"] or {}
    scale, zero = quantization.get("scale", _NONE), quantization.get("zero_point", _NONE)
    usable = np.isfinite(scale) & ((scale == 0) | (scale >= np.finfo(np.float32).tiny))
    lowest, highest = _ZERO_POINTS.get(
        tensor["type"], (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
    )
    if not usable.all() or ((zero < lowest) | (zero > highest)).any():
        raise DamagedError(f"tensor {short_name(tensor)} is quantised beyond its type")


def _check_sizes(graph: Table) -> None:
    """No tensor alone is larger than the machine's memory."""
    memory = _memory_bytes()
    for tensor in graph["tensors"]:
        if len(tensor["shape_signature"]) not in (0, len(tensor["shape"])):
            raise DamagedError(f"tensor {short_name(tensor)} has shapes of two ranks")
        _check_quantization(tensor)
        size = tensor_bytes(tensor) or 0
        if size > memory:
            raise DamagedError(
                f"tensor {short_name(tensor)} needs {size / 2**30:.0f} GiB of this machine's "
                f"{memory / 2**30:.0f}"
            )


def _memory_bytes() -> int:
    """Memory of this machine."""
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    import psutil  # what Windows has; it takes longer to import

    return psutil.virtual_memory().total
