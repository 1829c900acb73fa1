"""Reference networks of files for `edgesr bench --check`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.correctness import TorchReference
from edgesr.common.progress import ProgressCallback, silent
from edgesr.common.requirements import require
from edgesr.errors import CheckpointError, EdgeSRError
from edgesr.images.metrics import Bounds
from edgesr.runtime.precision import ComputePrecision

if TYPE_CHECKING:
    from android_bench.correctness import Float32Array
    from converters.parity.verify_file import FileDescription
    from edgesr.tflite.facts import Facts
    from edgesr.weights.checkpoints import LoadedCheckpoint


def find_networks(
    files: Sequence[Path],
    checkpoints: Sequence[Path],
    *,
    required: bool,
    progress: ProgressCallback = silent,
) -> dict[Path, TorchReference]:
    """Find the network of each file by the facts inside it.

    Args:
        files: `.tflite` files.
        checkpoints: The user's own weights, matched to files by their digests.
        required: Whether a network that is not available is an error; if not, the result holds
            the reason in its place.
        progress: Called for every file.

    Raises:
        CheckpointError: A checkpoint matches none of the files.
        EdgeSRError: A checkpoint cannot be read; or a network is required and not available.
    """
    found: dict[Path, TorchReference] = {}
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
    """Load the user's weights: path -> digest and checkpoint."""
    if not checkpoints:
        return {}
    from edgesr.weights.checkpoints import load, weights_sha256

    loaded = {path: load(path) for path in checkpoints}
    return {path: (weights_sha256(one.net), one) for path, one in loaded.items()}


def _network(
    file: Path, own: "Mapping[str, LoadedCheckpoint]", progress: ProgressCallback
) -> tuple[TorchReference, str]:
    """The network of a file, and the digest of its weights."""
    require("comparing with PyTorch", ["torch"], "convert")
    from converters.parity.test_inputs import InputImage, reduce_contrast
    from converters.parity.verify import torch_reference
    from converters.parity.verify_file import describe

    described = describe(file)
    facts = described.facts
    if facts is None:
        raise CheckpointError(f"{file.name} holds no facts about the network it was made from")
    loaded = own.get(facts.weights_sha256) or _weights(file, facts, progress)
    network, digest = torch_reference(loaded.net, loaded.spec.value_range), facts.weights_sha256

    def reduced(lr_nhwc: "Float32Array") -> "tuple[Float32Array, float]":
        image, _ = reduce_contrast(InputImage("synthetic", lr_nhwc), network)
        return image.lr_nhwc, image.contrast

    return TorchReference(network, gates=_gates(described), weakening=reduced), digest


def _weights(file: Path, facts: "Facts", progress: ProgressCallback) -> "LoadedCheckpoint":
    """The bundled or published weights that a file names."""
    from edgesr.tflite.origin import weights_of_file
    from edgesr.weights.checkpoints import weights_sha256
    from edgesr.weights.sources import load_checkpoint

    try:
        weights = weights_of_file(file, facts)
    except CheckpointError as error:
        raise CheckpointError(
            f"{file.name} was made from weights that are neither bundled nor published nor given "
            f"with --checkpoint (its facts: {facts.weights_source})"
        ) from error
    loaded = load_checkpoint(facts.model, None, weights, progress, facts.scale)
    if (got := weights_sha256(loaded.net)) != facts.weights_sha256:
        raise CheckpointError(
            f"the {weights} weights of {facts.model} have digest {got[:16]}..., {file.name} was "
            f"made from {facts.weights_sha256[:16]}..."
        )
    return loaded


def _gates(described: "FileDescription") -> dict[ComputePrecision, Bounds]:
    """The bounds of `edgesr convert` for each arithmetic of a device."""
    from converters.parity.gates import GATES
    from edgesr.runtime.session import Backend

    of_file = GATES[described.precision.value]
    wanted = {
        ComputePrecision.FP16: of_file[Backend.CPU_FP16],
        ComputePrecision.FP32: of_file[Backend.CPU],
    }
    return {name: Bounds(gate.max_abs, gate.psnr_db) for name, gate in wanted.items()}
