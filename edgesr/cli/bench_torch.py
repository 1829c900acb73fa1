"""The PyTorch networks that files were made from, for `edgesr bench --check`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.check import TorchReference
from android_bench.command import Precision
from edgesr.bounds import Bounds
from edgesr.cli.needs import require
from edgesr.cli.progress_bar import progress_bar
from edgesr.errors import CheckpointError, EdgeSRError
from edgesr.progress import ProgressCallback

if TYPE_CHECKING:
    from android_bench.check import Float32Array
    from converters.manifest import Facts
    from converters.verify_file import FileDescription
    from edgesr.checkpoints import LoadedCheckpoint


def find_networks(
    files: Sequence[Path], checkpoints: Sequence[Path], *, required: bool
) -> dict[Path, TorchReference]:
    """The network of each file, by what the file says of itself.

    Args:
        files: `.tflite` files.
        checkpoints: The user's own weights; those whose digest a file names belong to it.
        required: Whether a network that cannot be had is an error, not a reason in its place.

    Raises:
        CheckpointError: A checkpoint of the user's belongs to none of the files.
        EdgeSRError: It cannot be read; or a network cannot be had and is required.
    """
    found: dict[Path, TorchReference] = {}
    with progress_bar() as progress:
        own = _read(checkpoints)
        unused = {digest: path for path, (digest, _) in own.items()}
        for file in files:
            progress(f"PyTorch network of {file.name}", 0, 0)
            try:
                found[file], digest = _network(file, dict(own.values()), progress)
                unused.pop(digest, None)
            except EdgeSRError as error:
                if required:
                    raise
                found[file] = TorchReference(missing=str(error))
    if unused:
        path = next(iter(unused.values()))
        raise CheckpointError(f"none of the files was made from {path}; leave it out")
    return found


def _read(checkpoints: Sequence[Path]) -> "dict[Path, tuple[str, LoadedCheckpoint]]":
    """The user's weights by their files, with their digests."""
    if not checkpoints:
        return {}
    from edgesr.checkpoints import load, weights_sha256

    loaded = {path: load(path) for path in checkpoints}
    return {path: (weights_sha256(one.net), one) for path, one in loaded.items()}


def _network(
    file: Path, own: "Mapping[str, LoadedCheckpoint]", progress: ProgressCallback
) -> tuple[TorchReference, str]:
    """The network of a file, and the digest of its weights."""
    require("comparing with PyTorch", ["torch"], "convert")
    from converters.probes import Probe, within_range
    from converters.verify import torch_reference
    from converters.verify_file import describe

    described = describe(file)
    facts = described.facts
    if facts is None:
        raise CheckpointError(f"{file.name} does not say which network it was made from")
    loaded = own.get(facts.weights_sha256) or _weights(file, facts, progress)
    network, digest = torch_reference(loaded.net, loaded.spec.value_range), facts.weights_sha256

    def weakening(lr_nhwc: "Float32Array") -> "tuple[Float32Array, float]":
        probe, _ = within_range(Probe("drawn", lr_nhwc), network)
        return probe.lr_nhwc, probe.contrast

    return TorchReference(network, gates=_gates(described), weakening=weakening), digest


def _weights(file: Path, facts: "Facts", progress: ProgressCallback) -> "LoadedCheckpoint":
    """The bundled or published weights that a file names."""
    from edgesr.checkpoints import weights_sha256
    from edgesr.cli.sources import load_checkpoint, weights_of_file

    try:
        weights = weights_of_file(file, facts)
    except CheckpointError as error:
        raise CheckpointError(
            f"{file.name} was made from weights that are neither bundled nor published nor given "
            f"with --checkpoint (it says: {facts.weights_source})"
        ) from error
    loaded = load_checkpoint(facts.model, None, weights, progress, facts.scale)
    if (got := weights_sha256(loaded.net)) != facts.weights_sha256:
        raise CheckpointError(
            f"the {weights} weights of {facts.model} have digest {got[:16]}..., {file.name} was "
            f"made from {facts.weights_sha256[:16]}..."
        )
    return loaded


def _gates(described: "FileDescription") -> dict[Precision, Bounds]:
    """Those of `edgesr convert`, for the arithmetic that the phone computes in."""
    from converters.parity import GATES
    from edgesr.runtime import Backend

    of_file = GATES[described.precision.value]
    wanted = {
        Precision.FP16: of_file[Backend.CPU_FP16],
        Precision.FP32: of_file[Backend.CPU],
    }
    return {name: Bounds(gate.max_abs, gate.psnr_db) for name, gate in wanted.items()}
