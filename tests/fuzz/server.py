"""Imports what a command needs once, then forks a process for each command that it is sent.

Usage: python -m fuzz.server MODULE..., with requests as lines of JSON on stdin, and one line on how
the process ended on stdout for each. A forked process waits for its threads and runs its exit
handlers as any interpreter does, but not the destructors of native libraries, which wait for the
threads that a fork leaves behind.
"""

import atexit
import contextlib
import ctypes
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, NoReturn, TextIO

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): orphans of the commands come to this process
_GRACE_S = 2.0  # for what the command started


def serve(requests: TextIO, replies: TextIO) -> dict[str, Any]:
    """Fork for every request. Returns in each child, with its request; never in the parent."""
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            return request
        replies.write(json.dumps(_wait(child, request)) + "\n")
        replies.flush()
    os._exit(0)


def _wait(child: int, request: Mapping[str, Any]) -> dict[str, object]:
    """Wait for a child, send it the signal that is wanted, and end its whole process group."""
    begun = time.monotonic()
    ended = select.poll()
    descriptor = os.pidfd_open(child)
    ended.register(descriptor, select.POLLIN)
    limit_s = request["limit_s"]
    if request["signal"] is not None:
        number, delay_s = request["signal"]
        if not ended.poll(1000 * delay_s):
            os.kill(child, number)
        limit_s = min(limit_s, 10.0)
    timed_out = not ended.poll(1000 * limit_s)
    if timed_out:
        _end_group(child)
    status = os.waitpid(child, 0)[1]
    seconds = time.monotonic() - begun
    os.close(descriptor)
    left = not timed_out and _has_processes(child)
    _end_group(child)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "timed_out": timed_out,
        "left_processes": left,
        "seconds": seconds,
    }


def _has_processes(group: int) -> bool:
    """Whether processes of a group are still there after a moment."""
    until = time.monotonic() + _GRACE_S
    while time.monotonic() < until:
        try:
            if os.waitpid(-group, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return False
    return True


def _end_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def become(request: Mapping[str, Any]) -> None:
    """Take the folder, streams, variables and limits of a request."""
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    err = os.open(request["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor, place in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(descriptor, place)
    os.closerange(3, 100)
    os.chdir(request["folder"])
    if request["no_folder"]:
        os.rmdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    size, seconds = request["memory_bytes"], int(request["limit_s"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    if request["open_files"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (request["open_files"],) * 2)
    sys.argv = ["edgesr", *request["words"]]
    if request["fresh"]:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, "-c", request["code"], *request["words"]])


def call(entry: str) -> NoReturn:
    """Call `module:function` as a program of its own, and end as that would."""
    module, _, function = entry.partition(":")
    status = 0
    try:
        getattr(importlib.import_module(module), function)()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    asked = serve(sys.stdin, answers)
    become(asked)
    call(asked["entry"])
