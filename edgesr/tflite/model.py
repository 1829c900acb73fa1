"""A `.tflite` as plain typed values, for the audit and the GPU rules."""

import functools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesr.common.litert import litert_schema
from edgesr.tflite.schema import (
    TENSOR_TYPES,
    Table,
    buffer_bytes,
    builtin_code,
    parse_model,
    printable,
    read_model_bytes,
    tensor_name,
)

_DYNAMIC = -1
_CUSTOM = "CUSTOM"


@dataclass(frozen=True)
class TensorView:
    """A tensor of a file: name, shape, type, and a constant's bytes.

    Attributes:
        index: Its number in the file.
        name: Its name.
        shape: Its dimensions; -1 where one is not known.
        resizable: Whether its signature leaves a dimension other than the batch open. Then `shape`
            holds a stand-in, often 1.
        dtype: Type of its elements as `schema.fbs` has it, in lower case: `float32`.
        stated_shape: `shape`, with -1 for what the signature leaves open.
        bits: Bits per element; None for types of no fixed size.
        data: A constant's bytes, empty otherwise.
        variable: Whether it keeps its value from run to run.
        quantized: Whether it has scales.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    resizable: bool
    stated_shape: tuple[int, ...]
    dtype: str
    bits: int | None
    data: memoryview = field(repr=False, compare=False)
    variable: bool
    quantized: bool

    @property
    def constant(self) -> bool:
        """Whether its value is in the file."""
        return len(self.data) > 0

    @property
    def static(self) -> bool:
        """Whether all its dimensions are fixed."""
        return not self.resizable and _DYNAMIC not in self.shape

    @property
    def elements(self) -> int:
        """Number of elements; an unknown dimension counts as one."""
        return math.prod(1 if size == _DYNAMIC else size for size in self.shape)

    @property
    def bytes(self) -> int:
        """Size in memory; 0 for types of no fixed size."""
        return (self.elements * (self.bits or 0) + 7) // 8

    def integers(self) -> tuple[int, ...] | None:
        """A constant's values, flat, if it holds int32 or int64; otherwise None."""
        if not self.constant or self.dtype not in ("int32", "int64"):
            return None
        return tuple(int(n) for n in np.frombuffer(self.data, f"<i{(self.bits or 0) // 8}"))


@dataclass(frozen=True)
class OperatorView:
    """An operator's kind, options and tensors in a file.

    Attributes:
        index: Its place in the order of execution.
        name: Built-in name, e.g. `CONV_2D`, or a custom operator's own name.
        custom: Whether it is a custom operator.
        version: Version of the operator that the file requires.
        inputs: Its inputs; None for one that is left out.
        outputs: Its outputs.
        options: Its options by the names of `schema.fbs`, for the operators of image networks.
    """

    index: int
    name: str
    custom: bool
    version: int
    inputs: tuple[TensorView | None, ...]
    outputs: tuple[TensorView, ...]
    options: Mapping[str, float]

    @property
    def tensors(self) -> tuple[TensorView, ...]:
        """Inputs, then outputs."""
        return (*(t for t in self.inputs if t is not None), *self.outputs)

    @property
    def activation(self) -> str:
        """Name of the activation fused into it, `NONE` if there is none."""
        number = int(self.options.get("fused_activation_function", 0))
        return _names("ActivationFunctionType").get(number, str(number))


@dataclass(frozen=True)
class SignatureView:
    """Names for a graph's inputs and outputs: name -> tensor's name."""

    key: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True)
class ModelView:
    """The first graph of a `.tflite`, and its metadata.

    Attributes:
        description: The file's own description.
        operators: In the order of execution.
        tensors: By index.
        inputs: What the caller fills.
        outputs: What the caller reads.
        signatures: Named inputs and outputs.
        metadata: Entry name -> its bytes.
        graphs: Number of graphs; more than one where there is control flow.
        content: The file's bytes.
    """

    description: str
    operators: tuple[OperatorView, ...]
    tensors: tuple[TensorView, ...]
    inputs: tuple[TensorView, ...]
    outputs: tuple[TensorView, ...]
    signatures: tuple[SignatureView, ...]
    metadata: Mapping[str, bytes]
    graphs: int
    content: bytes = field(repr=False, compare=False)

    @property
    def constant_bytes(self) -> dict[str, int]:
        """Bytes of the constants of the first graph by type."""
        total: Counter[str] = Counter()
        for tensor in self.tensors:
            if tensor.constant:
                total[tensor.dtype] += len(tensor.data)
        return dict(total)


def read_model(path: Path) -> ModelView:
    """Read a `.tflite` without running it.

    Raises:
        ModelFileError: The file is missing, no `.tflite`, truncated or damaged.
    """
    return view(read_model_bytes(path), str(path))


def view(content: bytes, name: str = "the file") -> ModelView:
    """View the bytes of a `.tflite`.

    Args:
        content: The whole file.
        name: What to call it in an error.

    Raises:
        ModelFileError: It is no `.tflite`, truncated or damaged.
    """
    model = parse_model(content, name)
    graph = model["subgraphs"][0]
    tensors = tuple(
        _tensor(i, tensor, buffer_bytes(content, model["buffers"][tensor["buffer"]]))
        for i, tensor in enumerate(graph["tensors"])
    )
    return ModelView(
        description=printable(model["description"]),
        operators=tuple(
            _operator(i, operator, model["operator_codes"], tensors)
            for i, operator in enumerate(graph["operators"])
        ),
        tensors=tensors,
        inputs=_pick(graph["inputs"], tensors),
        outputs=_pick(graph["outputs"], tensors),
        signatures=tuple(_signature(s, model["subgraphs"]) for s in model["signature_defs"]),
        metadata={
            printable(entry["name"]): bytes(
                buffer_bytes(content, model["buffers"][entry["buffer"]])
            )
            for entry in model["metadata"]
        },
        graphs=len(model["subgraphs"]),
        content=content,
    )


def _tensor(index: int, tensor: Table, data: memoryview) -> TensorView:
    # A batch left open is no hindrance: delegates see the 1 that stands in for it.
    signature: tuple[int, ...] = tuple(tensor["shape_signature"].tolist())
    shape: tuple[int, ...] = tuple(tensor["shape"].tolist())
    return TensorView(
        index=index,
        name=tensor_name(tensor),
        shape=shape,
        resizable=any(side < 0 for side in signature[1:]),
        stated_shape=signature if len(signature) == len(shape) else shape,
        dtype=TENSOR_TYPES[tensor["type"]][0],
        bits=TENSOR_TYPES[tensor["type"]][1],
        data=data,
        variable=bool(tensor["is_variable"]),
        quantized=bool(len((tensor["quantization"] or {}).get("scale", ()))),
    )


def _operator(
    index: int, operator: Table, codes: list[Table], tensors: tuple[TensorView, ...]
) -> OperatorView:
    code = codes[operator["opcode_index"]]
    number = builtin_code(code)
    name = _names("BuiltinOperator").get(number, f"BUILTIN_{number}")
    custom = name == _CUSTOM
    return OperatorView(
        index=index,
        name=printable(code["custom_code"]) or _CUSTOM if custom else name,
        custom=custom,
        version=code["version"],
        inputs=tuple(tensors[i] if i >= 0 else None for i in operator["inputs"]),
        outputs=_pick(operator["outputs"], tensors),
        options=operator["builtin_options"] or {},
    )


def _pick(indices: NDArray[Any], tensors: tuple[TensorView, ...]) -> tuple[TensorView, ...]:
    return tuple(tensors[i] for i in indices)


def _signature(signature: Table, graphs: list[Table]) -> SignatureView:
    tensors = graphs[signature["subgraph_index"]]["tensors"]

    def named(entries: list[Table]) -> dict[str, str]:
        return {printable(e["name"]): tensor_name(tensors[e["tensor_index"]]) for e in entries}

    return SignatureView(
        key=printable(signature["signature_key"]),
        inputs=named(signature["inputs"]),
        outputs=named(signature["outputs"]),
    )


@functools.cache
def _names(enum: str) -> dict[int, str]:
    """Number -> name of an enumeration of the schema."""
    members = vars(getattr(litert_schema(), enum)).items()
    return {value: name for name, value in members if isinstance(value, int)}
