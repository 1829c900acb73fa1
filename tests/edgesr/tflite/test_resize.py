"""A file for another size of its input: what it computes is what the network computes there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesr.errors import ModelFileError, SizeError
from edgesr.runtime.integrity import check_integrity
from edgesr.runtime.session import Backend, open_model
from edgesr.tflite import resize as resizing
from edgesr.tflite.resize import check_memory, fits_any_size, read_work, resize
from edgesr.weights.bundled import shipped_folder
from helpers.small_net import SmallNet
from helpers.tflite_builder import TfliteBuilder, conv_options, options, sr_model

_NETS = {
    "plain": SmallNet(2, 2),
    "x3": SmallNet(3, 1),
    "heeds all pixels": SmallNet(2, 2, whole_image=True),
    "halves": SmallNet(2, 1, halvings=1),
    "quarters": SmallNet(1, 1, halvings=2, whole_image=True),
}


@pytest.mark.parametrize("backend", [Backend.CPU, Backend.CPU_FP16])
@pytest.mark.parametrize("size", [(16, 24), (40, 20), (4, 8), (64, 4)], ids=str)
@pytest.mark.parametrize("net", list(_NETS))
def test_a_resized_file_computes_the_network(
    tmp_path: Path, net: str, size: tuple[int, int], backend: Backend
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(_NETS[net].tflite(16, 24))
    lr_hwc = np.random.RandomState(2).rand(*size, 3).astype(np.float32)
    runner = open_model(path, backend, threads=1, size=size)
    assert runner.shape.lr_nhwc == (1, *size, 3)
    error = np.abs(runner.run(lr_hwc[None])[0] - _NETS[net].apply(lr_hwc))
    limit = 2e-6 if backend is Backend.CPU else 5e-3
    assert error.max() < limit, f"off by {error.max():.3g} at {error.argmax()} of {error.shape}"


@pytest.mark.parametrize("net", list(_NETS))
def test_what_a_resized_file_states_is_what_it_computes(net: str) -> None:
    content = _NETS[net].tflite(16, 24)
    check_integrity(resize(content, 28, 36).content)
    assert resize(content, 16, 24).content == content


def test_a_file_is_resized_there_and_back_to_the_bit() -> None:
    folder = shipped_folder()
    assert folder is not None
    for path in folder.glob("imdn-rtc*.tflite"):
        content = path.read_bytes()
        other = resize(content, 33, 47).content
        check_integrity(other)
        assert other != content
        assert resize(other, 720, 480).content == content


def test_constants_behind_dequantize_keep_their_shapes() -> None:
    content = sr_model(6, 8, half=True)
    check_integrity(resize(content, 9, 5).content)


# What fits one size only ----------------------------------------------------------------------


def _reshaped(made: TfliteBuilder, lr: int, hr: int) -> None:
    flat = made.tensor([1, 8 * 12 * 3])
    shape = made.constant(np.array([1, 8 * 12 * 3], np.int32))
    back = made.constant(np.array([1, 8, 12, 3], np.int32))
    made.operator("RESHAPE", [lr, shape], [flat], options("ReshapeOptions"))
    made.operator("RESHAPE", [flat, back], [hr], options("ReshapeOptions"))


def _summed(made: TfliteBuilder, lr: int, hr: int) -> None:
    """The mean by the number of pixels, which is a constant."""
    total, mean = made.tensor([1, 1, 1, 3]), made.tensor([1, 1, 1, 3])
    axes, share = (made.constant(v) for v in (np.array([1, 2], np.int32), np.float32([1 / 96])))
    made.operator("SUM", [lr, axes], [total], options("ReducerOptions", keepDims=True))
    made.operator("MUL", [total, share], [mean], options("MulOptions"))
    made.operator("ADD", [lr, mean], [hr], options("AddOptions"))


def _in_one_number(made: TfliteBuilder, lr: int, hr: int) -> None:
    """The sum over all of it, without a dimension."""
    total = made.tensor([])
    axes = made.constant(np.array([0, 1, 2, 3], np.int32))
    made.operator("SUM", [lr, axes], [total], options("ReducerOptions", keepDims=False))
    made.operator("ADD", [lr, total], [hr], options("AddOptions"))


def _with_a_map(made: TfliteBuilder, lr: int, hr: int) -> None:
    made.operator(
        "MUL", [lr, made.constant(np.ones((1, 8, 12, 3), "f4"))], [hr], options("MulOptions")
    )


def _cut(made: TfliteBuilder, lr: int, hr: int) -> None:
    """The whole image, by its size."""
    begin, size = (made.constant(np.array(v, np.int32)) for v in ([0, 0, 0, 0], [1, 8, 12, 3]))
    made.operator("SLICE", [lr, begin, size], [hr], options("SliceOptions"))


def _cut_with_strides(made: TfliteBuilder, lr: int, hr: int) -> None:
    bounds = ([0, 0, 0, 0], [1, 8, 12, 3], [1, 1, 1, 1])
    constants = [made.constant(np.array(v, np.int32)) for v in bounds]
    made.operator("STRIDED_SLICE", [lr, *constants], [hr], options("StridedSliceOptions"))


def _resized(made: TfliteBuilder, lr: int, hr: int) -> None:
    size = made.constant(np.array([8, 12], np.int32))
    made.operator("RESIZE_BILINEAR", [lr, size], [hr], options("ResizeBilinearOptions"))


def _pooled(made: TfliteBuilder, lr: int, hr: int) -> None:
    mean: Any = made.tensor([1, 1, 1, 3])
    window = options("Pool2DOptions", filterHeight=8, filterWidth=12, strideH=8, strideW=12)
    made.operator("AVERAGE_POOL_2D", [lr], [mean], window)
    made.operator("ADD", [lr, mean], [hr], options("AddOptions"))


_BUILT_IN = {
    "RESHAPE": _reshaped,
    "SUM": _summed,
    "MUL": _with_a_map,
    "SLICE": _cut,
    "STRIDED_SLICE": _cut_with_strides,
    "RESIZE_BILINEAR": _resized,
    "AVERAGE_POOL_2D": _pooled,
}


def test_a_sum_in_one_number_is_named() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    _in_one_number(made, lr, hr)
    with pytest.raises(ModelFileError, match=r"SUM .* makes one number"):
        resize(made.finish([lr], [hr]), 9, 12, "a.tflite")


@pytest.mark.parametrize("operator", list(_BUILT_IN))
def test_an_operator_that_fits_one_size_is_named(operator: str) -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    _BUILT_IN[operator](made, lr, hr)
    content = made.finish([lr], [hr])
    check_integrity(content)
    with pytest.raises(ModelFileError, match=rf"a.tflite cannot .* 9x12 as a whole: {operator} "):
        resize(content, 9, 12, "a.tflite")
    assert not fits_any_size(content)
    with pytest.raises(ModelFileError, match=f"runs at its own size only: {operator} "):
        read_work(content)


def _with_constant_convolution(made: TfliteBuilder, hr: int) -> None:
    """A convolution that reads constants alone, as a damaged file may hold."""
    arrays = (np.zeros((1, 8, 12, 3), "f4"), np.zeros((3, 1, 1, 3), "f4"), np.zeros(3, "f4"))
    made.operator("CONV_2D", [made.constant(a) for a in arrays], [hr], conv_options())


def test_an_output_that_does_not_depend_on_the_input_fits_one_size() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    _with_constant_convolution(made, hr)
    content = made.finish([lr], [hr])
    with pytest.raises(ModelFileError, match="its output does not depend on its input"):
        resize(content, 9, 12, "a.tflite")
    with pytest.raises(ModelFileError, match="its output does not depend on its input"):
        read_work(content)


def test_a_convolution_of_constants_is_no_work() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    made.operator("ABS", [lr], [hr], options("AbsOptions"))
    _with_constant_convolution(made, made.tensor([1, 8, 12, 3]))
    assert read_work(made.finish([lr], [hr])).macs_per_pixel == 0


def test_a_convolution_by_a_flat_kernel_is_refused() -> None:
    """No converter writes that, and no runtime runs it; a file from elsewhere may hold it."""
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    kernel, bias = made.constant(np.ones((3, 27), "f4")), made.constant(np.zeros(3, "f4"))
    convolution = options("Conv2DOptions", strideH=1, strideW=1)
    made.operator("CONV_2D", [lr, kernel, bias], [hr], convolution)
    with pytest.raises(ModelFileError, match=r"CONV_2D .* has inputs that do not fit it"):
        resize(made.finish([lr], [hr]), 9, 12)


def test_a_repeated_border_fits_every_size() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 9, 13, 3], name="hr")
    tall, row, column = (
        made.tensor([1, 9, 12, 3]),
        made.tensor([1, 1, 12, 3]),
        made.tensor([1, 9, 1, 3]),
    )
    for source, strip, begin, end, masks in (
        (lr, row, [0, 0, 0, 0], [0, 1, 0, 0], {"beginMask": 15, "endMask": 13}),
        (tall, column, [0, 0, -1, 0], [0, 0, 0, 0], {"beginMask": 11, "endMask": 15}),
    ):
        bounds = [made.constant(np.array(v, np.int32)) for v in (begin, end, [1, 1, 1, 1])]
        cut = options("StridedSliceOptions", **masks)
        made.operator("STRIDED_SLICE", [source, *bounds], [strip], cut)
        if source == lr:
            joined = options("ConcatenationOptions", axis=1)
            made.operator("CONCATENATION", [row, lr], [tall], joined)
    made.operator("CONCATENATION", [tall, column], [hr], options("ConcatenationOptions", axis=2))
    content = made.finish([lr], [hr])
    check_integrity(content)
    check_integrity(resize(content, 5, 9).content)
    assert fits_any_size(content)


def test_blocks_of_pixels_fit_every_size_that_is_a_multiple_of_theirs() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    blocks = made.tensor([1, 4, 6, 12])
    made.operator("SPACE_TO_DEPTH", [lr], [blocks], options("SpaceToDepthOptions", blockSize=2))
    made.operator("DEPTH_TO_SPACE", [blocks], [hr], options("DepthToSpaceOptions", blockSize=2))
    content = made.finish([lr], [hr])
    check_integrity(resize(content, 10, 6).content)
    with pytest.raises(ModelFileError, match="takes blocks of 2x2 pixels alone"):
        resize(content, 9, 12)


def test_a_mirrored_border_fits_every_size() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    padded = made.tensor([1, 10, 14, 3])
    pads = made.constant(np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    made.operator("MIRROR_PAD", [lr, pads], [padded], options("MirrorPadOptions"))
    kernel, bias = made.constant(np.ones((3, 3, 3, 3), "f4")), made.constant(np.zeros(3, "f4"))
    made.operator(
        "CONV_2D",
        [padded, kernel, bias],
        [hr],
        options("Conv2DOptions", padding=1, strideH=1, strideW=1),
    )
    content = made.finish([lr], [hr])
    assert fits_any_size(content)
    check_integrity(resize(content, 5, 31).content)


def test_cuts_along_the_channels_fit_every_size() -> None:
    made = TfliteBuilder()
    lr, hr = made.tensor([1, 8, 12, 3], name="lr"), made.tensor([1, 8, 12, 3], name="hr")
    parts = [made.tensor([1, 8, 12, 2]), made.tensor([1, 8, 12, 1])]
    begin, size = (made.constant(np.array(v, np.int32)) for v in ([0, 0, 0, 0], [-1, -1, -1, 2]))
    made.operator("SLICE", [lr, begin, size], parts[:1], options("SliceOptions"))
    bounds = ([0, 0, 0, 2], [0, 0, 0, 3], [1, 1, 1, 1])
    constants = [made.constant(np.array(v, np.int32)) for v in bounds]
    masks = options("StridedSliceOptions", beginMask=7, endMask=7)
    made.operator("STRIDED_SLICE", [lr, *constants], parts[1:], masks)
    made.operator("CONCATENATION", parts, [hr], options("ConcatenationOptions", axis=3))
    check_integrity(resize(made.finish([lr], [hr]), 5, 31).content)


def test_more_memory_than_is_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    resized = resize(SmallNet().tflite(16, 24), 400, 300)
    activations = 4 * 400 * 300 * (12 + 12)
    assert activations < resized.needed_bytes < 10 * activations
    check_memory(resized, 400, 300)
    monkeypatch.setattr(resizing, "free_bytes", lambda: 1e6)
    with pytest.raises(SizeError, match=r"400x300 pixels as a whole needs about .* by tiles"):
        check_memory(resized, 400, 300)
