"""What the device runs in the place of benchmark_model: says and does what the device tells it.

Started with the program's own words; a plain script, so that it starts fast.
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Tell the device who runs, then carry out one step after the other."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    device = socket.create_connection(("127.0.0.1", int(os.environ["FAKE_CONTROL"])))
    lines = device.makefile("rw", encoding="utf-8")
    facts = {
        "words": sys.argv[1:],
        "folder": os.getcwd(),
        "affinity": os.environ.get("FAKE_AFFINITY", ""),
        "shell": int(os.environ["FAKE_SHELL"]),
        "pid": os.getpid(),
    }
    print(json.dumps(facts), file=lines, flush=True)
    for line in lines:
        kind, value = json.loads(line)
        if kind == "exit":
            os._exit(value)
        if kind == "signal":
            os.kill(os.getpid(), value)
        if kind == "ignore":
            signal.signal(value, signal.SIG_IGN)
        if kind in ("stdout", "stderr"):
            os.write(1 if kind == "stdout" else 2, value.encode())
        if kind == "wait":
            signal.pause()
        print("done", file=lines, flush=True)
    os._exit(1)  # the device is gone


main()
