"""`edgesr doctor` as its tests run it, and parts of what it finds."""

import json
import os
import socket
from typing import Any

from edgesr.runtime.vulkan import DRIVER_VARIABLES
from helpers.commands import Ran, run_alone

# Trying the GPU takes a second or two: only tests on it do.
NO_GPU = "/no/such/driver.json"
#: Changes to `environment` under which the GPU that is here is found.
ANY_GPU = {name: os.environ.get(name) for name in DRIVER_VARIABLES}


def environment(**changes: str | None) -> dict[str, str]:
    """This process's environment, changed; None unsets. No adb server and no GPU are found."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = str(bound.getsockname()[1])
    changed = {"ANDROID_ADB_SERVER_PORT": port, "VK_DRIVER_FILES": NO_GPU, **changes}
    merged = os.environ | {k: v for k, v in changed.items() if v is not None}
    return {k: v for k, v in merged.items() if changed.get(k, v) is not None}


def quick(**changes: str | None) -> tuple[Ran, dict[str, Any]]:
    """What the command does without importing packages, and what it finds."""
    ran = run_alone("doctor", "--quick", "--json", env=environment(**changes))
    return ran, read(ran)


def read(ran: Ran) -> dict[str, Any]:
    """What it printed as JSON, and nothing on stderr."""
    assert ran.err == "", ran.err
    return json.loads(ran.out)


def check(found: dict[str, Any], name: str) -> dict[str, Any]:
    """One check by its name."""
    (one,) = [c for c in found["checks"] if c["name"] == name]
    return one


def state(found: dict[str, Any], name: str) -> tuple[str, str]:
    """A check's state and remedy."""
    one = check(found, name)
    return one["state"], one["remedy"]


def job(found: dict[str, Any], name: str) -> dict[str, Any]:
    """One job by its name."""
    (one,) = [j for j in found["jobs"] if j["name"] == name]
    return one
