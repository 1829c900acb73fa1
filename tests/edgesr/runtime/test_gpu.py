"""Models on LiteRT's real GPU accelerator: what it computes, what it refuses, and how it fails."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edgesr.errors import (
    AcceleratorError,
    NoHalfPrecisionError,
)
from edgesr.runtime.gpu import GpuModel, GpuRefusalError, Shape, probe_device
from edgesr.runtime.session import Float32Array
from edgesr.runtime.vulkan import Driver
from helpers.gpu_models import HR, LR, SIZE, children, one_line, opened
from helpers.tflite_builder import TfliteBuilder, conv_options, options, sr_model

_ROOT = Path(__file__).parents[3]


def image(seed: int = 0, shape: Shape = LR) -> Float32Array:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def on_cpu(content: bytes, lr_nhwc: Float32Array) -> Float32Array:
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], lr_nhwc)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.usefixtures("vulkan_driver")
class TestRunning:
    @pytest.mark.parametrize("half_weights", [True, False], ids=["FP16 weights", "FP32 weights"])
    def test_it_equals_the_cpu_but_not_to_the_bit(self, half_weights: bool) -> None:
        content = sr_model(*SIZE, half=half_weights)
        with opened(content) as model:
            for seed in range(3):
                got, wanted = model.run(image(seed)), on_cpu(content, image(seed))
                error = np.abs(got - wanted)
                where = np.unravel_index(error.argmax(), error.shape)
                assert error.max() <= 1e-4, f"max abs {error.max():.3g} at {where}"
                assert error.max() > 0, "equal to the bit: it did not run on the GPU"

    def test_two_models_at_once_do_not_mix(self) -> None:
        other_lr: Shape = (1, 6, 8, 3)
        other_hr: Shape = (1, 18, 24, 3)
        first, second = sr_model(*SIZE), sr_model(6, 8, scale=3)
        with opened(first) as one, opened(second, other_lr, other_hr) as two:
            for seed in range(2):
                small = image(seed, other_lr)
                np.testing.assert_allclose(
                    one.run(image(seed)), on_cpu(first, image(seed)), atol=1e-4
                )
                np.testing.assert_allclose(two.run(small), on_cpu(second, small), atol=1e-4)

    def test_two_processes_at_once_run(self) -> None:
        code = (
            "import numpy as np; from edgesr.runtime.gpu import GpuModel\n"
            "from helpers.tflite_builder import sr_model\n"
            f"model = GpuModel('m', sr_model(*{SIZE}), {LR}, {HR}, half=False)\n"
            f"for _ in range(20): got = model.run(np.full({LR}, 0.5, np.float32))\n"
            "model.close(); print(float(got.sum()))"
        )
        environment = {**os.environ, "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'tests'}"}
        argv = [sys.executable, "-c", code]
        both = [
            subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        printed = [float(process.communicate(timeout=60)[0]) for process in both]
        wanted = float(on_cpu(sr_model(*SIZE), np.full(LR, 0.5, np.float32)).sum())
        assert printed == pytest.approx([wanted, wanted], abs=0.01)

    def test_a_image_of_another_size_is_refused(self) -> None:
        with opened() as model, pytest.raises(ValueError, match=r"got the shape \(1, 6, 8, 3\)"):
            model.run(image(0, (1, 6, 8, 3)))

    def test_closing_ends_the_process(self) -> None:
        before = children()
        model = opened()
        assert len(children() - before) == 1
        model.close()
        assert children() == before
        with pytest.raises(AcceleratorError, match=r"ended before running m\.tflite"):
            model.run(image())

    def test_the_environment_is_left_as_it_is(self) -> None:
        before = dict(os.environ)
        with opened() as model:
            model.run(image())
        assert dict(os.environ) == before


@pytest.mark.usefixtures("slow_driver")
class TestSwiftShader:
    def test_the_device_is_described(self, slow_driver: Driver) -> None:
        device = probe_device()
        assert "SwiftShader" in device.adapter
        assert (device.api, device.software, device.precision) == ("Vulkan", True, "fp32")
        assert device.driver == str(slow_driver)
        assert str(device) == f"{device.adapter} (software device, Vulkan, FP32 arithmetic)"

    def test_fp16_is_not_claimed(self) -> None:
        """The accelerator itself takes the wish, computes in FP32 and says nothing."""
        before = children()
        with pytest.raises(NoHalfPrecisionError) as caught:
            GpuModel("m.tflite", sr_model(*SIZE), LR, HR, half=True)
        assert one_line(caught).startswith("SwiftShader Device")
        assert "has no FP16 arithmetic, it computes in FP32; use the backend gpu" in one_line(
            caught
        )
        assert children() == before

    @pytest.mark.parametrize(
        ("side", "reason"),
        [
            pytest.param(1024, "Out of memory: vkAllocateMemory failed with", id="together"),
            pytest.param(2048, "Failed to create litert::ml_drift", id="one tensor alone"),
        ],
    )
    def test_too_large_a_image_is_out_of_memory_and_not_zeros(self, side: int, reason: str) -> None:
        """LiteRT 2.3.0 itself goes on after the first: status 0, and every value 0."""
        before = children()
        shape: Shape = (1, side, side, 3)
        with pytest.raises(AcceleratorError) as caught:
            opened(wide_net(side), shape, shape)
        assert one_line(caught).startswith(
            f"LiteRT's GPU accelerator ran out of memory at {side}x{side} (convert at a smaller "
            f"--size) while compiling m.tflite: {reason}"
        )
        assert children() == before

    def test_native_code_without_memory_takes_nothing_down(self) -> None:
        """Who first asks for what is not there decides: a crash, an abort, an error."""
        side = 512
        lr, hr = (1, side, side, 3), (1, 2 * side, 2 * side, 3)
        before = children()
        with opened(sr_model(side, side), lr, hr) as model:
            resource.prlimit(model._process._child.pid, resource.RLIMIT_AS, (1, 1))
            with pytest.raises(AcceleratorError) as caught:
                model.run(image(0, lr))
        ended = r" (was killed by SIG[A-Z]+|ended with status 1) while running m\.tflite"
        assert re.search(ended, one_line(caught)), one_line(caught)
        assert children() == before

    def test_the_time_limit_holds_for_compiling(self) -> None:
        before = children()
        with pytest.raises(AcceleratorError, match=r"did not finish compiling m\.tflite within"):
            opened(time_limit_s=0.05)
        assert children() == before


def wide_net(side: int) -> bytes:
    """3 -> 256 -> 3 channels; SwiftShader has about 1 GiB, and gives no tensor more than 1 GiB."""
    made = TfliteBuilder()
    tensors = [made.tensor([1, side, side, channels]) for channels in (3, 256, 3)]
    for source, target, shape in (
        (tensors[0], tensors[1], (256, 1, 1, 3)),
        (tensors[1], tensors[2], (3, 1, 1, 256)),
    ):
        weight = made.constant(np.ones(shape, np.float32))
        bias = made.constant(np.zeros(shape[0], np.float32))
        made.operator("CONV_2D", [source, weight, bias], [target], conv_options())
    return made.finish([tensors[0]], [tensors[2]])


def shuffle(channels_only: bool = False) -> bytes:
    """DEPTH_TO_SPACE as frameworks spell it: RESHAPE to rank 6, TRANSPOSE, RESHAPE."""
    height, width = SIZE
    made = TfliteBuilder()
    if channels_only:
        lr = wide = made.tensor([1, height, width, 12], name="lr")
    else:
        lr = made.tensor([1, height, width, 3], name="lr")
        weight = made.constant(np.ones((12, 3, 3, 3), np.float32), "weight")
        bias = made.constant(np.zeros(12, np.float32), "bias")
        wide = made.tensor([1, height, width, 12], name="wide")
        made.operator("CONV_2D", [lr, weight, bias], [wide], conv_options())
    blocks = made.tensor([1, height, width, 2, 2, 3], name="blocks")
    swapped = made.tensor([1, height, 2, width, 2, 3], name="swapped")
    hr = made.tensor([1, 2 * height, 2 * width, 3], name="hr")
    for source, target, operator, numbers in (
        (wide, blocks, "RESHAPE", [1, height, width, 2, 2, 3]),
        (blocks, swapped, "TRANSPOSE", [0, 1, 3, 2, 4, 5]),
        (swapped, hr, "RESHAPE", [1, 2 * height, 2 * width, 3]),
    ):
        constant = made.constant(np.array(numbers, np.int32))
        given = {"newShape": numbers} if operator == "RESHAPE" else {}
        chosen = options(f"{operator.title()}Options", **given)
        made.operator(operator, [source, constant], [target], chosen)
    return made.finish([lr], [hr])


def custom(name: str) -> bytes:
    """One custom operator."""
    made = TfliteBuilder()
    lr, hr = made.tensor(LR, name="lr"), made.tensor(LR, name="hr")
    made.operator("CUSTOM", [lr], [hr], custom=name)
    return made.finish([lr], [hr])


@pytest.mark.usefixtures("vulkan_driver")
class TestRefusals:
    def test_a_shuffle_of_rank_6_names_every_operator(self) -> None:
        before = children()
        with pytest.raises(GpuRefusalError) as caught:
            opened(shuffle())
        rank = "has bad input dims size: 6"
        assert one_line(caught) == (
            "the GPU accelerator refuses 3 of 4 operators of m.tflite: "
            f'RESHAPE: Tensor "blocks" {rank}; RESHAPE: Tensor "swapped" {rank}; '
            f'TRANSPOSE: Tensor "blocks" {rank}'
        )
        refusals = caught.value.refusals
        assert (refusals.on_gpu, refusals.on_cpu) == (1, 3)
        assert [r.operator for r in refusals.refused] == ["RESHAPE", "RESHAPE", "TRANSPOSE"]
        assert children() == before

    def test_a_file_of_which_nothing_is_taken_is_counted_too(self) -> None:
        with pytest.raises(GpuRefusalError, match="refuses 3 of 3 operators") as caught:
            opened(shuffle(channels_only=True), (1, *SIZE, 12))
        assert (caught.value.refusals.on_gpu, caught.value.refusals.on_cpu) == (0, 3)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("FlexSplitV", "Select TensorFlow op(s), included in the given model"),
            ("MyOperator", "Encountered unresolved custom op: MyOperator"),
        ],
    )
    def test_an_operator_outside_tflite_is_named(self, name: str, reason: str) -> None:
        with pytest.raises(GpuRefusalError) as caught:
            opened(custom(name), hr=LR)
        start = f"the GPU accelerator cannot load m.tflite: {name}: operator 0 cannot be prepared: "
        assert one_line(caught).startswith(start + reason)
        assert caught.value.refusals.refused[0].operator == name

    def test_half_a_file_is_one_line(self) -> None:
        content = sr_model(*SIZE)
        with pytest.raises(AcceleratorError) as caught:
            opened(content[: len(content) // 2])
        assert one_line(caught) == (
            "LiteRT's GPU accelerator failed while compiling m.tflite: "
            "Failed to load model from buffer"
        )

    def test_native_code_that_gives_up_takes_nothing_down(self) -> None:
        """Two operators that write one tensor: LiteRT 2.3.0 ends on a trap."""
        made = TfliteBuilder()
        lr, hr = made.tensor(LR, name="lr"), made.tensor(LR, name="hr")
        made.operator("RELU", [lr], [hr])
        made.operator("RELU", [lr], [hr])
        before = children()
        with pytest.raises(AcceleratorError) as caught:
            opened(made.finish([lr], [hr]), hr=LR)
        assert "was killed by SIG" in one_line(caught)
        assert " while compiling m.tflite; its last words: " in one_line(caught)
        assert children() == before
