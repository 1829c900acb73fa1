"""Check a `.tflite` against the rules of converters/gpu/rules.py."""

from collections.abc import Callable, Iterator
from itertools import chain

from converters.gpu.rules import Violation, violation
from edgesr.tflite.model import ModelView, OperatorView, TensorView

# Operator -> newest version that the GPU delegate's parsers accept; 0: they do not check it.
_UNARY = "ABS COS ELU EXP FLOOR GELU HARD_SWISH LOG LOGISTIC NEG RSQRT SIGN SIN SQRT SQUARE TANH"
_BINARY = "ADD DIV FLOOR_DIV FLOOR_MOD MAXIMUM MINIMUM MUL POW SQUARED_DIFFERENCE SUB"
_LOGICAL = "EQUAL GREATER GREATER_EQUAL LESS LESS_EQUAL NOT_EQUAL"
_VERSIONS: dict[str, int] = {
    **dict.fromkeys([*_UNARY.split(), *_BINARY.split(), *_LOGICAL.split()], 2),
    **dict.fromkeys(["ADD_N", "LOGICAL_AND", "RELU", "RELU6", "RELU_N1_TO_1", "LEAKY_RELU"], 2),
    **dict.fromkeys(
        ["AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "PADV2", "MIRROR_PAD", "CONCATENATION"], 2
    ),
    **dict.fromkeys(["SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "QUANTIZE"], 2),
    **dict.fromkeys(["CUMSUM", "GATHER", "ONE_HOT", "PRELU", "RESHAPE", "SELECT", "SELECT_V2"], 1),
    **dict.fromkeys(
        [
            "BATCH_MATMUL",
            "CAST",
            "DEPTH_TO_SPACE",
            "MEAN",
            "PACK",
            "SPLIT",
            "SPLIT_V",
            "SUM",
            "TILE",
        ],
        0,
    ),
    **dict.fromkeys(["REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "UNPACK"], 0),
    **dict.fromkeys(["DEQUANTIZE", "MUL", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"], 3),
    **dict.fromkeys(["STRIDED_SLICE", "TRANSPOSE", "LSTM"], 4),
    **dict.fromkeys(["CONV_2D", "DEPTHWISE_CONV_2D"], 6),
    "FULLY_CONNECTED": 9,
    "HARD_SWISH": 0,
    "TRANSPOSE_CONV": 3,
}

_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH")
_FLOATS = ("float32", "float16")
_QUANTIZED = ("int8", "uint8")
_MAX_RANK = 4

# Operator -> other types that are allowed for its inputs, and for its outputs.
_OTHER_INPUTS = {
    **dict.fromkeys(("CAST", "SELECT", "SELECT_V2", "LOGICAL_AND"), ("bool", "int32")),
    **dict.fromkeys(("GATHER", "ONE_HOT"), ("int32",)),
}
_OTHER_OUTPUTS = {
    **dict.fromkeys([*_LOGICAL.split(), "LOGICAL_AND"], ("bool",)),
    "CAST": ("bool", "int32"),
}

# Operator -> positions of its parameters among the inputs; the second list holds integers.
_REDUCTIONS = ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "CUMSUM")
_PARAMETERS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), ((2,), ())),
    **dict.fromkeys(("RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TILE"), ((1,), ())),
    **dict.fromkeys(("PAD", "MIRROR_PAD", "TRANSPOSE", *_REDUCTIONS), ((), (1,))),
    "PADV2": ((2,), (1,)),
    "PRELU": ((1,), ()),
    "SLICE": ((), (1, 2)),
    "STRIDED_SLICE": ((), (1, 2, 3)),
    "SPLIT": ((), (0,)),
    "SPLIT_V": ((1,), (2,)),
    "TRANSPOSE_CONV": ((0, 3), ()),
}

# Id of the rule, tensor at fault, what was found.
_Finding = tuple[str, TensorView | None, str]


def check_gpu(model: ModelView) -> tuple[Violation, ...]:
    """Every rule violation of a file, in the order of execution."""
    weights = dequantized_constants(model)
    return tuple(
        violation(rule, operator, tensor, found)
        for operator in model.operators
        for rule, tensor, found in _findings(operator, weights)
    )


def dequantized_constants(model: ModelView) -> frozenset[int]:
    """Indices of tensors that are a DEQUANTIZE of a constant.

    Every engine handles them as weights.
    """
    return frozenset(
        operator.outputs[0].index
        for operator in model.operators
        if operator.name == "DEQUANTIZE"
        and operator.outputs
        and all(tensor is not None and tensor.constant for tensor in operator.inputs)
    )


def _findings(operator: OperatorView, weights: frozenset[int]) -> Iterator[_Finding]:
    """The violations of one operator; `weights` are tensors that count as constants."""
    if operator.custom:
        rule = "gpu-flex" if operator.name.startswith("Flex") else "gpu-custom"
        yield rule, _first(operator.outputs), f"the custom operator {operator.name}"
        return
    if operator.name == "RELU_0_TO_1":
        yield "gpu-relu-0-to-1", _first(operator.outputs), operator.name
        return
    if operator.name not in _VERSIONS:
        yield "gpu-operator", _first(operator.outputs), operator.name
        return
    newest = _VERSIONS[operator.name]
    if newest and operator.version > newest:
        yield "gpu-version", None, f"version {operator.version} (the newest known is {newest})"
    runtime = [t for t in operator.tensors if not t.constant and t.index not in weights]
    yield from chain(
        _check_shapes(operator, runtime),
        _check_types(operator, weights),
        _check_activation(operator),
        _check_parameters(operator, weights),
    )
    if operator.name in _SPECIAL:
        yield from _SPECIAL[operator.name](operator, weights)


def _first(tensors: tuple[TensorView, ...]) -> TensorView | None:
    return tensors[0] if tensors else None


def _check_shapes(operator: OperatorView, runtime: list[TensorView]) -> Iterator[_Finding]:
    """Check rank, fixed sizes and batch; each reports its first tensor at fault."""
    for tensor in operator.tensors:
        rank = len(tensor.shape)
        if rank > _MAX_RANK or (rank == 0 and tensor in runtime):
            yield "gpu-rank", tensor, f"rank {rank}"
            break
    open_sized = next((t for t in runtime if not t.static), None)
    if open_sized:
        yield "gpu-static", open_sized, "a size that is left open"
    batched = next((t for t in runtime if len(t.shape) == _MAX_RANK and t.shape[0] != 1), None)
    if batched and batched.static:
        yield "gpu-batch", batched, f"a batch of {batched.shape[0]}"


def _check_types(operator: OperatorView, weights: frozenset[int]) -> Iterator[_Finding]:
    """Check the types of activations, and that there is one."""
    inputs = [t for t in operator.inputs if t is not None]
    sources = [t for t in inputs if not t.constant and t.index not in weights]
    if operator.name != "DEQUANTIZE" and not sources:
        yield "gpu-runtime-input", _first(operator.outputs), "constants only"
    for tensors, others in (
        (sources, _OTHER_INPUTS.get(operator.name, ())),
        (operator.outputs, _OTHER_OUTPUTS.get(operator.name, ())),
    ):
        wrong = next((t for t in tensors if t.dtype not in (*_FLOATS, *others)), None)
        if wrong:
            rule = "gpu-quantized" if wrong.dtype in _QUANTIZED else "gpu-type"
            yield rule, wrong, wrong.dtype
            return


def _check_activation(operator: OperatorView) -> Iterator[_Finding]:
    if operator.activation not in _ACTIVATIONS:
        yield "gpu-activation", _first(operator.outputs), operator.activation


def _check_parameters(operator: OperatorView, weights: frozenset[int]) -> Iterator[_Finding]:
    """Check that parameters are constants, and integers among them int32."""
    free, whole = _PARAMETERS.get(operator.name, ((), ()))
    for position in (*free, *whole):
        tensor = _input(operator, position)
        if tensor is None:
            continue
        if not tensor.constant and tensor.index not in weights:
            yield "gpu-parameter", tensor, "a parameter computed at run time"
        elif position in whole and tensor.dtype != "int32":
            yield "gpu-parameter", tensor, tensor.dtype


def _input(operator: OperatorView, position: int) -> TensorView | None:
    return operator.inputs[position] if position < len(operator.inputs) else None


def _check_broadcast(operator: OperatorView, weights: frozenset[int]) -> Iterator[_Finding]:
    """Check that one operand broadcasts to the other's shape, the output's."""
    output = _first(operator.outputs)
    operands = [t for t in operator.inputs if t is not None]
    if output is None:
        return
    smaller = [t for t in operands if t.shape != output.shape]
    if len(smaller) > 1:
        yield "gpu-broadcast", smaller[1], f"a broadcast of both operands to {list(output.shape)}"
    for tensor in smaller[:1]:
        constant = tensor.constant or tensor.index in weights
        if not _broadcasts(tensor.shape, output.shape, constant):
            yield "gpu-broadcast", tensor, f"a broadcast to {list(output.shape)}"


def _broadcasts(shape: tuple[int, ...], wanted: tuple[int, ...], constant: bool) -> bool:
    """Whether the GPU broadcasts an operand of `shape`, aligned at the last dimension."""
    if all(size == 1 for size in shape):
        return True
    linear = all(size == 1 for size in shape[:-1])
    if constant and len(shape) < 3 and not linear:
        return False  # a matrix would be read as width x channels, or not at all
    if not constant and len(shape) == 1:
        return False  # a vector made at run time is laid out along the batch
    return len(shape) <= len(wanted) and all(
        have in (1, want) for have, want in zip(reversed(shape), reversed(wanted), strict=False)
    )


def _check_block(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    size = operator.options.get("block_size", 0)
    if size <= 1:
        yield "gpu-block-size", _first(operator.outputs), f"block size {size}"


def _check_prelu(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    source, alpha = _input(operator, 0), _input(operator, 1)
    if source is None or alpha is None:
        return
    linear = alpha.shape[-1:] == source.shape[-1:] and all(n == 1 for n in alpha.shape[:-1])
    whole = alpha.shape in (source.shape, source.shape[1:])
    if not linear and not whole:
        yield "gpu-prelu", alpha, f"slopes {list(alpha.shape)} for {list(source.shape)}"


def _check_slice(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    source = _input(operator, 0)
    if source is not None and len(source.shape) not in (3, 4):
        yield "gpu-slice", source, f"rank {len(source.shape)}"
    for mask in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask"):
        if operator.options.get(mask, 0):
            yield "gpu-slice", source, f"{mask} {operator.options[mask]}"
    strides = _input(operator, 3)
    if strides is not None and min(strides.integers() or (1,)) < 1:
        yield "gpu-slice", strides, f"strides {list(strides.integers() or ())}"


def _check_pad(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    paddings = _input(operator, 1)
    if paddings is not None and paddings.shape not in ((3, 2), (4, 2)):
        yield "gpu-pad", paddings, f"paddings {list(paddings.shape)}"
    if operator.name == "MIRROR_PAD" and operator.options.get("mode", 0) != 0:
        yield "gpu-pad", _input(operator, 0), "MIRROR_PAD SYMMETRIC"


def _check_dequantize(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    source = _input(operator, 0)
    if source is None or source.dtype in _QUANTIZED:
        return  # quantised activations have a rule of their own
    if not source.constant or source.dtype != "float16":
        kind = "a constant" if source.constant else "an activation"
        yield "gpu-dequantize", source, f"{kind} in {source.dtype}"


def _check_softmax(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    if operator.options.get("beta", 0) != 1:
        yield "gpu-softmax", _first(operator.outputs), f"beta {operator.options.get('beta', 0)}"


def _check_fully_connected(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    if operator.options.get("weights_format", 0):
        yield "gpu-weights-format", _input(operator, 1), "shuffled weights"


def _check_resize(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    if operator.options.get("align_corners", 0) and operator.options.get("half_pixel_centers", 0):
        yield "gpu-resize", _first(operator.outputs), "both"


def _check_nearest(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    yield "gpu-resize-nearest", _first(operator.outputs), operator.name


def _check_gather(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    yield "gpu-gather", _first(operator.outputs), operator.name
    indices = _input(operator, 1)
    if indices is not None and (len(indices.shape) != 1 or indices.dtype != "int32"):
        yield "gpu-parameter", indices, f"{indices.dtype} indices of rank {len(indices.shape)}"


def _check_transpose_conv(operator: OperatorView, _: frozenset[int]) -> Iterator[_Finding]:
    yield "gpu-transpose-conv", _first(operator.outputs), operator.name


# Operator -> the check that only it requires.
_SPECIAL: dict[str, Callable[[OperatorView, frozenset[int]], Iterator[_Finding]]] = {
    **dict.fromkeys([*_BINARY.split(), *_LOGICAL.split()], _check_broadcast),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH"), _check_block),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _check_slice),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _check_pad),
    "DEQUANTIZE": _check_dequantize,
    "FULLY_CONNECTED": _check_fully_connected,
    "GATHER": _check_gather,
    "PRELU": _check_prelu,
    "RESIZE_BILINEAR": _check_resize,
    "RESIZE_NEAREST_NEIGHBOR": _check_nearest,
    "SOFTMAX": _check_softmax,
    "TRANSPOSE_CONV": _check_transpose_conv,
}
