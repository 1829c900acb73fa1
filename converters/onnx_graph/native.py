"""Calls into onnx and onnxruntime, whose errors become one line each.

Both raise classes of their own without a common base, with texts of several lines, C++ signatures
and source paths in them. Everything that reads a graph calls them through this module.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter
from numpy.typing import NDArray
from onnx import numpy_helper

from edgesr.common.files import temporary_file_errors
from edgesr.common.text import printable, shorten
from edgesr.errors import ConversionError, EdgeSRError

Float32Array = NDArray[np.float32]

#: The variable that keeps onnxruntime from recording use, and its value.
NO_TELEMETRY = ("ORT_DISABLE_TELEMETRY", "1")

_LONGEST_REASON = 240
_NO_MEMORY = re.compile(r"bad.?alloc|failed to allocate|out of memory", re.IGNORECASE)
# Where in the C++ source an error arose: a path, a line number and a signature or a function.
_SOURCE = re.compile(
    r"\S+\.(?:cc|cpp|h|hpp):\d+:? "
    r"(?:[^()']*\w\([^()]*(?:\([^()]*\)[^()]*)*\) (?:\S+ was false\. )?"
    r"|\w+: Assertion .*? failed: |\w+ )?"
)
_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : |Load model from .*? failed:\s*|Exception during "
    r"initialization: |This is an invalid model\. |Invalid model\. |\[\w+InferenceError\] "
    r"|Inference error\(s\): |Exception caught: |(?:Type )?Error: "
)
# The operator, as each of the texts names it.
_OPERATORS = tuple(
    re.compile(pattern)
    for pattern in (
        r"In Node, \(\"(?P<name>.*?)\", (?P<op>\w+), .*?-> \(\"?(?P<output>[^\",:)]*).*?, Error ",
        r"Node \((?P<name>.*?)\) Op \((?P<op>\w+)\) ",
        r"Non-zero status code returned while running (?P<op>\w+) node\. Name:'(?P<name>.*?)' "
        r"Status Message: ",
        r"\(op_type:\s?(?P<op>\w+)(?:, node name: (?P<name>.*?))?\): ",
    )
)


class GraphError(ConversionError):
    """onnx or onnxruntime rejects a graph."""


class Session:
    """A model in onnxruntime on the CPU.

    Raises:
        GraphError: onnxruntime cannot load the model.
    """

    def __init__(self, model: onnx.ModelProto, *, rewrite: bool = True) -> None:
        """Load a model.

        Args:
            model: The model.
            rewrite: Whether onnxruntime may rewrite the graph to run it faster.
        """
        onnxruntime = _onnxruntime()
        options = _options()
        if not rewrite:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _load(model, options)
        self.input: str = self._session.get_inputs()[0].name

    def run(self, names: Sequence[str] | None, source: Float32Array) -> list[NDArray[Any]]:
        """Compute tensors of the model from its one input.

        Args:
            names: The tensors, outputs of the model; None for all outputs.
            source: The input.

        Raises:
            GraphError: An operator fails.
            ConversionError: The memory does not suffice.
        """
        with one_line_errors("onnxruntime cannot run the graph"):
            values = self._session.run(names, {self.input: source})
        return [np.asarray(value) for value in values]


def optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run onnxruntime's basic rewrites, which use standard operators only.

    Raises:
        GraphError: onnxruntime cannot load the model.
    """
    onnxruntime = _onnxruntime()
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with temporary_file_errors(), tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        file = Path(scratch, "optimised.onnx")
        options.optimized_model_filepath = str(file)
        _load(model, options)
        return onnx.load(str(file))


def with_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Infer the shapes of all tensors.

    Raises:
        GraphError: An operator does not fit its inputs.
    """
    with one_line_errors("shapes do not fit"):
        return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put the operators of local functions in place of their calls.

    Raises:
        GraphError: A function does not fit its call.
    """
    with one_line_errors("its functions cannot be resolved"):
        return onnx.inliner.inline_local_functions(model)


def at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Convert a model to another version of the standard operators.

    Raises:
        GraphError: An operator has no counterpart there.
    """
    with one_line_errors(f"it cannot be brought to opset {opset}"):
        return onnx.version_converter.convert_version(model, opset)


def check(model: onnx.ModelProto) -> None:
    """Check a model against the ONNX standard.

    Raises:
        GraphError: It breaks a rule.
    """
    with one_line_errors("it breaks a rule of ONNX"):
        onnx.checker.check_model(model, full_check=True)


def tensor_value(tensor: onnx.TensorProto) -> NDArray[Any]:
    """Turn an initialiser into an array, whatever way its bytes are stored.

    Raises:
        GraphError: Its bytes do not fit its shape, or its type is none of ONNX's.
    """
    name, shape = printable(tensor.name) or "without a name", "x".join(map(str, tensor.dims))
    if tensor.data_type not in onnx.TensorProto.DataType.values() or not tensor.data_type:
        raise GraphError(f"constant {name} is of type {tensor.data_type}, which ONNX lacks")
    kind = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
    problem = f"constant {name} does not hold what its shape {shape or '1'} of {kind} takes"
    if any(side < 0 for side in tensor.dims):
        raise GraphError(problem)
    try:
        return numpy_helper.to_array(tensor)
    # numpy and onnx raise whatever the damage leads to.
    except Exception as error:
        raise GraphError(problem) from error


@contextlib.contextmanager
def one_line_errors(what: str) -> Generator[None]:
    """Turn any error of onnx or onnxruntime into one line.

    Args:
        what: What cannot be done; the message begins with it.

    Raises:
        GraphError: Something failed; the message names the operator where the library does.
        ConversionError: The memory does not suffice.
    """
    try:
        yield
    except EdgeSRError:
        raise
    # The bindings raise classes of their own, one per status, without a common base.
    except Exception as error:
        if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
            raise ConversionError(
                f"{what}: the memory that is free does not suffice; take a smaller size"
            ) from error
        raise GraphError(f"{what}: {native_reason(error)}") from error


@contextlib.contextmanager
def named_errors(
    label: str, error: type[EdgeSRError] = ConversionError, remedy: str = ""
) -> Generator[None]:
    """Put a network's name in front of errors that name none.

    Args:
        label: The name: of a file, or of a module.
        error: The class of the errors.
        remedy: Advice for graphs that onnx or onnxruntime rejects.

    Raises:
        EdgeSRError: Of the class `error`, in place of a ConversionError.
    """
    try:
        yield
    except ConversionError as reason:
        advice = f"; {remedy}" if remedy and isinstance(reason, GraphError) else ""
        raise error(f"{label}: {reason}{advice}") from reason


def native_reason(error: Exception) -> str:
    """The reason in an error of onnx or onnxruntime, on one line, the operator first."""
    text = " ".join(str(error).split())
    text = _SOURCE.sub("", _NOISE.sub("", text))
    found = next((match for pattern in _OPERATORS if (match := pattern.search(text))), None)
    if found is not None:
        # Texts of several errors repeat themselves behind the first.
        text = f"operator {_operator(found)}: {text[found.end() :]}"
    text = printable(text.strip().rstrip(".")) or type(error).__name__
    return shorten(text, _LONGEST_REASON)


def _operator(found: re.Match[str]) -> str:
    """Type and name of an operator; one without a name by the tensor that it makes."""
    parts = found.groupdict()
    name = parts.get("name") or parts.get("output")
    return f"{parts['op']} {name}" if name else parts["op"]


def _onnxruntime() -> Any:  # noqa: ANN401 - onnxruntime has no types
    """onnxruntime, its telemetry switched off unless the user switched it on.

    When it is imported it would start to record use: a file `.ses` in the folder for temporary
    files, a device's number and a database in ~/.cache.
    """
    os.environ.setdefault(*NO_TELEMETRY)
    import onnxruntime

    return onnxruntime


def _options() -> Any:  # noqa: ANN401 - onnxruntime has no types
    options = _onnxruntime().SessionOptions()
    options.log_severity_level = 4  # its warnings would go to the terminal
    return options


def _load(
    model: onnx.ModelProto,
    options: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    with one_line_errors("onnxruntime cannot load the graph"):
        return _onnxruntime().InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
