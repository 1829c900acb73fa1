"""A super-resolution network that is not ours, as an ONNX file."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.probes import Reference
from edgesr.errors import OnnxFileError

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Float32Array = NDArray[np.float32]

#: Versions of ONNX's standard operators that are read.
OPSETS = (9, 23)

_STANDARD = ("", "ai.onnx")
_MAX_BYTES = 2**31 - 1  # a protobuf message ends there, and so do the interfaces to onnxruntime
_COLOURS = 3
_ADVICE = "export it with torch.onnx.export(net.eval(), torch.zeros(1, 3, 64, 64), FILE)"


@dataclass(frozen=True)
class OnnxFile:
    """A network with one picture in and one picture out, RGB, NCHW, float32.

    Attributes:
        path: The file.
        sha256: Digest of its bytes; weights that lie in other files are not among them.
        model: What it holds, those weights included.
        height: Rows of its input; None where they are left open.
        width: Columns of its input, likewise.
    """

    path: Path
    sha256: str
    model: "onnx.ModelProto"
    height: int | None
    width: int | None
    _sessions: "dict[tuple[int, int], onnxruntime.InferenceSession]" = field(
        default_factory=dict[tuple[int, int], "onnxruntime.InferenceSession"], compare=False
    )

    @property
    def is_open(self) -> bool:
        """Whether it takes pictures of any size."""
        return self.height is None and self.width is None

    @property
    def producer(self) -> str:
        """Who wrote it, by its own account."""
        return f"{self.model.producer_name} {self.model.producer_version}".strip() or "unknown"

    def weights_sha256(self) -> str:
        """Digest of the weights alone, as `edgesr.checkpoints.weights_sha256` takes it."""
        from onnx import TensorProto, numpy_helper

        digest = hashlib.sha256()
        for tensor in sorted(self.model.graph.initializer, key=lambda t: t.name):
            if tensor.data_type != TensorProto.FLOAT:
                continue
            values = numpy_helper.to_array(tensor)
            digest.update(f"{tensor.name} {'x'.join(map(str, values.shape))}\n".encode())
            digest.update(values.astype("<f4").tobytes())
        return digest.hexdigest()

    def reference(self, value_range: float) -> Reference:
        """The network, run by onnxruntime without any rewrite, on NHWC pictures in [0, 1].

        Args:
            value_range: The network's own range is [0, value_range].
        """

        def run(lr_nhwc: Float32Array) -> Float32Array:
            session = self._session(lr_nhwc.shape[1], lr_nhwc.shape[2])
            lr_nchw = np.ascontiguousarray(lr_nhwc.transpose(0, 3, 1, 2)) * np.float32(value_range)
            (hr_nchw,) = session.run(None, {session.get_inputs()[0].name: lr_nchw})
            hr_nhwc: Float32Array = np.asarray(hr_nchw, np.float32).transpose(0, 2, 3, 1)
            return hr_nhwc / np.float32(value_range)

        return run

    def _session(self, height: int, width: int) -> "onnxruntime.InferenceSession":
        """The file itself; one whose size is fixed is told the size, which changes nothing else."""
        key = (0, 0) if self.is_open else (height, width)
        if key not in self._sessions:
            self._sessions[key] = _open(self.model, None if self.is_open else key)
        return self._sessions[key]


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file, and refuse at once what cannot be converted.

    Raises:
        OnnxFileError: It is missing, no ONNX, lacks its external data, or its network has another
            number of inputs or outputs, other layouts, types, domains or opsets.
    """
    content = _content(path)
    model = _parsed(path, content)
    _check_operators(path, model)
    height, width = _check_ends(path, model)
    return OnnxFile(path, hashlib.sha256(content).hexdigest(), model, height, width)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            what = "is no regular file" if path.exists() else "does not exist"
            raise OnnxFileError(f"ONNX file {path} {what}; name a file made by torch.onnx.export")
        size = path.stat().st_size
        if not 0 < size <= _MAX_BYTES:
            raise OnnxFileError(f"ONNX file {path} has {size} bytes, allowed 1 to {_MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise OnnxFileError(f"cannot read ONNX file {path}: {error.strerror or error}") from error


def _parsed(path: Path, content: bytes) -> "onnx.ModelProto":
    """The model with the weights that lie beside it; onnxruntime checks the rest."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise OnnxFileError(
            f"{path} is no ONNX file, or truncated: it begins with {content[:16]!r}; {_ADVICE}"
        ) from error
    if not (model.ir_version and model.graph.node):
        raise OnnxFileError(f"{path} is no ONNX file: it holds no operators; {_ADVICE}")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, onnx.checker.ValidationError, ValueError) as error:
        raise OnnxFileError(
            f"{path} keeps weights in {', '.join(_external(model))}, which cannot be read beside "
            "it; put them there, or export one file: torch.onnx.export(..., external_data=False)"
        ) from error
    return model


def _external(model: "onnx.ModelProto") -> list[str]:
    """Names of other files that the weights lie in and were not loaded from."""
    from onnx import TensorProto

    return sorted(
        {
            entry.value
            for tensor in model.graph.initializer
            if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _check_operators(path: Path, model: "onnx.ModelProto") -> None:
    """Refuse operators that only another program knows, and versions that nobody tried."""
    own = {(f.domain, f.name) for f in model.functions}
    foreign = sorted(
        {
            f"{n.domain}.{n.op_type}"
            for n in [*model.graph.node, *(n for f in model.functions for n in f.node)]
            if n.domain not in _STANDARD and (n.domain, n.op_type) not in own
        }
    )
    if foreign:
        raise OnnxFileError(
            f"{path} holds {', '.join(foreign)}, allowed operators of standard ONNX; export it "
            "anew, before any runtime optimised or quantised it"
        )
    versions = [o.version for o in model.opset_import if o.domain in _STANDARD]
    if not versions or not OPSETS[0] <= max(versions) <= OPSETS[1]:
        raise OnnxFileError(
            f"{path} is of opset {max(versions, default=0)}, allowed {OPSETS[0]} to {OPSETS[1]}; "
            "export it with torch.onnx.export(..., opset_version=17)"
        )


def _check_ends(path: Path, model: "onnx.ModelProto") -> tuple[int | None, int | None]:
    """Height and width of the input, None where they are open."""
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        names = [i.name for i in inputs], [o.name for o in model.graph.output]
        raise OnnxFileError(
            f"{path} has inputs {names[0]} and outputs {names[1]}, allowed one of each, a picture"
        )
    for what, end in (("input", inputs[0]), ("output", model.graph.output[0])):
        kind = end.type.tensor_type
        if kind.elem_type != 1:
            name = _type_name(kind.elem_type)
            raise OnnxFileError(
                f"{path}: {what} {end.name} is {name}, allowed float32; export the network in it"
            )
    dims = inputs[0].type.tensor_type.shape.dim
    sizes = [d.dim_value if d.dim_value > 0 else None for d in dims]  # some write -1 for open
    if len(sizes) != 4 or sizes[0] not in (None, 1) or sizes[1] not in (None, _COLOURS):
        shown = [d.dim_value or d.dim_param or "?" for d in dims]
        raise OnnxFileError(
            f"{path}: input {inputs[0].name} has shape {shown}, allowed [1, 3, height, width]: "
            f"RGB, channels first, batch 1; {_ADVICE}"
        )
    return sizes[2], sizes[3]


def _type_name(number: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(number).lower() if number else "no tensor"


def _open(model: "onnx.ModelProto", size: tuple[int, int] | None) -> "onnxruntime.InferenceSession":
    """A session that rewrites nothing: the pass `clean` lets onnxruntime rewrite already."""
    import onnxruntime

    from converters.passes.clean import with_size

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    sized = with_size(model, *size) if size else model
    return onnxruntime.InferenceSession(
        sized.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
