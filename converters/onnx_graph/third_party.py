"""Third-party super-resolution networks as ONNX files."""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from converters.parity.test_inputs import ReferenceNetwork
from edgesr.common.inputs import read_regular
from edgesr.common.text import printable
from edgesr.errors import OnnxFileError

if TYPE_CHECKING:
    import onnx

    from converters.onnx_graph.native import Session

Float32Array = NDArray[np.float32]

#: Versions of ONNX's standard operators that are read.
OPSETS = (9, 23)

_STANDARD = ("", "ai.onnx")
_MAX_BYTES = 2**31 - 1  # a protobuf message ends there, and so do the interfaces to onnxruntime
_CHANNELS = (1, 3)
_FLOATS = (1, 10)  # float32, float16
_TRIED = 48  # a side at which a network of open size is tried
_ADVICE = "export it with torch.onnx.export(net.eval(), torch.zeros(1, 3, 64, 64), FILE)"


@dataclass(frozen=True)
class OnnxFile:
    """An ONNX file whose network maps one image to another.

    Attributes:
        path: The file.
        sha256: Digest of its bytes; weights in other files are left out of it.
        model: Its model, with the weights of other files; RGB, NCHW, float32 at both ends,
            whatever the file has.
        height: Rows of its input; None where they are left open.
        width: Columns of its input, likewise.
        widened: Whether the file computes in FP16; the model here computes the same in FP32.
        of_luma: Whether its network upscales luma alone; the model here adds the colours.
    """

    path: Path
    sha256: str
    model: "onnx.ModelProto"
    height: int | None
    width: int | None
    widened: bool = False
    of_luma: bool = False
    _sessions: "dict[tuple[int, int], Session]" = field(
        default_factory=dict[tuple[int, int], "Session"], compare=False
    )

    @property
    def is_open(self) -> bool:
        """Whether it accepts images of any size."""
        return self.height is None and self.width is None

    @property
    def producer(self) -> str:
        """The exporter that the file names."""
        return f"{self.model.producer_name} {self.model.producer_version}".strip() or "unknown"

    def weights_sha256(self) -> str:
        """Digest of the weights alone, as of `edgesr.weights.checkpoints.weights_sha256`."""
        from onnx import TensorProto

        from converters.onnx_graph.native import tensor_value

        digest = hashlib.sha256()
        for tensor in sorted(self.model.graph.initializer, key=lambda t: t.name):
            if tensor.data_type != TensorProto.FLOAT:
                continue
            values = tensor_value(tensor)
            digest.update(f"{tensor.name} {'x'.join(map(str, values.shape))}\n".encode())
            digest.update(values.astype("<f4").tobytes())
        return digest.hexdigest()

    def reference(self, value_range: float) -> ReferenceNetwork:
        """The network as onnxruntime runs it without rewrites, on images in [0, 1].

        Args:
            value_range: The network's own range is [0, value_range].
        """

        def run(lr_nhwc: Float32Array) -> Float32Array:
            _, height, width, _ = lr_nhwc.shape
            lr_nchw = np.ascontiguousarray(lr_nhwc.transpose(0, 3, 1, 2)) * np.float32(value_range)
            with self.errors(height, width):
                session = self._session(height, width)
                (hr_nchw,) = session.run(None, lr_nchw)
            hr_nhwc: Float32Array = hr_nchw.astype(np.float32).transpose(0, 2, 3, 1)
            return hr_nhwc / np.float32(value_range)

        return run

    def errors(self, height: int, width: int) -> AbstractContextManager[None]:
        """Name the file and the size in errors about its graph.

        Raises:
            OnnxFileError: In place of a ConversionError, which names no file.
        """
        from converters.onnx_graph.native import named_errors

        return named_errors(f"{self.path} at {height}x{width}", OnnxFileError, _ADVICE)

    def _session(self, height: int, width: int) -> "Session":
        """A session of the file itself; a file of one size gets that size set."""
        key = (0, 0) if self.is_open else (height, width)
        if key not in self._sessions:
            self._sessions[key] = _untouched(self.model, None if self.is_open else key)
        return self._sessions[key]


def read_onnx(path: Path) -> OnnxFile:
    """Read an ONNX file and refuse what cannot be converted.

    Raises:
        OnnxFileError: It is missing, no ONNX, lacks its external data, or its network has another
            number of inputs or outputs, other layouts, types, domains or opsets.
    """
    from converters.onnx_graph import ends
    from converters.onnx_graph.half_precision import computes_in_half, in_float32
    from converters.onnx_graph.native import named_errors

    content = read_regular(path, OnnxFileError, limit=_MAX_BYTES)
    model = _parsed(path, content)
    _check_operators(path, model)
    form = _check_ends(path, model)
    widened = computes_in_half(model) or ends.has_half_ends(model)
    with named_errors(str(path), OnnxFileError, _ADVICE):
        if widened:
            model = in_float32(ends.with_float32_ends(model))
        if form.channels_last:
            model = ends.with_channels_first(model)
        if form.channels == 1:
            scale = _scale(path, model, form.height or _TRIED, form.width or _TRIED)
            model = ends.with_colour(model, scale)
    sha256 = hashlib.sha256(content).hexdigest()
    return OnnxFile(path, sha256, model, form.height, form.width, widened, form.channels == 1)


def _scale(path: Path, model: "onnx.ModelProto", height: int, width: int) -> int:
    """The factor by which a network of one channel enlarges, found by running it once."""
    session = _untouched(model, (height, width))
    (hr_nchw,) = session.run(None, np.full((1, 1, height, width), 0.5, np.float32))
    scale = hr_nchw.shape[2] // height if hr_nchw.ndim == 4 else 0
    if scale < 1 or hr_nchw.shape != (1, 1, scale * height, scale * width):
        raise OnnxFileError(
            f"{path} makes {list(hr_nchw.shape)} of [1, 1, {height}, {width}], allowed [1, 1, "
            "scale x height, scale x width]"
        )
    return scale


def _parsed(path: Path, content: bytes) -> "onnx.ModelProto":
    """The model, its external weights loaded; onnxruntime checks the rest."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise OnnxFileError(
            f"{path} is no ONNX file, or truncated: it begins with {content[:16]!r}; {_ADVICE}"
        ) from error
    if not (model.ir_version and model.graph.node):
        what = "holds no operators" if content else "is empty"
        raise OnnxFileError(f"{path} is no ONNX file: it {what}; {_ADVICE}")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    # onnx raises whatever the entries that name the other files lead to.
    except Exception as error:
        raise OnnxFileError(
            f"{path} keeps weights in {', '.join(_external(model)) or 'other files'}, which cannot "
            "be read beside it; put them there, or export one file: torch.onnx.export(..., "
            "external_data=False)"
        ) from error
    return model


def _external(model: "onnx.ModelProto") -> list[str]:
    """Names of the files of external weights that were not loaded."""
    from onnx import TensorProto

    return sorted(
        {
            printable(entry.value)
            for tensor in model.graph.initializer
            if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data
            if entry.key == "location"
        }
    )


def _check_operators(path: Path, model: "onnx.ModelProto") -> None:
    """Refuse operators outside standard ONNX, and opsets that are not tested."""
    own = {(f.domain, f.name) for f in model.functions}
    third_party = sorted(
        {
            f"{n.domain}.{n.op_type}"
            for n in [*model.graph.node, *(n for f in model.functions for n in f.node)]
            if n.domain not in _STANDARD and (n.domain, n.op_type) not in own
        }
    )
    if third_party:
        raise OnnxFileError(
            f"{path} holds {printable(', '.join(third_party))}, allowed operators of standard "
            "ONNX; export it anew, before any runtime optimised or quantised it"
        )
    versions = [o.version for o in model.opset_import if o.domain in _STANDARD]
    if not versions or not OPSETS[0] <= max(versions) <= OPSETS[1]:
        raise OnnxFileError(
            f"{path} is of opset {max(versions, default=0)}, allowed {OPSETS[0]} to {OPSETS[1]}; "
            "export it with torch.onnx.export(..., opset_version=17)"
        )


@dataclass(frozen=True)
class _Form:
    """Of a network's input.

    Attributes:
        channels: 3 (RGB) or 1 (luma).
        height: Rows; None where they are open.
        width: Columns, likewise.
        channels_last: Whether it is N x H x W x C.
    """

    channels: int
    height: int | None
    width: int | None
    channels_last: bool


def _check_ends(path: Path, model: "onnx.ModelProto") -> _Form:
    """Check input and output; return the input's form."""
    weights = {i.name for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        names = [i.name for i in inputs], [o.name for o in model.graph.output]
        raise OnnxFileError(
            f"{path} has inputs {names[0]} and outputs {names[1]}, allowed one of each, an image"
        )
    for what, end in (("input", inputs[0]), ("output", model.graph.output[0])):
        kind = end.type.tensor_type
        if kind.elem_type not in _FLOATS:
            name = _type_name(kind.elem_type)
            raise OnnxFileError(
                f"{path}: {what} {printable(end.name)} is {name}, allowed float32 and float16; "
                "export the network in it"
            )
    dims = inputs[0].type.tensor_type.shape.dim
    sizes = [d.dim_value if d.dim_value > 0 else None for d in dims]  # some write -1 for open
    if len(sizes) == 4 and sizes[0] in (None, 1):
        if sizes[1] in _CHANNELS:
            return _Form(sizes[1], sizes[2], sizes[3], channels_last=False)
        if sizes[3] in _CHANNELS:
            return _Form(sizes[3], sizes[1], sizes[2], channels_last=True)
        if sizes[1] is None:
            return _Form(3, sizes[2], sizes[3], channels_last=False)
    shown = [d.dim_value or d.dim_param or "?" for d in dims]
    raise OnnxFileError(
        f"{path}: input {printable(inputs[0].name)} has shape {shown}, allowed [1, 3, height, "
        f"width] or [1, height, width, 3]: RGB, or luma with 1 in place of 3, batch 1; {_ADVICE}"
    )


def _type_name(number: int) -> str:
    from onnx import TensorProto

    if not number:
        return "no tensor"
    known = number in TensorProto.DataType.values()
    return TensorProto.DataType.Name(number).lower() if known else f"of unknown type {number}"


def _untouched(model: "onnx.ModelProto", size: tuple[int, int] | None) -> "Session":
    """A session without onnxruntime's rewrites, which the pass `clean` applies."""
    from converters.onnx_graph.native import Session
    from converters.passes.clean import with_size

    return Session(with_size(model, *size) if size else model, rewrite=False)
