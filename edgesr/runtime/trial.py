"""The first run of a third-party file, in a child process that may die of it.

LiteRT's kernels trust what a file states: an integer tensor without quantisation, or one of no
elements in the middle, ends some of them in a segmentation fault that no `except` catches, and no
list of what they accept can be complete. So a file that edgesr did not make, or that was changed
since, is loaded and run once elsewhere before it is loaded here.
"""

import json
import sys
import tempfile
from pathlib import Path

from edgesr.common.files import temporary_file_errors
from edgesr.common.subprocesses import run_to_end
from edgesr.errors import ModelFileError

_LIMIT_S = 300.0


def try_elsewhere(content: bytes, name: str, backend: str, threads: int) -> None:
    """Load and run a file once in a process of its own.

    Args:
        content: The whole file, of the size that it is to be run at.
        name: What to call it in an error.
        backend: "cpu" or "cpu-fp16".
        threads: CPU threads.

    Raises:
        ModelFileError: LiteRT crashed, refused the file, or did not end in five minutes.
    """
    with temporary_file_errors(), tempfile.TemporaryDirectory(prefix="edgesr-") as scratch:
        path = Path(scratch, "model.tflite")
        path.write_bytes(content)
        argv = [sys.executable, "-m", "edgesr.runtime._trial_child", str(path), backend]
        try:
            ended = run_to_end([*argv, str(threads)], _LIMIT_S)
        except OSError as error:
            raise ModelFileError(
                f"cannot try {name} in a process of its own: {error.strerror or error}"
            ) from error
    if ended.status != 0:
        raise ModelFileError(
            f"{name} cannot be run: LiteRT {ended.reason} in a trial run in a process of its own; "
            "convert or copy it anew"
        )
    reason = json.loads(ended.out.splitlines()[-1])["error"]
    if reason:
        raise ModelFileError(f"{name} cannot be run: {reason}")
