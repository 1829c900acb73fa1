"""ONNX -> TFLite through onnx2tf, then the names, signature and facts that it leaves out."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesr.errors import ConversionError

if TYPE_CHECKING:
    import flatbuffers
    import onnx

_TIMEOUT_S = 1800
_SIGNATURE = "serving_default"
_BUFFER_ALIGNMENT = 16  # force_align of Buffer.data in the TFLite schema


def to_tflite(model: "onnx.ModelProto", *, half: bool) -> bytes:
    """Convert an ONNX graph with NCHW input and output into an NHWC `.tflite`.

    onnx2tf runs in a child process without network access: see `_onnx2tf_child`.

    Args:
        model: A graph whose operators onnx2tf maps one to one.
        half: Whether weights are stored in FP16 (each behind a DEQUANTIZE) or in FP32.

    Raises:
        ConversionError: onnx2tf fails; the message ends with its last words.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        folder = Path(scratch)
        onnx.save(model, str(folder / "model.onnx"))
        _run_child(folder)
        made = folder / "out" / f"model_float{16 if half else 32}.tflite"
        if not made.is_file():
            raise ConversionError(f"onnx2tf made no {made.name} and gave no reason")
        return made.read_bytes()


def _run_child(folder: Path) -> None:
    log = folder / "onnx2tf.log"
    command = [sys.executable, "-m", "converters._onnx2tf_child", "model.onnx", "out"]
    # Seeded hashing keeps the file the same to the bit from run to run.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("wb") as sink:
        try:
            result = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ConversionError(f"onnx2tf did not end within {_TIMEOUT_S} s") from error
    if result.returncode != 0:
        raise ConversionError(f"onnx2tf failed ({result.returncode}): {_last_words(log)}")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "it printed nothing"


def embed(
    content: bytes, *, input_name: str, output_name: str, description: str, metadata: dict[str, str]
) -> bytes:
    """Name the input and output, write a signature of them, and add metadata entries.

    Args:
        content: A `.tflite` with one input and one output.
        input_name: Name of the input, in the tensor and in the signature.
        output_name: Name of the output, likewise.
        description: The model's description field.
        metadata: Entry name -> UTF-8 text.

    Returns:
        The new file; the same arguments give the same bytes.
    """
    from ai_edge_litert import schema_py_generated as schema

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
    for buffer in model.buffers:
        buffer.Pack = _aligned_pack(schema, buffer)
    return _pack(model)


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
    """The generated packer forgets the schema's force_align; XNNPACK and phones count on it."""

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


def _pack(model: Any) -> bytes:  # noqa: ANN401
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
