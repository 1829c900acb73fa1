"""LiteRT's GPU accelerator: which device it finds, and a model on it.

It is WebGPU on Vulkan under Linux; LiteRT has WebGPU for Windows and Metal for a Mac, untried here.

The accelerator is ML Drift, the successor of the TFLite GPU delegate that phones run. On a machine
without a GPU it runs on SwiftShader, a Vulkan device in software, in FP32.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgesr.common.litert import require_litert
from edgesr.errors import AcceleratorError, EdgeSRError, NoGpuError, NoHalfPrecisionError
from edgesr.runtime import gpu_log
from edgesr.runtime._gpu_child import SOFTWARE
from edgesr.runtime.gpu_process import SMALLER, GpuProcess
from edgesr.runtime.vulkan import DRIVER_VARIABLES, Driver, DriverKind, find_drivers

Float32Array = NDArray[np.float32]
Shape = tuple[int, int, int, int]

_OPEN_LIMIT_S = 300.0
# SwiftShader on two cores takes 26 us per input pixel for RTC, and networks here are up to 40
# times as large.
_RUN_LIMIT_S = 120.0
_RUN_LIMIT_PER_PIXEL_S = 2e-3
_SHOWN = 3


class DeviceFacts(Protocol):
    """Facts of a device that are reported; see `GpuDevice`."""

    @property
    def adapter(self) -> str:
        """Its name."""
        ...

    @property
    def api(self) -> str:
        """Graphics API that drives it."""
        ...

    @property
    def software(self) -> bool:
        """Whether it is a software device."""
        ...

    @property
    def precision(self) -> Literal["fp16", "fp32"]:
        """Precision of its arithmetic."""
        ...


def describe_device(device: DeviceFacts, *, with_precision: bool = True) -> str:
    """A device in one line, as every command words it.

    Args:
        device: The device.
        with_precision: Whether to add the precision of its arithmetic.
    """
    kind = "software device" if device.software else "GPU"
    arithmetic = f", {device.precision.upper()} arithmetic" if with_precision else ""
    return f"{device.adapter} ({kind}, {device.api}{arithmetic})"


@dataclass(frozen=True)
class GpuDevice:
    """An adapter that LiteRT's GPU accelerator found, and how it computes.

    Attributes:
        adapter: Name of the device.
        api: What it is driven by.
        software: Whether a CPU plays the device.
        driver: Manifest of the Vulkan driver, or several; else "the system's own".
        precision: In which arithmetic it computes, as found out by computing.
    """

    adapter: str
    api: str
    software: bool
    driver: str
    precision: Literal["fp16", "fp32"]

    def __str__(self) -> str:
        return describe_device(self)


class GpuRefusalError(EdgeSRError):
    """The accelerator does not take the whole file.

    Attributes:
        refusals: What it refused, and why.
    """

    def __init__(self, name: str, refusals: gpu_log.Refusals) -> None:
        shown = [f"{r.operator}: {r.reason.rstrip('.')}" for r in refusals.refused[:_SHOWN]]
        more = len(refusals.refused) - len(shown)
        text = "; ".join(shown) + (f"; and {more} more" if more else "")
        if refusals.on_cpu is None:
            super().__init__(f"the GPU accelerator cannot load {name}: {text}")
        else:
            total = refusals.on_gpu + refusals.on_cpu
            super().__init__(
                f"the GPU accelerator refuses {refusals.on_cpu} of {total} operators of {name}: "
                f"{text}"
            )
        self.refusals = refusals


class GpuModel:
    """A model that the accelerator has taken whole; to be closed, also by `with`.

    Its process ends with the thread that opens it (Linux tells it of no other death).

    Attributes:
        device: The device that runs it.
    """

    device: GpuDevice

    def __init__(
        self,
        name: str,
        content: bytes,
        input_shape: Shape,
        output_shape: Shape,
        *,
        half: bool,
        time_limit_s: float | None = None,
        more_memory: str = SMALLER,
    ) -> None:
        """Compile a model on the first Vulkan driver that has a device.

        Args:
            name: What to call the model in errors.
            content: A whole `.tflite` with one float32 input and one such output.
            input_shape: NHWC.
            output_shape: NHWC.
            half: Whether to compute in FP16.
            time_limit_s: For compiling and for each run; by default 5 minutes to compile, and to
                run what a slow software device needs.
            more_memory: What to do where it runs out of memory.

        Raises:
            NoGpuError: No loader, driver, device or accelerator.
            NoHalfPrecisionError: FP16 is requested and the device has none.
            GpuRefusalError: The accelerator does not take every operator.
            AcceleratorError: It crashed, or ran out of memory or time.
        """
        self._name, self._half, self._more_memory = name, half, more_memory
        self._input_shape, self._output_shape = input_shape, output_shape
        pixels = input_shape[1] * input_shape[2]
        self._open_limit_s = time_limit_s or _OPEN_LIMIT_S
        self._run_limit_s = time_limit_s or _RUN_LIMIT_S + pixels * _RUN_LIMIT_PER_PIXEL_S
        drivers = find_drivers()
        if not drivers:
            raise NoGpuError(
                "no Vulkan driver on this machine: install your GPU's, or for a software device "
                "Chromium and the Vulkan loader (`apt-get install chromium libvulkan1`)"
            )
        if not any(self._open(driver, content) for driver in drivers):
            if drivers[0].kind is DriverKind.SYSTEM:
                raise NoGpuError("no GPU: the system offers LiteRT no device")
            named = ", ".join(f"{driver} ({driver.kind})" for driver in drivers)
            remedy = (
                f"choose another (`unset {' '.join(DRIVER_VARIABLES)}`)"
                if drivers[0].kind is DriverKind.CHOSEN
                else "install your GPU's driver, or Chromium for a software device "
                "(`apt-get install chromium`)"
            )
            raise NoGpuError(f"no GPU: the Vulkan driver {named} offers LiteRT no device; {remedy}")

    def run(self, lr_nhwc: Float32Array) -> Float32Array:
        """Run the file on the GPU, and read its output back.

        Args:
            lr_nhwc: Float32 of the input's shape.

        Returns:
            The output, NHWC, not writable.

        Raises:
            AcceleratorError: It crashed, ran out of memory or time, or reported an error.
        """
        image = np.ascontiguousarray(lr_nhwc, np.float32)
        if image.shape != self._input_shape:
            raise ValueError(f"got the shape {image.shape}, allowed {self._input_shape}")
        doing = f"running {self._name}"
        words = [SOFTWARE if self.device.software else b"gpu", image.tobytes()]
        answer = self._process.ask(words, self._run_limit_s, doing)
        self._refuse_errors(doing)
        return np.frombuffer(answer, np.float32).reshape(self._output_shape)

    def close(self) -> None:
        """End the accelerator's process."""
        self._process.close()

    def __enter__(self) -> "GpuModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, driver: Driver, content: bytes) -> bool:
        """Compile on one driver; False if it has no device."""
        self._process = GpuProcess(driver.variables, self._more_memory)
        try:
            device = self._compiled_on(driver, content)
        except BaseException:
            self.close()
            raise
        if device is None:
            self.close()
            return False
        self.device = device
        return True

    def _compiled_on(self, driver: Driver, content: bytes) -> GpuDevice | None:
        request = {"half": self._half, "output_shape": self._output_shape}
        words = [json.dumps(request).encode(), content]
        doing = f"compiling {self._name}"
        answer = json.loads(self._process.ask(words, self._open_limit_s, doing))
        if "failure" in answer:
            return self._explain(answer)
        self._refuse_errors(doing)
        adapter = gpu_log.adapter(self._process.log)
        if adapter is None or not answer["accelerated"]:
            raise AcceleratorError(f"LiteRT does not confirm that a GPU computes {self._name}")
        precision = answer["precision"]
        if self._half and precision != "fp16":
            raise NoHalfPrecisionError(
                f"{adapter.name} has no FP16 arithmetic, it computes in FP32; use the backend gpu "
                "for FP32, or cpu-fp16 for FP16 arithmetic on the CPU"
            )
        return GpuDevice(adapter.name, adapter.api, adapter.software, str(driver), precision)

    def _explain(self, answer: dict[str, Any]) -> None:
        """Raise what a failure to compile means; return if there is only no device."""
        log = self._process.log
        if answer["failure"] == "no loader":
            raise NoGpuError(
                "no Vulkan loader (libvulkan.so.1) on this machine: `apt-get install libvulkan1`"
            )
        if answer["failure"] == "no accelerator" or not gpu_log.accelerator_is_loaded(log):
            raise NoGpuError(
                "LiteRT's GPU accelerator cannot be loaded, its library is missing or damaged: "
                "`pip install --force-reinstall ai-edge-litert`"
            )
        refusals = gpu_log.refusals(log)
        if refusals is not None:
            raise GpuRefusalError(self._name, refusals)
        if gpu_log.adapter(log) is not None:
            raise self._failure(f"compiling {self._name}", [*gpu_log.errors(log), answer["text"]])

    def _refuse_errors(self, doing: str) -> None:
        """Raise an error that the log holds: WebGPU itself returns zeros after one."""
        found = gpu_log.errors(self._process.log)
        if found:
            failure = self._failure(doing, found)
            self.close()
            raise failure

    def _failure(self, doing: str, errors: Sequence[str]) -> AcceleratorError:
        """The first error in the log; the others follow from it."""
        what = "failed"
        if gpu_log.is_out_of_memory(self._process.log):
            height, width = self._input_shape[1:3]
            what = f"ran out of memory at {height}x{width} ({self._more_memory})"
        reason = next(iter(errors[0].strip().splitlines()), "no reason given").rstrip(".")
        return AcceleratorError(f"LiteRT's GPU accelerator {what} while {doing}: {reason}")


def probe_device(*, half: bool = False, time_limit_s: float | None = None) -> GpuDevice:
    """The GPU that LiteRT finds here, found by running a tiny model on it.

    Args:
        half: Whether to request FP16 arithmetic.
        time_limit_s: For compiling; by default that of `GpuModel`.

    Raises:
        NoGpuError: No loader, driver, device or accelerator.
        NoHalfPrecisionError: FP16 is requested and the device has none.
        AcceleratorError: It crashed, or ran out of memory or time.
        MissingDependencyError: ai-edge-litert is not installed.
    """
    require_litert("the GPU accelerator")
    from edgesr.runtime.gpu_compile import TINY_SHAPE, doubling_model

    content = doubling_model()
    with GpuModel(
        "a tiny model",
        content,
        TINY_SHAPE,
        TINY_SHAPE,
        half=half,
        time_limit_s=time_limit_s,
        more_memory="close other programs",
    ) as model:
        return model.device
