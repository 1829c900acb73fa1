"""Open what a user names (a network, a checkpoint, a `.tflite`) as targets of a report."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgesr.analysis.points import SIDE, Subject
from edgesr.analysis.stress_test import StressTarget, needed_by_network, needed_by_tflite
from edgesr.errors import ModelFileError
from edgesr.evaluation.methods import network, whole_tflite
from edgesr.runtime.session import Backend
from edgesr.tflite.facts import read_facts
from edgesr.tflite.resize import resize
from edgesr.tflite.schema import read_model_bytes

if TYPE_CHECKING:
    from torch import nn

    from edgesr.common.progress import ProgressCallback
    from edgesr.evaluation.complexity import Complexity
    from edgesr.weights.checkpoints import LoadedCheckpoint


@dataclass(frozen=True)
class ReportTarget:
    """A network or file that a report is about.

    Attributes:
        name: As the user named it.
        subject: For the scatter of PSNR against cost.
        stress_target: For the stress test.
        net: The plain network; None for a `.tflite`, which has no blocks any more.
        value_range: The network's images lie in [0, value_range].
        size_multiple: Height and width of its images must be multiples of this.
    """

    name: str
    subject: Subject
    stress_target: StressTarget
    net: "nn.Module | None" = None
    value_range: float = 1.0
    size_multiple: int = 1

    @property
    def scale(self) -> int:
        """Upscaling factor."""
        return self.subject.method.scale


def open_report_targets(
    names: Sequence[str], folder: Path, threads: int, progress: "ProgressCallback"
) -> list[ReportTarget]:
    """Open all files and networks that the report shows.

    Args:
        names: As the user named them; without any, the networks whose weights are bundled.
        folder: Receives files for the processes of the stress test.
        threads: CPU threads.
        progress: Reports downloads.

    Raises:
        EdgeSRError: One cannot be read, or there is no such network.
    """
    from edgesr.common.requirements import require
    from edgesr.weights.sources import load_named

    targets: list[ReportTarget] = []
    for index, name in enumerate(names or bundled_names()):
        path = Path(name)
        match path.suffix.lower():
            case ".tflite":
                targets.append(_tflite(name, path, folder, threads))
            case ".onnx":
                raise ModelFileError(
                    f"{name}: a report accepts networks' names, checkpoints and .tflite files; "
                    "convert it with `edgesr convert --onnx` and name the .tflite"
                )
            case _:
                require("a report on a network in PyTorch", ("torch",), "convert")
                loaded = load_named(name, progress)
                targets.append(_network(name, loaded, folder / f"{index}.pt", threads))
    return targets


def bundled_names() -> list[str]:
    """Names, as NAME:SCALE, of the networks whose weights are bundled."""
    from edgesr.networks.spec import all_specs
    from edgesr.weights.bundled import bundled_weights

    return [f"{spec.name}:{spec.scale}" for spec in all_specs() if bundled_weights(spec)]


def _network(name: str, loaded: "LoadedCheckpoint", plain: Path, threads: int) -> ReportTarget:
    import torch

    from edgesr.evaluation.torch_cost import torch_complexity
    from edgesr.networks.reparam import fold

    spec = loaded.spec
    net = fold(loaded.net)
    torch.save(net.state_dict(), plain)
    return ReportTarget(
        name=name,
        subject=Subject(
            method=network(name, loaded, threads),
            network=f"{spec.name} x{spec.scale}",
            cost=torch_complexity(net, SIDE, SIDE),
            recorded=_recorded(loaded),
        ),
        stress_target=StressTarget(name, plain, needed_by_network(net, spec.scale)),
        net=net,
        value_range=spec.value_range,
        size_multiple=spec.size_multiple,
    )


def _recorded(loaded: "LoadedCheckpoint") -> Mapping[str, float]:
    """PSNR in dB recorded with bundled or published weights, by benchmark set; may be empty."""
    from edgesr.weights.bundled import bundled_weights, published_psnr

    bundled = bundled_weights(loaded.spec)
    if bundled is not None and bundled.sha256 == loaded.sha256:
        return bundled.psnr_db
    return published_psnr(loaded.sha256)


def _tflite(name: str, path: Path, folder: Path, threads: int) -> ReportTarget:
    method = whole_tflite(name, path, Backend.CPU, threads)
    facts = read_facts(path)
    known = f"{facts.model} x{facts.scale}" if facts else "unknown"
    return ReportTarget(
        name=name,
        subject=Subject(method, known, _tflite_cost(path, folder), {}),
        stress_target=StressTarget(name, path, needed_by_tflite(path)),
        size_multiple=facts.size_multiple if facts else 1,
    )


def _tflite_cost(path: Path, folder: Path) -> "Complexity | None":
    """Count at SIDE x SIDE; None where an operator fits the file's own size only."""
    from converters.gpu.audit import audit
    from converters.onnx_graph.complexity import tflite_complexity

    try:
        content = resize(read_model_bytes(path), SIDE, SIDE, str(path)).content
    except ModelFileError:
        return None
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".tflite") as sized:
        sized.write(content)
        sized.flush()
        return tflite_complexity(audit(Path(sized.name)))
