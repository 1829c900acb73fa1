"""Measure every published table that the reference weights allow: docs/reproduction.md.

    python benchmarks/tables.py                       # measure what is missing, write both files
    python benchmarks/tables.py --only imdn-plus      # of this network alone
    python benchmarks/tables.py --render              # write the document again, nothing measured

Checkpoints and images are those of EDGESR_SHARED. Each checkpoint is evaluated in PyTorch and as
an FP16 `.tflite`, untiled, in FP32 and in FP16 arithmetic. The record is written after every set of
images; what it holds is measured again only if the weights, the file, the images, the code that
matters or its libraries changed.
"""

import dataclasses
import functools
import hashlib
import itertools
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import reproduction
import unrounded
from reproduction import BICUBIC, BICUBIC_075, PLAIN_TAIL, PUBLISHED_QUALITY, Way
from tables_record import Cell, Record, checkpoints

from converters.parity.test_inputs import shared_photos
from converters.pipeline import convert
from converters.source import checkpoint_source
from converters.spec import ConversionSpec, Precision
from edgesr.common.files import atomic_outputs
from edgesr.common.machine import machine
from edgesr.evaluation.benchmark_sets import SETS, Metric, Upscale, benchmark_set
from edgesr.evaluation.evaluate import image_digest
from edgesr.evaluation.methods import Method, bicubic, digest_of, network, whole_tflite
from edgesr.images.datasets import Pair
from edgesr.images.metrics import Uint8Array, psnr_y, ssim_y
from edgesr.networks.spec import ArchSpec, PublishedWeights
from edgesr.runtime.session import Backend
from edgesr.weights.checkpoints import LoadedCheckpoint, load
from edgesr.weights.download import published_checkpoint

_ROOT = Path(__file__).parent.parent
_SIZE = (96, 64)
_COUNTED_AT = 256
_BACKENDS = {Way.FILE: Backend.CPU, Way.FILE_FP16: Backend.CPU_FP16}

# Source files that a result depends on beside weights and images.
_NETWORKS = ("edgesr/networks/architectures/*.py", "edgesr/networks/reparam.py")
_METRICS = "edgesr/images/metrics.py"
_CONVERTER = ("converters/**/*.py", *_NETWORKS)


@dataclasses.dataclass(frozen=True)
class Setup:
    """Paths and conditions of the measurements.

    Attributes:
        data: Folder of the benchmark sets.
        files: Folder for converted files.
        threads: CPU threads of PyTorch and LiteRT.
    """

    data: Path
    files: Path
    threads: int

    @functools.cache  # noqa: B019 - one setup lives as long as the command
    def pairs(self, name: str, scale: int) -> list[Pair]:
        """Read the images of a set."""
        return benchmark_set(self.data, name, scale)


def code(*patterns: str) -> str:
    """SHA-256 of source files."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in _ROOT.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def means(upscale: Upscale, pairs: Sequence[Pair], scale: int, *, also_unrounded: bool) -> Any:  # noqa: ANN401
    """Mean PSNR and SSIM on Y, rounded to 8 bits as MATLAB does.

    Args:
        upscale: Upscales one image.
        pairs: The images.
        scale: Upscaling factor.
        also_unrounded: Whether to measure on unrounded Y too.
    """
    made = [upscale(pair.lr_hwc_u8) for pair in pairs]
    originals = [pair.hr_hwc_u8 for pair in pairs]

    def mean(metric: Metric) -> float:
        return fmean(metric(*images, scale) for images in zip(made, originals, strict=True))

    found: dict[str, Any] = {"images": len(pairs), "psnr_db": mean(psnr_y), "ssim": mean(ssim_y)}
    if also_unrounded:
        found["unrounded_y"] = {"psnr_db": mean(unrounded.psnr_y), "ssim": mean(unrounded.ssim_y)}
    return found


def _measure(record: Record, setup: Setup, cell: Cell, method: Method) -> None:
    """Measure one cell, unless the record holds it."""
    pairs = setup.pairs(cell.set_name, method.scale)
    sources = code(_METRICS, *(_NETWORKS if cell.way is Way.PYTORCH else ()))
    library = version("ai-edge-litert" if cell.way in _BACKENDS else "torch")
    key = digest_of(method.digest, sources, library, *map(image_digest, pairs))
    label = f"{cell.network} ({cell.subject}), {cell.set_name}, {cell.way}"
    if record.holds(cell, key):
        click.echo(f"{label}: kept", err=True)
        return
    compared = cell.way is Way.PYTORCH and cell.network in PUBLISHED_QUALITY
    found = means(method.upscale, pairs, method.scale, also_unrounded=compared)
    facts = {"scale": method.scale, "threads": setup.threads, "key": key, "machine": _machine()}
    record.add(cell, found | facts)
    click.echo(f"{label}: {found['psnr_db']:.2f} dB / {found['ssim']:.4f}", err=True)


def _machine() -> dict[str, Any]:
    libraries = ("ai-edge-litert", "onnx2tf", "scikit-image")
    return machine() | {name: version(name) for name in libraries}


def _checkpoint(
    record: Record, setup: Setup, chosen: tuple[ArchSpec, PublishedWeights], way: Way, set_name: str
) -> None:
    """Measure one cell of one checkpoint."""
    spec, weights = chosen
    loaded, name = _loaded(spec, weights), _name(spec)
    if way in _BACKENDS:
        file = _converted(loaded, setup.files)
        method = whole_tflite(name, file, _BACKENDS[way], setup.threads)
    else:
        method = network(name, loaded)
    cell = Cell(weights.filename, name, weights.sha256, set_name, way)
    _measure(record, setup, cell, method)
    method.close()


@functools.cache
def _loaded(spec: ArchSpec, weights: PublishedWeights) -> LoadedCheckpoint:
    return load(published_checkpoint(dataclasses.replace(spec, published=weights)))


def _name(spec: ArchSpec) -> str:
    return f"{spec.name} x{spec.scale}"


def _cost(spec: ArchSpec, weights: PublishedWeights) -> dict[str, Any]:
    """Count the cost of the folded network as the challenge does."""
    from edgesr.evaluation.torch_cost import torch_complexity
    from edgesr.networks.reparam import fold

    cost = torch_complexity(fold(_loaded(spec, weights).net), _COUNTED_AT, _COUNTED_AT)
    names = ("parameters", "macs", "operations", "activations", "convolutions")
    counts = {name: getattr(cost, name) for name in names} | {"peak_bytes": cost.peak.bytes}
    about = {"subject": weights.filename, "network": _name(spec), "sha256": weights.sha256}
    return about | {"input": [_COUNTED_AT, _COUNTED_AT]} | counts


def _converted(loaded: LoadedCheckpoint, folder: Path) -> Path:
    """Convert a checkpoint to FP16 as `edgesr convert` does; once for the same code."""
    tools = [version(name) for name in ("torch", "onnx", "onnx2tf", "tensorflow")]
    images = shared_photos()
    digest = digest_of(loaded.sha256, code(*_CONVERTER), *_SIZE, images is None, *tools)
    file = folder / f"{Path(loaded.filename).stem}_{digest[:16]}.tflite"
    if not file.with_suffix(".json").is_file():
        click.echo(f"{loaded.filename}: converting", err=True)
        folder.mkdir(parents=True, exist_ok=True)
        spec = ConversionSpec(*_SIZE)
        source = checkpoint_source(loaded, spec.height, spec.width)
        convert(source, spec, {Precision.FP16: file}, images=images, overwrite=True)
    return file


def _bicubic(record: Record, setup: Setup) -> None:
    """Measure MATLAB's bicubic, and torch's with its other coefficient."""
    for scale in (2, 4):
        other = Method(
            BICUBIC_075, "torch", scale, digest_of(BICUBIC_075, scale), _torch_bicubic(scale)
        )
        for subject, method in ((BICUBIC, bicubic(scale)), (BICUBIC_075, other)):
            for set_name in SETS:
                cell = Cell(subject, f"x{scale}", "", set_name, Way.NO_NETWORK)
                _measure(record, setup, cell, method)


def _torch_bicubic(scale: int) -> Upscale:
    import torch

    def upscale(lr_hwc_u8: Uint8Array) -> Uint8Array:
        lr_nchw = torch.from_numpy(lr_hwc_u8.copy()).permute(2, 0, 1)[None].float()
        hr_nchw = torch.nn.functional.interpolate(lr_nchw, scale_factor=scale, mode="bicubic")
        return hr_nchw[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()

    return upscale


def _plain_tail(record: Record, setup: Setup, spec: ArchSpec) -> None:
    """Measure IMDN+ without an activation behind the last 3x3 of a block."""
    from edgesr.networks.architectures.distillation import ProgressiveBlock

    assert spec.published is not None
    loaded = load(published_checkpoint(spec))
    for part in loaded.net.modules():
        if isinstance(part, ProgressiveBlock):
            part.act = _all_but_last(part.act, part.count)
    method = network(PLAIN_TAIL, loaded)
    method = dataclasses.replace(method, digest=digest_of(method.digest, PLAIN_TAIL))
    cell = Cell(
        PLAIN_TAIL, f"{spec.name} x{spec.scale}", spec.published.sha256, "Set5", Way.PYTORCH
    )
    _measure(record, setup, cell, method)


def _all_but_last(act: Any, count: int) -> Any:  # noqa: ANN401 - torch is imported when needed
    """Make an activation that is the identity in every `count`-th call."""
    from torch import Tensor, nn

    class AllButLast(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return act(x) if self.calls % count else x

    return AllButLast()


@click.command()
@click.option(
    "--json",
    "record_file",
    type=click.Path(path_type=Path),
    default=_ROOT / "benchmarks/results/tables.json",
    help="The record.",
)
@click.option(
    "--document",
    type=click.Path(path_type=Path),
    default=_ROOT / "docs/reproduction.md",
    help="Document, written from the record.",
)
@click.option(
    "--files",
    type=click.Path(path_type=Path),
    default=_ROOT / "out/tables",
    help="Folder for converted files.",
)
@click.option("--only", multiple=True, help="Names of networks; the other rows are kept.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--render", "render_only", is_flag=True, help="Measure nothing.")
def command(
    record_file: Path,
    document: Path,
    files: Path,
    only: tuple[str, ...],
    threads: int,
    *,
    render_only: bool,
) -> None:
    """Measure every published table, and write the document."""
    record = Record(record_file)
    if not render_only:
        import torch

        torch.set_num_threads(threads)
        shared = Path(os.environ.get("EDGESR_SHARED", _ROOT / ".." / "shared"))
        setup = Setup(shared / "data", files, threads)
        chosen = [pair for pair in checkpoints() if not only or pair[0].name in only]
        for pair in chosen:
            record.add_cost(_cost(*pair))
        for spec, _ in chosen:
            if spec.name == "imdn-plus":
                _plain_tail(record, setup, spec)
        if not only:
            _bicubic(record, setup)
        # The quick sets first, and FP16 arithmetic last: an interrupted run then holds the most.
        for ways in ((Way.PYTORCH, Way.FILE), (Way.FILE_FP16,)):
            for set_name, way, pair in itertools.product(SETS, ways, chosen):
                _checkpoint(record, setup, pair, way, set_name)
    with atomic_outputs([document], overwrite=True) as (path,):
        path.write_text(reproduction.render(record.content))
    click.echo(document)


if __name__ == "__main__":
    command()
