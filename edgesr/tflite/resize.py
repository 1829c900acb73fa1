"""A `.tflite` for another size of its input: the same weights, without converting again.

A file states the shape of every tensor, and its operators take their sizes from there, as long as
none of them carries a size of its own: a Reshape does, a convolution, a mean or a cut along the
channels does not. Here every operator must be of a kind whose output's shape follows from its
inputs' by the rules below. They must give the shapes that the file states for its own size, before
they are trusted with another one.

What comes out computes what a conversion for that size would: the converter too rewrites a network
at a small size, and sets the size at the end.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from edgesr.common.liveness import peak_live_size
from edgesr.common.machine import free_bytes
from edgesr.errors import ModelFileError, SizeError
from edgesr.tflite.facts import reseal
from edgesr.tflite.operators import SIGNATURES
from edgesr.tflite.schema import Table, buffer_bytes, builtin_code, parse_model, short_name

_GIB = 2**30
_FLOAT32_BYTES = 4
_POINTER_BYTES = 8
_SAME_PADDING = 0  # Padding of `schema.fbs`
_INT32 = 2  # TensorType of `schema.fbs`
_ENDLESS = 2**30  # an end of a cut that is meant to be behind every tensor's

Shape = tuple[int, ...]

# Each value for itself.
_ACTIVATIONS = ("ELU", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "RELU", "RELU6", "TANH")
_POINTWISE = (
    *_ACTIVATIONS,
    "ABS",
    "CAST",
    "DEQUANTIZE",
    "EXP",
    "NEG",
    "QUANTIZE",
    "RSQRT",
    "SQRT",
    "SQUARE",
)
_BROADCASTING = ("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "POW", "PRELU", "SUB")
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


class _SizeBuiltInError(Exception):
    """Why an operator fits one size only."""


@dataclass(frozen=True)
class Resized:
    """A file for another size.

    Attributes:
        content: The file.
        needed_bytes: Memory that it predictably takes to run on the CPU: the float32 activations
            alive at once, the copies of input and output, and a pointer per tap and pixel of every
            convolution, by which XNNPACK gathers pixels. Measured (LiteRT 2.3.0, x86-64): 0.98 of
            it for IMDN x2 at 320x320, 0.66 for RTC at 1024x1024.
    """

    content: bytes
    needed_bytes: int


@dataclass(frozen=True)
class Work:
    """What a pixel of the input costs, where the network is run at any size.

    Attributes:
        bytes_per_pixel: As `Resized.needed_bytes`.
        macs_per_pixel: Multiplications of all convolutions.
    """

    bytes_per_pixel: float
    macs_per_pixel: float


def read_work(content: bytes, name: str = "the file") -> Work:
    """What a pixel costs a file.

    Args:
        content: A sound file with one NHWC input.
        name: What to call it in an error.

    Raises:
        ModelFileError: An operator of it fits one size only.
    """
    graph = _Graph(parse_model(content, name), content)
    try:
        shapes = graph.own_shapes()
    except _SizeBuiltInError as error:
        raise ModelFileError(f"{name} runs at its own size only: {error}") from None
    pixels = math.prod(graph.input_shape[1:3])
    return Work(graph.needed_bytes(shapes) / pixels, graph.macs(shapes) / pixels)


def resize(content: bytes, height: int, width: int, name: str = "the file") -> Resized:
    """Make a `.tflite` take another size.

    Args:
        content: A sound file with one NHWC input (`edgesr.tflite.validation` tells).
        height: Rows of the new input.
        width: Columns of the new input.
        name: What to call the file in an error.

    Raises:
        ModelFileError: An operator of it fits one size only.
    """
    made = bytearray(content)  # its views, which the parser gives, can be written
    model = parse_model(made, name)
    graph = _Graph(model, content)
    size = (height, width)
    try:
        graph.own_shapes()
        wanted = graph.shapes((graph.input_shape[0], *size, *graph.input_shape[3:]))
    except _SizeBuiltInError as error:
        raise ModelFileError(
            f"{name} cannot be run on an image of {height}x{width} as a whole: {error}; convert "
            f"the network with --size {height}x{width}, or upscale by tiles"
        ) from None
    for index, shape in wanted.items():
        graph.set_shape(index, shape)
    if any(graph.stated(index) != shape for index, shape in wanted.items()):
        raise ModelFileError(f"{name} keeps the shapes of several tensors in one place")
    return Resized(reseal(bytes(made)), graph.needed_bytes(wanted))


def fits_any_size(content: bytes) -> bool:
    """Whether `resize` accepts other sizes of a file."""
    _, height, width, _ = _Graph(parse_model(content, "the file"), content).input_shape
    try:
        resize(content, 2 * height, 2 * width)
    except ModelFileError:
        return False
    return True


def check_memory(resized: Resized, height: int, width: int) -> None:
    """Refuse a size whose activations do not fit into the memory that is free.

    Raises:
        SizeError: They do not.
    """
    free = free_bytes()
    if resized.needed_bytes > free:
        raise SizeError(
            f"running {height}x{width} pixels as a whole needs about "
            f"{resized.needed_bytes / _GIB:.1f} GiB of memory and {free / _GIB:.1f} GiB are free; "
            "upscale by tiles"
        )


class _Graph:
    """The one graph of a file, whose shapes are computed and written."""

    def __init__(self, model: Table, content: bytes) -> None:
        graph = model["subgraphs"][0]
        self._tensors: list[Table] = graph["tensors"]
        self._operators: list[Table] = graph["operators"]
        self._codes = [builtin_code(code) for code in model["operator_codes"]]
        self._data = [
            bytes(buffer_bytes(content, model["buffers"][tensor["buffer"]]))
            for tensor in self._tensors
        ]
        (self._input,) = map(int, graph["inputs"])
        (self._output,) = map(int, graph["outputs"])
        self._fixed = {index for index, data in enumerate(self._data) if data}
        for operator in self._operators:
            if all(index in self._fixed for index in map(int, operator["inputs"])):
                self._fixed |= {int(index) for index in operator["outputs"]}

    @property
    def input_shape(self) -> Shape:
        """What the file states for its input."""
        return self.stated(self._input)

    def stated(self, index: int) -> Shape:
        """The shape that the file states."""
        return tuple(map(int, self._tensors[index]["shape"]))

    def set_shape(self, index: int, shape: Shape) -> None:
        """Write a shape of the same rank into the file."""
        tensor = self._tensors[index]
        tensor["shape"][:] = shape
        signature = tensor["shape_signature"]
        if len(signature):
            signature[:] = [-1 if s < 0 else n for s, n in zip(signature, shape, strict=True)]

    def own_shapes(self) -> dict[int, Shape]:
        """The shapes at the file's own size, which must be those that it states.

        Raises:
            _SizeBuiltInError: They are not, or an operator fits one size only.
        """
        found = self.shapes(self.input_shape)
        if any(self.stated(index) != shape for index, shape in found.items()):
            raise _SizeBuiltInError("its shapes do not follow from its input's")
        return found

    def shapes(self, input_shape: Shape) -> dict[int, Shape]:
        """The shapes of all activations that an input's shape leads to.

        Raises:
            _SizeBuiltInError: An operator fits one size only.
        """
        shapes = {self._input: input_shape}
        for operator in self._operators:
            outputs = [int(index) for index in operator["outputs"]]
            if set(outputs) <= self._fixed:
                continue
            code = self._codes[operator["opcode_index"]]
            kind = SIGNATURES[code].name if code in SIGNATURES else f"operator {code}"
            try:
                made = self._follow(kind, operator, shapes)
            except _SizeBuiltInError as error:
                where = short_name(self._tensors[outputs[0]])
                raise _SizeBuiltInError(f"{kind} {where} {error}") from None
            shapes |= {output: made for output in outputs}
        if self._output not in shapes:
            raise _SizeBuiltInError("its output does not depend on its input")
        return shapes

    def _follow(self, kind: str, operator: Table, shapes: dict[int, Shape]) -> Shape:
        """The shape of an operator's output."""
        inputs = [int(index) for index in operator["inputs"] if index >= 0]
        if len(operator["outputs"]) != 1:
            raise _SizeBuiltInError("has several outputs")
        stated = self.stated(int(operator["outputs"][0]))
        if not stated:
            raise _SizeBuiltInError("makes one number")
        channels = stated[-1]
        known = [shapes.get(index, self.stated(index)) for index in inputs]
        if kind in _POINTWISE:
            return known[0]
        if kind in _BROADCASTING:
            return _broadcast(
                [(index in self._fixed, s) for index, s in zip(inputs, known, strict=True)]
            )
        rule = _RULES.get(kind)
        if rule is None or len(known[0]) != 4:
            raise _SizeBuiltInError("fits one size only")
        numbers = [self._numbers(index) for index in inputs[1:]]
        try:
            batch, height, width = rule(_Step(known, numbers, operator["builtin_options"] or {}))
        except (LookupError, ValueError):  # shapes or constants that no such operator has
            raise _SizeBuiltInError("has inputs that do not fit it") from None
        return batch, height, width, channels

    def _numbers(self, index: int) -> list[int]:
        """A constant of whole numbers; empty for anything else."""
        if self._tensors[index]["type"] != _INT32:
            return []
        return memoryview(self._data[index]).cast("i").tolist()

    def needed_bytes(self, shapes: dict[int, Shape]) -> int:
        """See `Resized`."""
        size = {index: _FLOAT32_BYTES * math.prod(shape) for index, shape in shapes.items()}
        pointers = 0
        for kernel, pixels in self._convolutions(shapes):
            taps = math.prod(kernel[1:3])
            pointers += _POINTER_BYTES * taps * pixels if taps > 1 else 0
        steps = [
            (tuple(map(int, operator["inputs"])), tuple(map(int, operator["outputs"])))
            for operator in self._operators
        ]
        peak, _ = peak_live_size(steps, size, [self._input], [self._output])
        return peak + pointers + size[self._input] + size[self._output]

    def macs(self, shapes: dict[int, Shape]) -> int:
        """Multiplications of all convolutions."""
        return sum(math.prod(kernel) * pixels for kernel, pixels in self._convolutions(shapes))

    def _convolutions(self, shapes: dict[int, Shape]) -> Iterator[tuple[Shape, int]]:
        """The kernel's shape and the output's pixels of every convolution."""
        for operator in self._operators:
            output = int(operator["outputs"][0])
            if output not in shapes:  # of constants alone: the same at every size
                continue
            if SIGNATURES[self._codes[operator["opcode_index"]]].name in _CONVOLUTIONS:
                kernel = self.stated(int(operator["inputs"][1]))
                yield kernel, math.prod(shapes[output][1:3])


@dataclass(frozen=True)
class _Step:
    """Operator data that a rule reads.

    Attributes:
        shapes: Of its inputs.
        numbers: The values of its second and further inputs, where they are whole constants.
        options: The operator's options.
    """

    shapes: list[Shape]
    numbers: list[list[int]]
    options: dict[str, Any]


def _broadcast(inputs: list[tuple[bool, Shape]]) -> Shape:
    """The common shape; a constant must not bring rows or columns of its own."""
    rank = max(len(shape) for _, shape in inputs)
    aligned = [(fixed, (1,) * (rank - len(shape)) + shape) for fixed, shape in inputs]
    if any(fixed and any(side > 1 for side in shape[:-1]) for fixed, shape in aligned):
        raise _SizeBuiltInError("has a constant for each pixel")
    return tuple(max(sides) for sides in zip(*(shape for _, shape in aligned), strict=True))


def _convolution(step: _Step) -> Shape:
    (batch, *sizes, _), (_, *kernel, _) = step.shapes[:2]
    options = step.options
    sides: list[int] = []
    for size, side, axis in zip(sizes, kernel, "hw", strict=True):
        stride = max(1, options[f"stride_{axis}"])
        reach = (side - 1) * max(1, options[f"dilation_{axis}_factor"]) if side > 1 else 0
        lost = 0 if options["padding"] == _SAME_PADDING else reach
        if stride > 1 and lost == 0 and reach:
            # SAME puts the odd pixel of padding behind an even size, and not behind an odd one.
            raise _SizeBuiltInError("pads according to the size")
        sides.append(-(-(size - lost) // stride))
    return batch, *sides


def _mean(step: _Step) -> Shape:
    if not step.options.get("keep_dims") or not step.numbers[0]:
        raise _SizeBuiltInError("drops dimensions")
    axes = {axis % 4 for axis in step.numbers[0]}
    return tuple(1 if i in axes else n for i, n in enumerate(step.shapes[0]))[:3]


def _concatenation(step: _Step) -> Shape:
    axis = step.options["axis"] % 4
    images = {tuple(side for i, side in enumerate(s[:3]) if i != axis) for s in step.shapes}
    if axis == 0 or len(images) > 1:
        raise _SizeBuiltInError("joins more than channels, rows or columns")
    sides = list(step.shapes[0][:3])
    if axis < 3:
        sides[axis] = sum(shape[axis] for shape in step.shapes)
    batch, height, width = sides
    return batch, height, width


def _shuffle(step: _Step) -> Shape:
    batch, height, width, _ = step.shapes[0]
    block = step.options["block_size"]
    return batch, block * height, block * width


def _unshuffle(step: _Step) -> Shape:
    batch, height, width, _ = step.shapes[0]
    block = step.options["block_size"]
    if block < 1 or height % block or width % block:
        raise _SizeBuiltInError(f"takes blocks of {block}x{block} pixels alone")
    return batch, height // block, width // block


def _padding(step: _Step) -> Shape:
    if len(step.numbers[0]) != 8:
        raise _SizeBuiltInError("pads according to the size")
    before, after = step.numbers[0][::2], step.numbers[0][1::2]
    sides = zip(step.shapes[0], before, after, strict=True)
    return tuple(sum(side) for side in sides)[:3]


def _strided_slice(step: _Step) -> Shape:
    options = step.options
    odd = (options["ellipsis_mask"], options["new_axis_mask"], options["shrink_axis_mask"])
    begin, end, stride = (numbers or [0] * 4 for numbers in step.numbers)
    sides = list(step.shapes[0][:3])
    for axis in range(3):
        if (
            axis > 0
            and stride[axis] == 1
            and not any(odd)
            and _is_border(options, begin, end, axis)
        ):
            sides[axis] = 1
            continue
        from_first = options["begin_mask"] >> axis & 1 or begin[axis] == 0
        to_last = options["end_mask"] >> axis & 1 or end[axis] >= _ENDLESS
        alone = axis == 0 and step.shapes[0][0] == end[axis] == 1
        if any(odd) or not from_first or not (to_last or alone) or stride[axis] != 1:
            raise _SizeBuiltInError("cuts a part out of the image")
    batch, height, width = sides
    return batch, height, width


def _is_border(options: dict[str, Any], begin: list[int], end: list[int], axis: int) -> bool:
    """Whether a cut keeps the first or the last row or column, at any size."""
    starts, ends = options["begin_mask"] >> axis & 1, options["end_mask"] >> axis & 1
    first = (starts or begin[axis] == 0) and not ends and end[axis] == 1
    last = not starts and begin[axis] == -1 and (ends or end[axis] >= _ENDLESS)
    return bool(first or last)


def _slice(step: _Step) -> Shape:
    begin, size = (numbers or [1] * 4 for numbers in step.numbers)
    alone = step.shapes[0][0] == size[0] == 1
    if any(begin[:3]) or size[1:3] != [-1, -1] or not (alone or size[0] == -1):
        raise _SizeBuiltInError("cuts a part out of the image")
    return step.shapes[0][:3]


#: Operator -> the first three dimensions of its output; the channels stay as they are.
_RULES: dict[str, Callable[[_Step], Shape]] = {
    "CONCATENATION": _concatenation,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "DEPTH_TO_SPACE": _shuffle,
    "MEAN": _mean,
    "MIRROR_PAD": _padding,
    "PAD": _padding,
    "PADV2": _padding,
    "SLICE": _slice,
    "SPACE_TO_DEPTH": _unshuffle,
    "STRIDED_SLICE": _strided_slice,
}
