"""What benchmark_model says of the delegates, when all goes well and when it does not."""

from collections.abc import Generator, Iterator, Set

from ..faults import Fault
from .dialects import NODES, Dialect, Failed, Printer, Step
from .flags import Flags

_APIS = {"": "OpenCL", "cl": "OpenCL", "gl": "OpenGL"}


class Delegates:
    """Applies the delegates that the flags ask for.

    Args:
        flags: What was requested.
        faults: What is wrong with the device.
        printer: How lines are put.
        cached: Whether a cache holds the GPU's kernels.
    """

    def __init__(
        self, flags: Flags, faults: Set[Fault], printer: Printer, *, cached: bool = False
    ) -> None:
        self._flags, self._faults, self._voice = flags, faults, printer
        self._cached = cached

    def apply(self) -> Generator[Step, None, bool]:
        """The lines; returns whether the GPU computes.

        Raises:
            Failed: A delegate that must be applied cannot be.
        """
        flags, printer = self._flags, self._voice
        yield printer.runtime("Initialized TensorFlow Lite runtime.")
        on_gpu = False
        if flags.on("use_gpu"):
            on_gpu = yield from self._use_gpu()
        elif flags.on("use_nnapi"):
            yield printer.info("NNAPI accelerators available: [fake-gpu,nnapi-reference]")
            yield from self._delegate("NNAPI", "TfLiteNnapiDelegate")
        elif flags.on("use_xnnpack"):
            yield printer.runtime("Created TensorFlow Lite XNNPACK delegate for CPU.")
            yield from self._explicitly("XNNPACK", "TfLiteXNNPackDelegate", NODES)
        if not on_gpu and "use_xnnpack" not in flags.values and not flags.on("use_nnapi"):
            yield printer.runtime("Created TensorFlow Lite XNNPACK delegate for CPU.")
            yield self._replacing("TfLiteXNNPackDelegate", NODES)
        return on_gpu

    def _use_gpu(self) -> Generator[Step, None, bool]:
        backend = self._flags.text("gpu_backend")
        api = _APIS[backend]
        if self._voice.dialect is Dialect.LITERT:
            return (yield from self._delegate("GPU", f"LITERT_{'GL' if backend else 'CL'}"))
        yield self._voice.runtime("Created TensorFlow Lite delegate for GPU.")
        if Fault.NO_OPENCL in self._faults and api == "OpenCL":
            yield self._voice.runtime(
                "Can not open OpenCL library on this device - dlopen failed: "
                'library "libOpenCL.so" not found',
                "ERROR",
            )
            if backend:
                raise Failed(
                    "TfLiteGpuDelegate Prepare: delegate is not initialized",
                    f"Node number {NODES} (TfLiteGpuDelegateV2) failed to prepare.",
                    "Restored original execution plan after delegate application failure.",
                    "Failed to apply GPU delegate.",
                )
            yield self._voice.runtime("Falling back to OpenGL", "ERROR")
            api = "OpenGL"
        return (yield from self._delegate("GPU", "TfLiteGpuDelegateV2", api))

    def _delegate(self, provider: str, own: str, api: str = "") -> Generator[Step, None, bool]:
        taken = NODES
        if Fault.SILENT_FALLBACK in self._faults:
            taken = 0
        elif Fault.PARTIAL_DELEGATION in self._faults:
            taken = NODES - 2
        if taken < NODES:
            yield self._voice.runtime(_not_supported(provider, taken), "ERROR")
        yield from self._explicitly(provider, own, taken, api)
        return bool(taken)

    def _explicitly(self, provider: str, own: str, taken: int, api: str = "") -> Iterator[Step]:
        classic = self._voice.dialect is not Dialect.LITERT
        if classic:
            yield self._voice.info(f"{provider} delegate created.")
        if taken:
            yield self._replacing(own, taken)
        if api and taken:
            source = " from serialized data" if self._cached else ""
            yield self._voice.runtime(f"Initialized {api}-based API{source}.")
            yield self._voice.runtime(f"Created {1 if taken == NODES else 2} GPU delegate kernels.")
        if taken < NODES and self._flags.on("require_full_delegation"):
            raise Failed("Disallowed CPU fallback detected.")
        if classic:
            yield self._voice.info(_applied(provider, taken))

    def _replacing(self, own: str, taken: int) -> Step:
        end = {Dialect.NEW: " for subgraph 0 (main).", Dialect.LITERT: " for subgraph 0."}
        return self._voice.runtime(
            f"Replacing {taken} out of {NODES} node(s) with delegate ({own}) node, yielding "
            f"{1 if taken == NODES else 3} partitions{end.get(self._voice.dialect, '.')}",
            "VERBOSE",
        )


def _not_supported(provider: str, taken: int) -> str:
    left = NODES - taken
    shares = (
        f"{taken} operations will run on the GPU, and the remaining {left} operations will run on "
        "the CPU."
        if taken
        else f"No operations will run on the GPU, and all {NODES} operations will run on the CPU."
    )
    return (
        f"Following operations are not supported by {provider} delegate:\n"
        f"SPLIT: Operation is not supported.\n{shares}"
    )


def _applied(provider: str, taken: int) -> str:
    if not taken:
        return (
            f"Though {provider} delegate is explicitly applied, the model graph will not be "
            "executed by the delegate."
        )
    how = (
        "completely executed by the delegate."
        if taken == NODES
        else "partially executed by the delegate w/ 2 delegate kernels."
    )
    return f"Explicitly applied {provider} delegate, and the model graph will be {how}"
