"""What `make` refuses before it runs anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_MAKEFILE = Path(__file__).parent.parent / "Makefile"


@pytest.mark.parametrize("asked", ["3.12", ""])
def test_another_python_than_that_of_the_environment_is_refused(asked: str, tmp_path: Path) -> None:
    environment = tmp_path / "venv" / "bin"
    environment.mkdir(parents=True)
    (environment / "python").symlink_to(sys.executable)
    other = tmp_path / "python-other"
    other.write_text(f"#!/bin/sh\necho {asked}\n")
    other.chmod(0o755)
    words = ["make", "-n", "-f", _MAKEFILE, "lint", f"VENV={tmp_path / 'venv'}"]
    ran = subprocess.run(
        [*words, f"PYTHON={other}"], capture_output=True, text=True, env=_plain(), check=False
    )
    assert ran.returncode == 2
    assert f"PYTHON={other} is {asked or 'not there'}: remove" in " ".join(ran.stderr.split())
    same = subprocess.run(
        [*words, f"PYTHON={sys.executable}"],
        capture_output=True,
        text=True,
        env=_plain(),
        check=False,
    )
    assert "remove" not in same.stderr


def _plain() -> dict[str, str]:
    """Without what a `make` that runs these tests hands down."""
    return {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
