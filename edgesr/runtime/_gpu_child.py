"""Run a `.tflite` on LiteRT's GPU accelerator in a process of its own.

`python -m edgesr.runtime._gpu_child FD`: FD is one end of a `multiprocessing.Pipe`, on Windows its
handle. A request as JSON and the model's bytes come first; the answer is one JSON object, with
`failure` or `precision` in it. Then every input, as raw float32 behind a word on the device, is
answered by an output. What the runtime logs goes to standard output and error, which
edgesr/runtime/gpu_process.py keeps.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np

from edgesr.runtime.gpu_compile import compile_gpu, precision_in_force

#: Comes before an input where a CPU plays the GPU.
SOFTWARE = b"software"

_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
# Between two dispatches all threads may sleep for a moment, hence several looks.
_CALM_CHECKS, _CHECK_S = 3, 0.01
# Windows counts a process's time in steps of 1/64 s.
_LOOK_S, _BUSY_S = 0.1, 0.02
# Vulkan's, OpenCL's and WebGPU's; Metal's on macOS.
_ACCELERATORS = ("*LiteRt*GpuAccelerator*", "*LiteRtMetalAccelerator*")
_RUNNING = "R"  # proc_pid_stat(5)


def main() -> None:
    """Serve one model until the other end closes."""
    _die_with_parent()
    pipe = _pipe(int(sys.argv[1]))
    request = json.loads(pipe.recv_bytes())
    content = pipe.recv_bytes()
    answer = {"failure": failure} if (failure := _missing()) else {}
    model: Any = None
    if not answer:
        try:
            precision = precision_in_force(half=request["half"])
            model = compile_gpu(content, half=request["half"])
            answer = {"precision": precision, "accelerated": model.is_fully_accelerated()}
        except (RuntimeError, ValueError) as error:
            answer = {"failure": "not compiled", "text": str(error)}
    pipe.send_bytes(json.dumps(answer).encode())
    if model is not None:
        _serve(pipe, model, int(np.prod(request["output_shape"])))


def _die_with_parent() -> None:
    """End this process with its parent, also during a run of minutes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()


def _end_after(parent: int) -> None:
    """End this process when another has ended."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(parent).wait()
    os._exit(1)


def _pipe(number: int) -> "connection.Connection[bytes, bytes]":
    """The end of a `Pipe` that this process has inherited."""
    kind: Any = connection.PipeConnection if sys.platform == "win32" else connection.Connection
    return kind(number)


def _missing() -> str | None:
    """What is not installed: the Vulkan loader, which Linux needs, or the accelerator itself."""
    import ai_edge_litert

    if sys.platform == "linux":
        try:
            ctypes.CDLL("libvulkan.so.1")
        except OSError:
            return "no loader"
    folder = Path(next(iter(ai_edge_litert.__path__)))
    found = [file for pattern in _ACCELERATORS for file in folder.glob(pattern)]
    return None if found else "no accelerator"


def _serve(pipe: "connection.Connection[bytes, bytes]", model: Any, count: int) -> None:  # noqa: ANN401
    """Answer every input until there are no more."""
    inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    while True:
        try:
            software, image = pipe.recv_bytes() == SOFTWARE, pipe.recv_bytes()
        except EOFError:
            return
        inputs[0].write(np.frombuffer(image, np.float32))
        model.run_by_index(0, inputs, outputs)
        if software:
            wait_for_threads()
        pipe.send_bytes(outputs[0].read(count, np.float32).tobytes())


def wait_for_threads() -> None:
    """Wait until no other thread of this process computes.

    LiteRT waits two minutes for a result and then fails. A software device may need longer; the
    parent has a time limit of its own, and ends this process.
    """
    calm = 0
    while calm < _CALM_CHECKS:
        time.sleep(_CHECK_S)
        calm = 0 if _others_compute() else calm + 1


def _others_compute() -> bool:
    """Whether another thread is running or waits for a processor."""
    if sys.platform != "linux":  # whether any ran while this one slept
        before = time.process_time()
        time.sleep(_LOOK_S)
        return time.process_time() - before > _BUSY_S
    own = str(threading.get_native_id())
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it may end at any moment
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            if state == _RUNNING and thread.name != own:
                return True
    return False


if __name__ == "__main__":
    main()
