"""Inspecting and verifying `.tflite` files: `inspect` and `verify`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from converters.gpu.audit import Audit, audit
from edgesr._api.networks import Network, check_weights, is_name, read_network, resolve
from edgesr._api.options import check_choice
from edgesr.common.progress import ProgressCallback, silent
from edgesr.errors import CheckpointError, OptionError

if TYPE_CHECKING:
    from converters.parity.verify import ParityReport
    from converters.parity.verify_file import FileDescription
    from edgesr.weights.sources import Weights

_BACKENDS = ("cpu", "cpu-fp16", "gpu", "gpu-fp16", "all")


def inspect(file: str | os.PathLike[str]) -> Audit:
    """Read what is in a `.tflite` and whether the TFLite GPU delegate accepts it; nothing is run.

    Args:
        file: Any `.tflite`, of edgesr or not.

    Returns:
        Operators, constants, cost, peak activations in bytes, metadata, and every violation of the
        GPU delegate's rules; `refused` holds those that keep operators off the GPU.

    Raises:
        ModelFileError: The file is missing, damaged, or no `.tflite`.

    Examples:
        >>> import edgesr
        >>> audit = edgesr.inspect(edgesr.load_model("rtc").path)
        >>> audit.scale, audit.parameters, audit.refused
        (2, 29520, ())
    """
    return audit(Path(file))


def verify(
    file: str | os.PathLike[str],
    network: "Network | None" = None,
    *,
    scale: int | None = None,
    weights: str | None = None,
    value_range: float | None = None,
    backend: str | None = None,
    every_input: bool = False,
    images: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: ProgressCallback = silent,
) -> "ParityReport":
    """Compare a `.tflite` with its network, by the gates of `convert`.

    Args:
        file: The `.tflite`, of any tool.
        network: As for `convert`; by default the bundled or published weights that the file's own
            facts name.
        scale: Which one, of a network of several scales; by default the file's.
        weights: Of a name: "bundled" or "published"; by default those that the file was made from.
        value_range: As for `convert`.
        backend: "cpu", "cpu-fp16", "gpu" (in FP32 and, where the device has it, FP16 arithmetic),
            "gpu-fp16" or "all"; by default those of `convert`.
        every_input: Whether a software device runs every input too.
        images: Folder of photographs. By default those under EDGESR_SHARED, else a synthetic test
            card.
        threads: CPU threads; all that this process may use by default.
        progress: Called as (stage, done, total).

    Returns:
        Per backend and input: largest absolute difference in [0, 1], PSNR in dB (peak 1.0).

    Raises:
        ParityError: A gate failed; a `ParityGateError` carries the reports.
        ModelFileError: The file is unreadable, or not a super-resolution model.
        CheckpointError: The file was made from weights that edgesr does not have.
        OptionError: An argument is not allowed, or the file names no network and none is given.
        NoGpuError: A GPU is required and there is none.
        AcceleratorError: The GPU accelerator failed.
        EdgeSRError: The network cannot be read; see `convert`.

    Examples:
        >>> import edgesr
        >>> (file,) = edgesr.convert("rtc", size=(32, 24))
        >>> report = edgesr.verify(file.path)
        >>> [parity.backend for parity in report.backends], report.failures
        (['cpu', 'cpu-fp16'], [])
    """
    from converters.gpu.gate import chosen_backends
    from converters.parity.test_inputs import shared_photos
    from converters.parity.verify_file import describe, verify_file

    if backend is not None:
        check_choice("backend", backend, _BACKENDS)
    described = describe(Path(file))
    backends, not_run = chosen_backends(backend) if backend else (None, "")
    if network is None or (isinstance(network, str) and is_name(network)):
        network, weights = _named(described, network, check_weights(weights))
        if scale is None and described.facts is not None:
            scale = described.facts.scale
    read = read_network(network, scale=scale, weights=weights, progress=progress)
    size = (described.shape.height, described.shape.width)
    # What the GPU delegate refuses is for `convert` to judge: here the file exists already.
    source = resolve(read, size, scale=scale, value_range=value_range, allow_cpu_operators=True)
    report = verify_file(
        described,
        source,
        backends=backends,
        every_input=every_input,
        images=shared_photos() if images is None else Path(images),
        threads=threads,
        progress=progress,
    )
    return replace(report, not_run=not_run)


def _named(
    described: "FileDescription", network: str | None, weights: "Weights | None"
) -> "tuple[str, Weights | None]":
    """The network's name and whose weights: what the caller gives, else what the file's facts name.

    Raises:
        OptionError: Neither names a network.
        CheckpointError: The file was made from weights that edgesr does not have.
    """
    from converters.third_party_source import CHECKPOINT_ORIGIN, MODULE_ORIGIN, ONNX_ORIGIN
    from edgesr.networks.spec import find_spec
    from edgesr.tflite.origin import weights_of_file

    facts = described.facts
    if network is None and facts is None:
        raise OptionError(f"{described.path} names no network; give a name, a file or a module")
    if facts is None or weights is not None:
        return network or (facts.model if facts else ""), weights
    kinds = {
        ONNX_ORIGIN: "file with --onnx FILE",
        CHECKPOINT_ORIGIN: "file with --checkpoint FILE",
        MODULE_ORIGIN: "module",
    }
    for start, kind in kinds.items() if network is None else ():
        if facts.weights_source.startswith(f"{start} "):
            raise CheckpointError(
                f"{described.path} was made from another network's {facts.weights_source}; name "
                f"that {kind}"
            )
    spec = find_spec(facts.model, facts.scale)
    if network is not None and network not in (spec.name, *spec.aliases):
        return network, None
    return network or facts.model, weights_of_file(described.path, facts)
