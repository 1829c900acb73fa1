"""`-` as an image: stdin and stdout, by way of a temporary folder."""

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from edgesr.common.files import temporary_file_errors

_STREAM = "-"


class Streams:
    """Inputs and output of a command, with files in the place of stdin and stdout.

    A context manager: at its end the result goes to stdout, if it is there and nothing was raised.

    Attributes:
        inputs: What to read; a file for `-`.
        output: Where to; a folder for `-`, and for stdin without an output.
        to_stdout: Whether the result goes to stdout.
    """

    def __init__(self, inputs: Sequence[str], output: str | None) -> None:
        """Take what the user wrote.

        Raises:
            click.UsageError: More than one image is to go through a stream.
        """
        self.inputs = tuple(inputs)
        self.output = output
        self._reads = _STREAM in inputs
        self.to_stdout = output == _STREAM or (self._reads and output is None)
        self._folder: Path | None = None
        if (self._reads or self.to_stdout) and (
            len(inputs) > 1 or any(os.path.isdir(name) for name in inputs)
        ):
            raise click.UsageError("- is for one image: leave out the others")

    def __enter__(self) -> "Streams":
        if not (self._reads or self.to_stdout):
            return self
        with temporary_file_errors():
            self._folder = Path(tempfile.mkdtemp(prefix="edgesr-"))
            if self._reads:
                source = self._folder / "stdin"
                with source.open("wb") as file:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                self.inputs = (str(source),)
            if self.to_stdout:
                self.output = f"{self._folder / 'stdout'}{os.sep}"
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._folder is None:
            return
        try:
            if kind is None and self.to_stdout:
                stdout = sys.stdout.buffer
                for path in (self._folder / "stdout").glob("*"):
                    stdout.write(path.read_bytes())
                stdout.flush()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def named(self, text: object) -> str:
        """A text with stdin's name in the place of its file's."""
        if self._folder is None:
            return str(text)
        return str(text).replace(str(self._folder / "stdin"), "stdin")
