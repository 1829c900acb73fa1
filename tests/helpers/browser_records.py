"""Records of benchmarks as the page in a browser makes them."""

import json
from pathlib import Path

_NAME = "net_x2_fp16_48x48.tflite"


def a_record(**changes: object) -> bytes:
    """A sound record, with some of its keys changed."""
    case = {
        "file": _NAME,
        "backend": "wasm",
        "threaded": True,
        "adapter": None,
        "compile_ms": 3.0,
        "first_ms": 20.0,
        "samples_ms": [12.5, 11.0, 11.5, 12.0],
        "drift": [{"at_s": 1.0, "ms": 11.0}, {"at_s": 2.0, "ms": 12.0}],
        "fidelity": {"max_abs": 0.0, "psnr_db": 200.0, "passed": True},
    }
    record = {
        "schema_version": 1,
        "created_at": "2026-11-27T05:00:00+00:00",
        "edgesr": "0.1.0",
        "host": "Linux armv8l",
        "files": [{"name": _NAME, "sha256": "0" * 64, "size_bytes": 1000}],
        "on": "browser",
        "machine": {
            "user_agent": "Mozilla/5.0 (Linux; Android 15) Chrome/140.0.0.0 Mobile",
            "platform": "Linux armv8l",
            "cpus": 8,
            "isolated": True,
            "runtime": "@litertjs/core 2.5.3",
        },
        "conditions": {"runs": 4, "warm_up_runs": 1, "drift_s": 2},
        "cases": [case],
    }
    return json.dumps(record | changes).encode()


def save_record(path: Path, **changes: object) -> Path:
    path.write_bytes(a_record(**changes))
    return path
