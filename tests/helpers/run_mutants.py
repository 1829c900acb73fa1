"""Runs mutated copies of a `.tflite`, each in a child process, and counts how they end.

Usage: run_mutants.py FILE SEED COUNT BACKEND, BACKEND being cpu or cpu-fp16.
Prints JSON: how each child ended -> count. A child that a signal kills counts as `signal N`, with
the seed's mutant number.
"""

import json
import os
import random
import resource
import signal
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

import ai_edge_litert.compiled_model
import ai_edge_litert.interpreter  # noqa: F401 - before forking, so that each child starts at once
import numpy as np

from edgesr.errors import ModelFileError
from edgesr.runtime.session import Backend, open_model
from edgesr.tflite.schema import parse_model

_WORDS = (0, 1, 2, 3, 4, 8, 255, 65536, 2**20, 2**30, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
_MEMORY_BYTES = 8 << 30
_SECONDS = 30


def structure(content: bytes) -> list[int]:
    """The bytes that are no weights: there a change does most."""
    inside = np.frombuffer(content, np.uint8)
    weights: set[int] = set()
    for buffer in parse_model(content, "the base file")["buffers"]:
        if len(buffer["data"]) > 32:
            start = buffer["data"].ctypes.data - inside.ctypes.data
            weights.update(range(start, start + len(buffer["data"])))
    return [i for i in range(8, len(content)) if i not in weights]


def mutate(content: bytes, places: list[int], rng: random.Random) -> bytes:
    """Change up to three words or bytes, or cut the file off."""
    if rng.random() < 0.02:
        return content[: rng.randrange(8, len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.choice(places) & ~3
        match rng.randrange(4):
            case 0:
                struct.pack_into("<I", changed, at, rng.choice(_WORDS))
            case 1:
                word = struct.unpack_from("<I", changed, at)[0] + rng.choice([-4, -2, -1, 1, 2, 4])
                struct.pack_into("<I", changed, at, word & 0xFFFFFFFF)
            case 2:
                changed[rng.choice(places)] = rng.randrange(256)
            case _:
                source = rng.choice(places) & ~3
                changed[at : at + 4] = content[source : source + 4]
    return bytes(changed)


def run_one(path: Path, backend: Backend) -> str:
    """Load and run a file as `edgesr upscale` would; how it ended."""
    try:
        runner = open_model(path, backend, threads=1)
    except ModelFileError as error:
        return "refused" if len(str(error).splitlines()) == 1 else "several lines"
    shape = runner.shape
    try:
        runner.run(np.full((1, shape.height, shape.width, 3), 0.5, np.float32))
    except (ModelFileError, RuntimeError):
        return "failed"
    return "ran"


def in_child(content: bytes, backend: Backend, scratch: Path) -> str:
    """How a file ends, seen from outside."""
    scratch.write_bytes(content)
    endings = ("ran", "refused", "failed", "several lines")
    child = os.fork()
    if child == 0:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(_SECONDS)
        try:
            os._exit(endings.index(run_one(scratch, backend)))
        except BaseException:
            os._exit(len(endings))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return (*endings, "unexpected exception")[os.WEXITSTATUS(status)]


def main() -> None:
    """See the module's docstring."""
    base, seed, count = Path(sys.argv[1]).read_bytes(), int(sys.argv[2]), int(sys.argv[3])
    backend, rng = Backend(sys.argv[4]), random.Random(seed)
    places, endings = structure(base), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            ending = in_child(mutate(base, places, rng), backend, Path(folder, "m.tflite"))
            known = ending in ("ran", "refused", "failed")
            endings[ending if known else f"{ending}: mutant {number} of seed {seed}"] += 1
    sys.stdout.write(json.dumps(endings))


if __name__ == "__main__":
    main()
