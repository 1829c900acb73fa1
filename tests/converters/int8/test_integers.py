"""Integer files: exact help before rounding, integers alone inside, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from converters.int8.equalise import equalise
from converters.int8.graph import IntegerGraph, read_graph
from converters.int8.grids import Grid, choose, noise_gains, observe
from converters.int8.images import calibration_images
from converters.int8.quantise import COMPENSATE, STEPS, Quantised, quantise
from converters.int8.write import write_integers
from converters.spec import Io
from converters.tflite.backend import pack
from edgesr.common.litert import litert_schema
from edgesr.errors import ConversionError, ImageError
from edgesr.runtime.session import Backend, load_content
from edgesr.tflite.model import view
from edgesr.tflite.resize import resize
from edgesr.tflite.validation import check_structure
from tflite_models import __file__ as models

_SIDE = 32
_FILE = Path(models).parent / "imdn-rtc_x2_720x480_fp32.tflite"


@pytest.fixture(scope="module")
def content() -> bytes:
    return resize(_FILE.read_bytes(), _SIDE, _SIDE).content


@pytest.fixture(scope="module")
def graph(content: bytes) -> IntegerGraph:
    return read_graph(view(content))


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return calibration_images(_SIDE, _SIDE, None)[14:18]


@pytest.fixture(scope="module")
def quantised(graph: IntegerGraph, images: list[np.ndarray]) -> Quantised:
    return quantise(graph, images)


def _nchw(images: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(i.transpose(0, 3, 1, 2).astype(np.float64)) for i in images]


def _exact(graph: IntegerGraph, image: np.ndarray) -> np.ndarray:
    result = graph.run(_nchw([image])[0], lambda _, value: value)
    return result.numpy().transpose(0, 2, 3, 1)


def _written(content: bytes, made: Quantised, io: Io = "float") -> bytes:
    return write_integers(content, made.graph, made.grids, made.weights, io)


def _run(content: bytes, image: np.ndarray) -> np.ndarray:
    return load_content(content, Path("f.tflite"), Backend.CPU, 1).run(image).copy()


def _psnr(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((got - np.clip(wanted, 0, 1)) ** 2)))


def test_the_graph_computes_what_litert_does(
    graph: IntegerGraph, content: bytes, images: list[np.ndarray]
) -> None:
    np.testing.assert_allclose(_run(content, images[0]), _exact(graph, images[0]), atol=1e-5)


def test_equalising_is_exact_and_levels_the_channels(
    graph: IntegerGraph, images: list[np.ndarray]
) -> None:
    seen = observe(graph, _nchw(images))
    lowest, highest = ({t: getattr(s, w) for t, s in seen.items()} for w in ("lowest", "highest"))
    level = equalise(graph, lowest, highest, noise_gains(graph, _nchw(images)))
    np.testing.assert_allclose(_exact(level, images[3]), _exact(graph, images[3]), atol=1e-9)
    activation = next(op.output for op in graph.ops if op.kind == "LEAKY_RELU")
    before, after = (
        s[activation].highest.clip(1e-6) for s in (seen, observe(level, _nchw(images)))
    )
    # How far the channels are from the one grid that they share.
    unused = [float(np.log2(h.max() / h).mean()) for h in (before, after)]
    assert unused[1] < unused[0] - 0.5, unused


def test_only_integers_lie_between_input_and_output(content: bytes, quantised: Quantised) -> None:
    kinds: dict[Io, str] = {"float": "DEQUANTIZE", "uint8": "QUANTIZE"}
    for io, last in kinds.items():
        made = _written(content, quantised, io)
        check_structure(made)
        operators = view(made).operators
        assert (operators[0].name, operators[-1].name) == ("QUANTIZE", last)
        inner = [t for o in operators[1:-1] for t in o.tensors]
        assert {t.dtype for t in inner} <= {"int8", "int32"}
        assert all(t.quantized for t in inner if t.dtype == "int8")
        assert len(made) < 0.75 * len(content)


def test_grey_levels_give_the_image_that_floats_give(
    content: bytes, quantised: Quantised, images: list[np.ndarray]
) -> None:
    floats, levels = _written(content, quantised), _written(content, quantised, "uint8")
    np.testing.assert_allclose(_run(floats, images[0]), _run(levels, images[0]), atol=1e-6)


def test_the_file_is_near_the_network_and_compensation_brings_it_nearer(
    graph: IntegerGraph, content: bytes, images: list[np.ndarray], quantised: Quantised
) -> None:
    plain = quantise(graph, images, [s for s in STEPS if s != COMPENSATE])
    scores = [
        np.mean([
            _psnr(_run(_written(content, m), i), _exact(graph, i))
            for i in images
        ])
        for m in (plain, quantised)
    ]  # fmt: skip
    assert scores[1] > scores[0] + 0.5, scores
    assert scores[1] > 28, scores


def test_the_same_images_give_the_same_file(
    graph: IntegerGraph, content: bytes, images: list[np.ndarray], quantised: Quantised
) -> None:
    again = quantise(graph, images)
    assert _written(content, quantised) == _written(content, again)


def test_an_operator_without_an_integer_form_is_named(content: bytes) -> None:
    schema = litert_schema()
    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    for code in model.operatorCodes:
        if code.builtinCode == schema.BuiltinOperator.LEAKY_RELU:
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ELU
    with pytest.raises(ConversionError, match=r"operator ELU .* has no integer kernel"):
        read_graph(view(pack(model)))


def test_a_tensor_that_never_changes_is_refused(
    graph: IntegerGraph, images: list[np.ndarray]
) -> None:
    head = graph.ops[0]
    silent = graph.with_constants({i: np.zeros_like(graph.constants[i]) for i in head.inputs[1:]})
    with pytest.raises(ConversionError, match="collapses: on the calibration images"):
        choose(silent, observe(silent, _nchw(images)))


@pytest.mark.parametrize("value", [0, 255])
def test_images_that_are_all_alike_are_refused(tmp_path: Path, value: int) -> None:
    for name in "abc":
        Image.new("RGB", (80, 80), (value,) * 3).save(tmp_path / f"{name}.png")
    with pytest.raises(ImageError, match="all alike"):
        calibration_images(_SIDE, _SIDE, tmp_path)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        calibration_images(_SIDE, _SIDE, tmp_path)


def test_zero_is_a_point_of_every_grid() -> None:
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (-1e-3, 1e-3)):
        grid = Grid.of_range(low, high)
        assert float(grid.rounded(torch.zeros(1))) == 0.0
        assert -128 <= grid.zero <= 127
