"""Run a tiny model once: `python -m edgesr.doctor._inference_child cpu|cpu-fp16`.

A process of its own, since a damaged runtime may end it.
"""

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesr.runtime import session as runtime
from edgesr.runtime.gpu_compile import TINY_SHAPE, doubling_model
from edgesr.runtime.interpreter import interpreter_class

Float32Array = NDArray[np.float32]

# FP16 has no number between 1 and 1 + 2^-10: it doubles this to 2, FP32 to a little more.
_SOURCE = np.float32(1 + 2**-12)


def main() -> None:
    """Run the model once and compare."""
    half = sys.argv[1] == "cpu-fp16"
    source_nhwc = np.full(TINY_SHAPE, _SOURCE, np.float32)
    try:
        doubled = (_half if half else _single)(doubling_model(), source_nhwc)
    except (ImportError, RuntimeError, ValueError) as error:
        sys.exit(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
    expected = np.float32(2) if half else 2 * _SOURCE
    if not np.all(doubled == expected):
        sys.exit(f"got {doubled.flat[0]!r} for {expected!r}: wrong, or another arithmetic")


def _single(content: bytes, source_nhwc: Float32Array) -> Float32Array:
    interpreter: Any = interpreter_class()(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], source_nhwc)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def _half(content: bytes, source_nhwc: Float32Array) -> Float32Array:
    # The very options of the backend cpu-fp16, which takes super-resolution models only.
    model = runtime.compile_cpu(content, 1)
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    inputs[0].write(source_nhwc)
    model.run_by_index(0, inputs, outputs)
    return outputs[0].read(math.prod(TINY_SHAPE), np.float32)


if __name__ == "__main__":
    main()
