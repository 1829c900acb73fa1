"""Runs a training again and again, killing it each time a little later, until it ends by itself.

As a script: `kill_training.py FOLDER files|time`. The process that waits imports torch once and
forks; what it forks trains and is killed by SIGKILL:

- files: at its 1st, 2nd, 3rd, ... operation on a file of the output folder (open, rename, link,
  remove), so that every gap between two of them is hit;
- time: after a random time, which grows so that an end comes on busy machines too.

Prints how many were killed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import matplotlib.figure  # noqa: F401  # loaded once here, not by every training
import safetensors.torch  # noqa: F401
import torch

from edgesr.common.machine import commit
from edgesr.training.run import train
from helpers.training import places, short_recipe

_EVENTS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.truncate"}
_MOST = 400


def main() -> None:
    """Kill until a training is through."""
    folder, how = Path(sys.argv[1]), sys.argv[2]
    random.seed(0)
    commit()  # remembered: asking git would take most of a training's time
    for number in range(1, _MOST):
        child = os.fork()
        if child == 0:
            _train(folder, number if how == "files" else None)
        if how == "time":
            time.sleep(random.uniform(0.0, 0.04 * number))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if status == 0:
            sys.stdout.write(f"{number - 1}\n")
            return
        if not os.WIFSIGNALED(status):
            sys.exit(f"training {number} failed with {status}")
    sys.exit(f"not through after {_MOST} trainings")


def _train(folder: Path, kill_at: int | None) -> None:
    """Train in this process, which ends with it."""
    try:
        torch.set_num_threads(1)
        if kill_at is not None:
            _die_at(str(folder / "out"), kill_at)
        train(short_recipe(), places(folder), resume=True)
        os._exit(0)
    finally:  # an error has printed nothing yet
        import traceback

        traceback.print_exc()
        os._exit(1)


def _die_at(output: str, count: int) -> None:
    """Kill this process when it is about to do its count-th file operation in the folder."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in _EVENTS and str(arguments[0]).startswith(output):
            seen += 1
            if seen == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


if __name__ == "__main__":
    main()
