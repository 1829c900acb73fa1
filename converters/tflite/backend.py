"""Conversion of ONNX to TFLite by onnx2tf, with names, signature and facts."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.tflite.borders import count_from_the_end
from edgesr.common.files import temporary_file_errors
from edgesr.common.litert import litert_schema
from edgesr.common.text import printable, shorten
from edgesr.errors import ConversionError, ModelFileError
from edgesr.tflite.resize import resize

if TYPE_CHECKING:
    import flatbuffers
    import onnx

_TIMEOUT_S = 1800
_SIGNATURE = "serving_default"
_LONGEST_REASON = 160
_BUFFER_ALIGNMENT = 16  # force_align of Buffer.data in the TFLite schema


class Onnx2tf:
    """onnx2tf in a child process, started early and without network access.

    A context manager: entering starts the child, which loads TensorFlow and then waits; leaving
    ends it and removes its scratch folder in any case. One conversion per instance.
    """

    def __enter__(self) -> "Onnx2tf":
        from converters.onnx_graph.native import NO_TELEMETRY

        with temporary_file_errors():
            self._scratch = tempfile.TemporaryDirectory(prefix="edgesr-")
        self._folder = Path(self._scratch.name)
        # Seeded hashing keeps the file the same to the bit from run to run.
        environment = {**os.environ, "PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.setdefault(*NO_TELEMETRY)  # onnx2tf imports onnxruntime
        with self._log.open("wb") as sink:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "converters.tflite._onnx2tf_child", "model.onnx", "out"],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.communicate()
        self._scratch.cleanup()

    @property
    def _log(self) -> Path:
        return self._folder / "onnx2tf.log"

    def convert(self, model: "onnx.ModelProto", *, half: bool) -> bytes:
        """Convert an ONNX graph with NCHW input and output into an NHWC `.tflite`.

        Args:
            model: A graph whose operators onnx2tf maps one to one.
            half: Whether weights are stored in FP16 (each behind a DEQUANTIZE) or in FP32.

        Raises:
            ConversionError: onnx2tf fails; the message names the operator where onnx2tf does.
            OutputError: The folder for temporary files is full.
        """
        import onnx

        with temporary_file_errors():
            onnx.save(model, str(self._folder / "model.onnx"))
        try:
            self._child.communicate(b"go\n", timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise ConversionError(f"onnx2tf did not end within {_TIMEOUT_S} s") from error
        status = self._child.returncode
        if status != 0:
            raise ConversionError(f"onnx2tf {failure_reason(_text(self._log), status)}")
        made = self._folder / "out" / f"model_float{16 if half else 32}.tflite"
        if not made.is_file():
            reason = failure_reason(_text(self._log), status)
            raise ConversionError(f"onnx2tf made no {made.name}: it {reason}")
        return made.read_bytes()


def converted(
    worker: Onnx2tf,
    model: "onnx.ModelProto",
    height: int,
    width: int,
    *,
    half: bool,
    check: Callable[[bytes], None],
) -> bytes:
    """Convert a graph at its own size, then resize the `.tflite`.

    onnx2tf runs the graph that it converts: IMDN at 720x480 takes more than 8 GiB and minutes.

    Args:
        worker: The child process; it cannot convert again.
        model: A graph whose operators onnx2tf maps one to one.
        height: Rows of the file's input.
        width: Columns of it.
        half: Whether weights are stored in FP16 or in FP32.
        check: Called with the `.tflite` of the graph's own size, before another conversion is
            begun for the final one; raises where the file would be refused anyway.

    Raises:
        ConversionError: onnx2tf fails, or the file is refused.
        OutputError: The folder for temporary files is full.
    """
    from converters.onnx_graph.export import with_input_size

    content = count_from_the_end(worker.convert(model, half=half))
    check(content)
    try:
        return resize(content, height, width).content
    except ModelFileError:  # an operator of a third-party model fits one size only
        sides = model.graph.input[0].type.tensor_type.shape.dim
        if [side.dim_value for side in sides[2:]] == [height, width]:
            return content
        with Onnx2tf() as another:
            whole = another.convert(with_input_size(model, height, width), half=half)
        return count_from_the_end(whole)


def _text(log: Path) -> str:
    return log.read_text(errors="replace")


def failure_reason(log: str, status: int) -> str:
    """What an onnx2tf that failed was about, on one line.

    Args:
        log: What it printed; in the end a traceback.
        status: Its exit status.
    """
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    last = lines[-1] if lines else f"it printed nothing, exit status {status}"
    reason = printable(re.sub(r"^[\w.]*(?:Error|Exception): ", "", last))
    reason = shorten(reason, _LONGEST_REASON)
    # The traceback leads through the file that converts the kind of operator.
    operators = re.findall(r"[/\\]onnx2tf[/\\]ops[/\\](\w+)\.py", log)
    names = re.findall(r"onnx_op_name: (\S+)", log)
    if not operators:
        return f"failed: {reason}"
    which = f"{operators[-1]} {printable(names[-1])}" if names else operators[-1]
    return f"cannot convert operator {which} ({reason}); write the network without it"


def embed(
    content: bytes, *, input_name: str, output_name: str, description: str, metadata: dict[str, str]
) -> bytes:
    """Write names, signature and metadata entries into a `.tflite`.

    Args:
        content: A `.tflite` with one input and one output.
        input_name: Name of the input, in the tensor and in the signature.
        output_name: Name of the output, likewise.
        description: The model's description field.
        metadata: Entry name -> UTF-8 text.

    Returns:
        The new file; equal arguments give equal bytes.
    """
    schema = litert_schema()
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = input_name
    graph.tensors[graph.outputs[0]].name = output_name
    model.description = description
    model.signatureDefs = [_signature(schema, graph, input_name, output_name)]
    for name, text in metadata.items():
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        buffer: Any = schema.BufferT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    return pack(model)


def _signature(schema: Any, graph: Any, input_name: str, output_name: str) -> Any:  # noqa: ANN401
    def tensor_map(name: str, index: int) -> Any:  # noqa: ANN401
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(index)
        return entry

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = _SIGNATURE, 0
    signature.inputs = [tensor_map(input_name, graph.inputs[0])]
    signature.outputs = [tensor_map(output_name, graph.outputs[0])]
    return signature


def _aligned_pack(schema: Any, buffer: Any) -> Any:  # noqa: ANN401 - generated code has no types
    """Pack a buffer with the schema's force_align, which the generated code ignores.

    XNNPACK and devices rely on it.
    """

    def pack(builder: "flatbuffers.Builder") -> int:
        data = None
        if buffer.data is not None and len(buffer.data):
            raw = np.asarray(buffer.data, np.uint8).tobytes()
            builder.StartVector(1, len(raw), _BUFFER_ALIGNMENT)
            head = builder.head - len(raw)
            builder.head = head
            builder.Bytes[head : head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)

    return pack


def pack(model: Any) -> bytes:  # noqa: ANN401 - generated code has no types
    """The bytes of a `.tflite` from its object form, constants aligned as the schema says.

    Args:
        model: A `ModelT`.
    """
    import flatbuffers

    for buffer in model.buffers:
        buffer.Pack = _aligned_pack(litert_schema(), buffer)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
