"""Parity: the measurements, the gates, and wrong files refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from converters.manifest import InputParity
from converters.parity.gates import (
    DEFAULT_BACKENDS,
    GATES,
    Gate,
    bicubic,
    compare,
    pooled_psnr,
    with_rounding,
)
from converters.parity.test_inputs import (
    InputImage,
    calibration_inputs,
    parity_inputs,
    reduce_contrast,
    rounding_of,
)
from converters.parity.verify import ParityGateError, verify
from edgesr.errors import ImageError, ParityError
from edgesr.runtime.session import Backend
from helpers.tflite_builder import TfliteBuilder, conv_options, options

HEIGHT, WIDTH = 24, 16


def _input(name: str = "x") -> InputImage:
    rng = np.random.default_rng(1)
    return InputImage(name, rng.random((1, HEIGHT, WIDTH, 3), dtype=np.float32))


def _parity(**changes: object) -> InputParity:
    values: dict[str, object] = {
        "input": "x",
        "contrast": 1.0,
        "periodic": False,
        "max_abs": 1e-5,
        "max_grey_levels": 1e-5 * 255,
        "p99_9": 1e-5,
        "psnr_db": 100.0,
        "residual_psnr_db": 90.0,
        "finite": True,
    }
    return InputParity.model_validate(values | changes)


class TestCompare:
    def test_measures_a_known_difference(self) -> None:
        wanted = np.zeros((1, 10, 10, 3), np.float32)
        got = wanted.copy()
        got[0, 3, 4, 1] = 0.5
        base = wanted.copy()
        base[0, 0, 0, 0] = -2.0
        parity = compare(_input(), got, wanted, base)
        assert parity.max_abs == 0.5
        assert parity.max_grey_levels == pytest.approx(127.5)
        assert parity.psnr_db == pytest.approx(10 * np.log10(300 / 0.25))
        assert parity.residual_psnr_db == pytest.approx(10 * np.log10(4 * 300 / 0.25))
        assert parity.p99_9 == 0.5  # the 300th of 300 values

    def test_equal_outputs_have_no_psnr(self) -> None:
        same = np.ones((1, 4, 4, 3), np.float32)
        assert compare(_input(), same, same, same * 0).psnr_db is None

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
    def test_values_that_are_no_numbers_are_seen(self, bad: float) -> None:
        wanted = np.zeros((1, 4, 4, 3), np.float32)
        got = wanted.copy()
        got[0, 1, 2, 0] = bad
        parity = compare(_input(), got, wanted, wanted)
        assert not parity.finite
        assert Gate(max_abs=1e9).failures([parity]) == ["x: NaN or infinity"]

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf], ids=str)
    def test_values_that_are_no_numbers_are_infinitely_far_from_all(self, bad: float) -> None:
        wanted = np.zeros((1, 4, 4, 3), np.float32)
        got = np.full_like(wanted, bad)
        for ours, theirs in ((got, wanted), (wanted, got), (got, got)):
            parity = compare(_input(), ours, theirs, wanted, on_cpu=got)
            assert (parity.max_abs, parity.p99_9, parity.max_abs_to_cpu) == (np.inf,) * 3
            assert (parity.psnr_db, parity.residual_psnr_db) == (-np.inf, -np.inf)
            assert Gate(max_abs=1e9).failures([parity])

    @pytest.mark.filterwarnings("error")
    def test_differences_beyond_float32_are_measured(self) -> None:
        got = np.full((1, 4, 4, 3), 3e38, np.float32)
        parity = compare(_input(), got, -got, got * 0, on_cpu=-got)
        assert parity.finite
        assert parity.max_abs == parity.p99_9 == parity.max_abs_to_cpu == pytest.approx(6e38)
        assert parity.psnr_db == pytest.approx(-20 * np.log10(6e38))
        assert Gate(max_abs=1e-4).failures([parity]) == ["x: max abs 6e+38, allowed 0.0001"]


class TestGate:
    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({}, None),
            ({"max_abs": 2e-2}, "max abs 0.02, allowed 0.01"),
            ({"psnr_db": 59.0}, "x: PSNR 59.00 dB, allowed 60"),
            ({"psnr_db": 59.0, "periodic": True}, "all inputs together: PSNR 59.00 dB"),
            ({"psnr_db": None}, None),
            ({"max_abs": float("nan")}, "max abs nan"),
        ],
        ids=["inside", "max-abs", "psnr", "pooled-psnr", "equal", "nan"],
    )
    def test_names_what_is_out_of_bounds(
        self, changes: dict[str, object], reason: str | None
    ) -> None:
        failures = Gate(max_abs=1e-2, psnr_db=60).failures([_parity(**changes)])
        assert (reason is None and not failures) or any(reason in text for text in failures)

    def test_a_poor_periodic_input_may_be_outweighed_but_no_other(self) -> None:
        fine = [_parity(input=str(i)) for i in range(7)]
        gate = Gate(psnr_db=55.0)
        assert not gate.failures([*fine, _parity(psnr_db=50.0, periodic=True)])
        assert gate.failures([*fine, _parity(psnr_db=50.0)])
        assert gate.failures([*fine, _parity(psnr_db=40.0, periodic=True)])

    def test_a_synthetic_input_is_excused_by_what_rounding_alone_does(self) -> None:
        gate = Gate(max_abs=1e-4, psnr_db=55.0, max_abs_to_cpu=1e-4, rounding=8)
        poor = {"psnr_db": 40.0, "max_abs": 0.1, "max_abs_to_cpu": 0.1}
        enough = {"fp32_rms": 0.01 / 7.9, "fp32_max": 0.1 / 7.9}
        fine = _parity(natural=True)
        assert gate.failures([fine, _parity(**poor, **enough)]) == []
        assert "max abs 0.1" in gate.failures([fine, _parity(**poor, fp32_rms=0.01 / 7.9)])[0]
        assert gate.failures([fine, _parity(**poor, **enough | {"fp32_max": 0.1 / 8.1})])
        assert (
            "PSNR" in gate.failures([fine, _parity(**poor, **enough | {"fp32_rms": 0.01 / 8.1})])[0]
        )
        assert gate.failures([fine, _parity(**poor)])

    def test_synthetic_inputs_do_not_outweigh_natural_ones(self) -> None:
        poor = _parity(psnr_db=40.0, periodic=True)
        assert Gate(psnr_db=55.0).failures([_parity(natural=True), poor]) == []
        poor = _parity(psnr_db=54.0, natural=True, periodic=True)
        (reason,) = Gate(psnr_db=55.0).failures([poor, _parity(), _parity()])
        assert reason == "all natural images together: PSNR 54.00 dB, allowed 55"

    def test_pooling_averages_squares_and_not_decibels(self) -> None:
        pooled = pooled_psnr([_parity(psnr_db=40.0), _parity(psnr_db=None)])
        assert pooled == pytest.approx(40.0 + 10 * np.log10(2))

    def test_the_gates_are_those_that_are_promised(self) -> None:
        half = Gate(psnr_db=55.0, rounding=8192)
        assert {
            "fp32": {
                Backend.CPU: Gate(max_abs=1e-4, rounding=8),
                Backend.CPU_FP16: half,
                Backend.GPU: Gate(max_abs=1e-4, max_abs_to_cpu=1e-4, rounding=8),
                Backend.GPU_FP16: half,
            },
            "fp16": {
                Backend.CPU: Gate(max_abs=1e-2, psnr_db=60.0),
                Backend.CPU_FP16: half,
                Backend.GPU: Gate(max_abs=1e-2, psnr_db=60.0, max_abs_to_cpu=1e-4),
                Backend.GPU_FP16: half,
            },
        } == GATES
        assert DEFAULT_BACKENDS == {
            "fp32": (Backend.CPU,),
            "fp16": (Backend.CPU, Backend.CPU_FP16),
        }


def _nearest_x2(path: Path, gain: float = 1.0, shuffled: tuple[int, ...] = (0, 1, 2)) -> Path:
    """A `.tflite` that repeats every pixel twice each way, times `gain`, colours in any order."""
    made = TfliteBuilder()
    source = made.tensor([1, HEIGHT, WIDTH, 3], name="lr")
    kernel = np.zeros((12, 1, 1, 3), np.float32)
    for output in range(12):
        kernel[output, 0, 0, shuffled[output % 3]] = gain
    weights = [made.constant(kernel), made.constant(np.zeros(12, np.float32))]
    middle = made.tensor([1, HEIGHT, WIDTH, 12])
    made.operator("CONV_2D", [source, *weights], [middle], conv_options())
    target = made.tensor([1, 2 * HEIGHT, 2 * WIDTH, 3], name="hr")
    made.operator("DEPTH_TO_SPACE", [middle], [target], options("DepthToSpaceOptions", blockSize=2))
    path.write_bytes(made.finish([source], [target]))
    return path


def _reference(lr_nhwc: np.ndarray) -> np.ndarray:
    return lr_nhwc.repeat(2, axis=1).repeat(2, axis=2)


class TestVerify:
    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_the_same_function_passes_on_every_backend(
        self, tmp_path: Path, precision: str
    ) -> None:
        file = _nearest_x2(tmp_path / "a.tflite")
        (report,) = verify({file: precision}, _reference, [_input()])
        assert [b.backend for b in report.backends] == [
            b.value for b in DEFAULT_BACKENDS[precision]
        ]
        assert not report.failures

    @pytest.mark.parametrize(
        ("gain", "shuffled"),
        [(1.0002, (0, 1, 2)), (1.0, (2, 1, 0)), (float("nan"), (0, 1, 2))],
        ids=["slightly-bright", "colours-swapped", "nan"],
    )
    def test_another_function_is_an_error_that_carries_the_measurements(
        self, tmp_path: Path, gain: float, shuffled: tuple[int, ...]
    ) -> None:
        file = _nearest_x2(tmp_path / "a.tflite", gain, shuffled)
        with pytest.raises(
            ParityGateError, match=r"not equal to PyTorch: a\.tflite on cpu"
        ) as caught:
            verify({file: "fp32"}, _reference, [_input("photo")])
        assert caught.value.reports[0].backends[0].inputs[0].input == "photo"

    def test_every_failing_file_is_measured_before_the_error(self, tmp_path: Path) -> None:
        good = _nearest_x2(tmp_path / "good.tflite")
        bad = _nearest_x2(tmp_path / "bad.tflite", 0.5)
        with pytest.raises(ParityGateError) as caught:
            verify({bad: "fp32", good: "fp32"}, _reference, [_input(), _input("y")])
        assert [len(r.backends[0].inputs) for r in caught.value.reports] == [2, 2]
        assert [bool(r.failures) for r in caught.value.reports] == [True, False]

    def test_another_scale_is_named(self, tmp_path: Path) -> None:
        file = _nearest_x2(tmp_path / "a.tflite")
        with pytest.raises(ParityError, match="it is another one, or of another scale"):
            verify({file: "fp32"}, lambda lr: lr.repeat(3, 1).repeat(3, 2), [_input()])


class TestInputsOfAnotherSize:
    def test_all_but_the_first_are_small_where_that_is_asked_for(self) -> None:
        first, *others = parity_inputs(40, 56, None, small=(16, 24))
        assert first.size == (40, 56)
        assert {image.size for image in others} == {(16, 24)}

    def test_the_file_runs_at_the_size_of_each_input(self, tmp_path: Path) -> None:
        file = _nearest_x2(tmp_path / "a.tflite")
        inputs = parity_inputs(HEIGHT, WIDTH, None, small=(HEIGHT - 2, WIDTH + 3))
        (report,) = verify({file: "fp32"}, _reference, inputs)
        sizes = [row.size for row in report.backends[0].inputs]
        assert sizes == [(HEIGHT, WIDTH), *[(HEIGHT - 2, WIDTH + 3)] * 7]

    def test_what_is_wrong_at_the_small_size_alone_fails_the_gate(self, tmp_path: Path) -> None:
        file = _nearest_x2(tmp_path / "a.tflite")
        inputs = parity_inputs(HEIGHT, WIDTH, None, small=(HEIGHT - 2, WIDTH))

        def network(lr_nhwc: np.ndarray) -> np.ndarray:
            return _reference(lr_nhwc) + (0.01 if lr_nhwc.shape[1] < HEIGHT else 0)

        with pytest.raises(ParityGateError, match=r"max abs 0\.01"):
            verify({file: "fp32"}, network, inputs)


class TestInputs:
    def test_hold_images_and_every_pattern(self) -> None:
        inputs = parity_inputs(HEIGHT, WIDTH, None)
        names = [p.name for p in inputs]
        patterns = ["noise", "constant 0", "constant 1", "checkerboard", "impulse"]
        assert names == ["dead leaves 1", "dead leaves 2", "test card", *patterns]
        assert [p.name for p in inputs if p.is_natural] == names[:2]
        periodic = [p.name for p in inputs if p.is_periodic]
        assert periodic == ["constant 0", "constant 1", "checkerboard"]
        for image in inputs:
            assert image.lr_nhwc.shape == (1, HEIGHT, WIDTH, 3), image.name
            assert image.lr_nhwc.dtype == np.float32
            assert 0.0 <= image.lr_nhwc.min() <= image.lr_nhwc.max() <= 1.0

    def test_scenes_go_on_in_large_inputs(self) -> None:
        for image in parity_inputs(40, 700, None):
            assert image.lr_nhwc.shape == (1, 40, 700, 3), image.name
        scene = parity_inputs(40, 700, None)[0].lr_nhwc
        assert np.array_equal(scene[:, :, 256:300], scene[:, :, 254:210:-1])

    def test_the_impulse_is_one_pixel_and_the_checkerboard_alternates(self) -> None:
        by_name = {i.name: i.lr_nhwc for i in parity_inputs(HEIGHT, WIDTH, None)}
        assert np.count_nonzero(by_name["impulse"].any(axis=-1)) == 1
        board = by_name["checkerboard"]
        assert (board[:, 1:] + board[:, :-1] == 1).all()
        assert (board[:, :, 1:] + board[:, :, :-1] == 1).all()

    def test_calibration_sees_other_photographs_and_other_noise(self, shared: Path) -> None:
        photos = shared / "train" / "photos"
        verification = parity_inputs(HEIGHT, WIDTH, photos)
        calibration = calibration_inputs(HEIGHT, WIDTH, photos, _reference)
        seen, unseen = (
            {p.name for p in s if ".jpg" in p.name} for s in (calibration, verification)
        )
        assert len(seen) == len(unseen) == 2
        assert not seen & unseen
        noise = [
            next(p.lr_nhwc for p in s if p.name == "noise") for s in (calibration, verification)
        ]
        assert not np.array_equal(*noise)

    def test_a_synthetic_inputs_contrast_is_reduced_until_the_network_keeps_its_range(self) -> None:
        def network(lr_nhwc: np.ndarray) -> np.ndarray:
            return 0.5 + 5.0 * (lr_nhwc - 0.5)

        board = next(p for p in parity_inputs(HEIGHT, WIDTH, None) if p.name == "checkerboard")
        reduced, wanted = reduce_contrast(board, network)
        assert reduced.contrast == 0.25
        assert (reduced.lr_nhwc.min(), reduced.lr_nhwc.max()) == (0.375, 0.625)
        np.testing.assert_array_equal(wanted, network(reduced.lr_nhwc))

    def test_a_photograph_keeps_its_contrast(self) -> None:
        photo = replace(_input(), is_natural=True)
        assert reduce_contrast(photo, lambda lr: lr * 1000)[0] is photo

    def test_an_input_is_left_as_it_is_where_less_contrast_does_not_help(self) -> None:
        image = _input()
        assert reduce_contrast(image, lambda lr: lr * np.float32("nan"))[0] is image
        assert reduce_contrast(image, lambda lr: lr + 5)[0] is image

    def test_a_photograph_is_turned_upright(self, tmp_path: Path) -> None:
        photo, exif = Image.new("L", (WIDTH, HEIGHT)), Image.Exif()
        photo.paste(255, (0, 0, WIDTH, HEIGHT // 2))  # white above
        exif[0x0112] = 3  # stored upside down
        photo.save(tmp_path / "a.png", exif=exif)
        upright = parity_inputs(HEIGHT, WIDTH, tmp_path)[0].lr_nhwc[0]
        assert upright[: HEIGHT // 2].max() == 0.0
        assert upright[HEIGHT // 2 :].min() == 1.0

    def test_a_folder_without_images_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no image")
        with pytest.raises(ImageError, match="holds no image"):
            parity_inputs(HEIGHT, WIDTH, tmp_path)

    def test_a_text_file_named_jpg_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_text("no image")
        with pytest.raises(ImageError, match=r"a\.jpg"):
            parity_inputs(HEIGHT, WIDTH, tmp_path)


def test_bicubic_keeps_a_constant_and_the_channels_apart() -> None:
    lr_nhwc = np.broadcast_to(np.float32([0.1, 0.5, 0.9]), (1, 6, 4, 3))
    np.testing.assert_allclose(
        bicubic(lr_nhwc, 12, 8), lr_nhwc[:, :1, :1].repeat(12, 1).repeat(8, 2), atol=1e-6
    )


class TestRounding:
    """A network that multiplies every difference asks for more than arithmetic can give."""

    @staticmethod
    def _steep(lr_nhwc: NDArray[np.float32]) -> NDArray[np.float32]:
        return (np.float32(2**12) * (lr_nhwc - np.float32(0.3))).repeat(2, 1).repeat(2, 2)

    def test_is_known_of_a_reference(self) -> None:
        image = _input()
        change = rounding_of(self._steep, image, self._steep(image.lr_nhwc))
        assert 2**12 * 2.0**-25 < np.abs(change).max() < 2**12 * 2.0**-22
        parity = with_rounding(_parity(), change)
        assert parity.fp32_rms is not None
        assert parity.fp32_max == pytest.approx(np.abs(change).max())
        assert 0 < parity.fp32_rms < parity.fp32_max

    def test_is_measured_where_a_synthetic_input_misses_its_gate(self, tmp_path: Path) -> None:
        """The reference differs from the file by what one step of FP16 would."""
        path = _nearest_x2(tmp_path / "nearest.tflite")
        step = 2.0**-15

        def reference(lr_nhwc: NDArray[np.float32]) -> NDArray[np.float32]:
            hr_nhwc = lr_nhwc.repeat(2, 1).repeat(2, 2)
            uneven = np.sign(np.sin(1e6 * hr_nhwc))
            return (hr_nhwc + step * uneven).astype(np.float32)

        noise = next(i for i in parity_inputs(HEIGHT, WIDTH, None) if i.name == "noise")
        (report,) = verify({path: "fp32"}, _reference, [noise])
        assert report.backends[0].inputs[0].fp32_max is None, "measured for nothing"
        bad = replace(noise, name="steep")
        with pytest.raises(ParityGateError, match="steep: max abs"):
            verify({path: "fp32"}, lambda lr: reference(lr) + np.float32(0.01), [bad])
        with pytest.raises(ParityGateError, match="steep: max abs") as failed:
            verify({path: "fp32"}, lambda lr: reference(lr) + np.float32(0.01),
                   [replace(bad, is_natural=True)])  # fmt: skip
        (parity,) = failed.value.reports[0].backends[0].inputs
        assert parity.natural
        assert parity.fp32_max is None, "a natural image is never excused"
