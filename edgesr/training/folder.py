"""The folder of a training: what lies where, and whose it is."""

import contextlib
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from edgesr.common.files import atomic_outputs
from edgesr.errors import OutputError
from edgesr.training.recipe import Recipe


@dataclass(frozen=True)
class RunFolder:
    """Where a training keeps everything.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """What the training goes on from."""
        return self.path / "checkpoint.pt"

    @property
    def model(self) -> Path:
        """The averaged weights at the last measurement, plain (folded)."""
        return self.path / "model.safetensors"

    @property
    def training_form(self) -> Path:
        """The same in training form."""
        return self.path / "model-training.safetensors"

    @property
    def best(self) -> Path:
        """The averaged weights that measured best, plain (folded)."""
        return self.path / "best.safetensors"

    @property
    def log(self) -> Path:
        """Loss, rate and PSNR as CSV."""
        return self.path / "log.csv"

    @property
    def curve(self) -> Path:
        """The log as an image."""
        return self.path / "curve.png"

    @property
    def recipe(self) -> Path:
        """The recipe as it was used."""
        return self.path / "recipe.toml"

    @property
    def record(self) -> Path:
        """Versions, machine, data, timing, results."""
        return self.path / "run.json"

    def check_use(self, *, resume: bool) -> None:
        """Refuse a folder whose content would be overwritten.

        Raises:
            OutputError: A training lies there and is not to be resumed, or files of its names lie
                there without one.
        """
        if self.checkpoint.exists():
            if not resume:
                raise OutputError(
                    f"{self.path} holds a training; pass --resume to go on with it, or name "
                    "another folder"
                )
            return
        own = (self.model, self.training_form, self.best, self.log, self.curve, self.recipe)
        for file in (*own, self.record):
            if file.exists():
                raise OutputError(
                    f"{file} exists but no {self.checkpoint.name} to go on from; name another "
                    "folder or move it away"
                )

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Make the folder, keep other trainings out of it, and clear what a killed one left.

        Where the block leaves nothing in it, as a refusal does, lock and folder vanish again.

        Raises:
            OutputError: Another training is at work there, or it cannot be written to.
        """
        lock = self.path / ".lock"
        made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.touch()
        except OSError as error:
            raise OutputError(f"cannot write {lock}: {error.strerror or error}") from error
        held = FileLock(lock)
        try:
            held.acquire(blocking=False)
        except OSError as error:
            raise OutputError(
                f"another training is at work in {self.path}; wait for it or name another folder"
            ) from error
        try:
            # Temporary files and second names of `atomic_outputs`, left by a process that was
            # killed between making and removing them. Its number may be this one's.
            for pattern in (".edgesr-*.part*", ".edgesr-*.old*"):
                for left in self.path.glob(pattern):
                    left.unlink(missing_ok=True)
            yield
        finally:
            # While it is held: a training that begins now does not lose a lock of its own.
            if [*self.path.iterdir()] == [lock]:
                lock.unlink()
                if made:
                    self.path.rmdir()
            held.release()


def write_text(path: Path, text: str) -> None:
    """Replace a text file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_outputs([path], overwrite=True) as (temporary,):
        temporary.write_text(text, "utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a JSON file, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    write_text(path, json.dumps(value, indent=2) + "\n")


def as_toml(recipe: Recipe) -> str:
    """A recipe as text that `parse_recipe` reads back to an equal one."""
    content = recipe.model_dump(mode="json", exclude_none=True)
    stages, optimizer = content.pop("stages"), content.pop("optimizer")
    teacher = content.pop("teacher", None)
    parts = [_lines(content), "[optimizer]\n" + _lines(optimizer)]
    if teacher is not None:
        parts.append("[teacher]\n" + _lines(teacher))
    for stage in stages:
        schedule = stage.pop("schedule")
        parts.append("[[stages]]\n" + _lines(stage))
        parts.append("[stages.schedule]\n" + _lines(schedule))
    return "\n".join(parts)


def _lines(table: Mapping[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists of these are TOML's; DEL alone is not allowed raw.
    texts = {key: json.dumps(value).replace("\x7f", "\\u007f") for key, value in table.items()}
    return "".join(f"{key} = {text}\n" for key, text in texts.items())
