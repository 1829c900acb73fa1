"""What `edgesr report` looks at: a network's name, a checkpoint or a `.tflite`, made ready."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.analysis.points import SIDE, Subject
from edgesr.analysis.pressure import Pressed, needed_by_network, needed_by_tflite
from edgesr.errors import ModelFileError, SizeError
from edgesr.evaluation.contestants import network, whole_tflite
from edgesr.overlap import stated_facts
from edgesr.resizing import resize
from edgesr.runtime import Backend, read_model_bytes

if TYPE_CHECKING:
    from torch import nn

    from edgesr.checkpoints import LoadedCheckpoint
    from edgesr.complexity import Complexity
    from edgesr.progress import ProgressCallback


@dataclass(frozen=True)
class Target:
    """One target.

    Attributes:
        name: As the user named it.
        subject: For PSNR against cost.
        pressed: For the pressure test.
        net: The plain network; None for a `.tflite`, whose blocks are not to be seen.
        value_range: Upper end of the network's own range.
        size_multiple: What height and width of its pictures must be multiples of.
    """

    name: str
    subject: Subject
    pressed: Pressed
    net: "nn.Module | None" = None
    value_range: float = 1.0
    size_multiple: int = 1

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return self.subject.contestant.scale


def open_all(
    names: Sequence[str], folder: Path, threads: int, progress: "ProgressCallback"
) -> list[Target]:
    """Make every target ready.

    Args:
        names: As the user named them; none stands for the networks whose weights are bundled.
        folder: For files that other processes read.
        threads: CPU threads.
        progress: Told of downloads.

    Raises:
        EdgeSRError: One cannot be read, or there is no such network.
    """
    made: list[Target] = []
    for index, name in enumerate(names or bundled_names()):
        path = Path(name)
        match path.suffix.lower():
            case ".tflite":
                made.append(_tflite(name, path, folder, threads))
            case ".onnx":
                raise ModelFileError(
                    f"{name}: reports are of networks' names, checkpoints and .tflite files; "
                    "convert it with `edgesr convert --onnx` and name the .tflite"
                )
            case _:
                loaded = _load(name, progress)
                made.append(_network(name, loaded, folder / f"{index}.pt"))
    return made


def bundled_names() -> list[str]:
    """The networks whose weights come with edgesr."""
    from edgesr.bundled import bundled_weights
    from edgesr.registry import all_specs

    return [f"{spec.name}:{spec.scale}" for spec in all_specs() if bundled_weights(spec)]


def _load(name: str, progress: "ProgressCallback") -> "LoadedCheckpoint":
    """A checkpoint, or the weights of a network: NAME, or NAME:SCALE where it has several scales.

    Raises:
        SizeError: What is behind the colon is no scale.
        EdgeSRError: It cannot be had or read.
    """
    from edgesr.cli.needs import require
    from edgesr.cli.sources import load_checkpoint
    from edgesr.registry import all_specs

    require("a report on a network in PyTorch", ("torch",), "convert")
    path = Path(name)
    model, colon, scale = name.partition(":")
    named = any(model in (spec.name, *spec.aliases) for spec in all_specs())
    if path.is_file() or (not named and (path.suffix or len(path.parts) > 1)):
        return load_checkpoint(None, path, None, progress)
    if colon and not (scale.isdecimal() and len(scale) <= 3):
        raise SizeError(f"got {name}, allowed NAME:SCALE, e.g. {model}:4")
    return load_checkpoint(model, None, None, progress, int(scale) if scale else None)


def _network(name: str, loaded: "LoadedCheckpoint", plain: Path) -> Target:
    import torch

    from edgesr.evaluation.torch_cost import torch_complexity
    from edgesr.reparam import fold

    spec = loaded.spec
    net = fold(loaded.net)
    torch.save(net.state_dict(), plain)
    return Target(
        name=name,
        subject=Subject(
            contestant=network(name, loaded),
            network=f"{spec.name} x{spec.scale}",
            cost=torch_complexity(net, SIDE, SIDE),
            recorded=_recorded(loaded),
        ),
        pressed=Pressed(name, plain, needed_by_network(net, spec.scale)),
        net=net,
        value_range=spec.value_range,
        size_multiple=spec.size_multiple,
    )


def _recorded(loaded: "LoadedCheckpoint") -> Mapping[str, float]:
    """PSNR that was measured for these weights when they were bundled or published."""
    from edgesr.bundled import bundled_weights, published_psnr

    bundled = bundled_weights(loaded.spec)
    if bundled is not None and bundled.sha256 == loaded.sha256:
        return bundled.psnr_db
    return published_psnr(loaded.sha256)


def _tflite(name: str, path: Path, folder: Path, threads: int) -> Target:
    contestant = whole_tflite(name, path, Backend.CPU, threads)
    facts = stated_facts(path)
    known = f"{facts.model} x{facts.scale}" if facts else "unknown"
    return Target(
        name=name,
        subject=Subject(contestant, known, _tflite_cost(path, folder), {}),
        pressed=Pressed(name, path, needed_by_tflite(path)),
        size_multiple=facts.size_multiple if facts else 1,
    )


def _tflite_cost(path: Path, folder: Path) -> "Complexity | None":
    """Counted at SIDE x SIDE; None where an operator fits the file's own size only."""
    from converters.audit import audit
    from converters.complexity import tflite_complexity

    try:
        content = resize(read_model_bytes(path), SIDE, SIDE, str(path)).content
    except ModelFileError:
        return None
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".tflite") as sized:
        sized.write(content)
        sized.flush()
        return tflite_complexity(audit(Path(sized.name)))
