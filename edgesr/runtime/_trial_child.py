"""Load a `.tflite` and run it once: `python -m edgesr.runtime._trial_child FILE BACKEND THREADS`.

Prints one JSON object, `{"error": REASON}`, with an empty reason where all went well.
"""

import json
import sys
from pathlib import Path

import numpy as np

from edgesr.errors import EdgeSRError
from edgesr.runtime.session import Backend, load_content


def main() -> None:
    """Run the file on noise."""
    path, backend, threads = Path(sys.argv[1]), Backend(sys.argv[2]), int(sys.argv[3])
    reason = ""
    try:
        runner = load_content(path.read_bytes(), Path("it"), backend, threads)
        noise = np.random.default_rng(0).random(runner.shape.lr_nhwc, np.float32)
        runner.run(noise)
    except EdgeSRError as error:
        reason = str(error)
    except MemoryError:
        reason = "out of memory"
    print(json.dumps({"error": reason}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
