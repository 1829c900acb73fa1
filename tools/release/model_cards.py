"""Cards and README of `tflite_models/`, from manifests and measurements alone."""

from collections.abc import Sequence
from pathlib import Path

from converters.manifest import BackendParity, Manifest
from tools.release.records import FileMeasurement, LatencyConditions, Measurements

_WRITTEN_BY = "Written by `make models`; no number is set by hand."


def table_of_models(manifests: Sequence[Manifest], measurements: Measurements) -> str:
    """Write `README.md` with one row per file."""
    measured = {entry.file: entry for entry in measurements.files}
    header = (
        "file", "size", "parameters", "stored", "GMACs", "PSNR / SSIM on Set5", "latency",
        *(f"parity, {name}" for name in _backends(manifests)),
    )  # fmt: skip
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    for manifest in manifests:
        entry = measured[manifest.file]
        cells = (
            f"[{manifest.file}]({Path(manifest.file).stem}.md)",
            _kib(manifest),
            f"{entry.parameters:,}",
            f"{entry.stored_parameters:,}",
            f"{entry.macs / 1e9:.2f}",
            _quality(entry),
            f"{entry.median_ms:.0f} ms",
            *(_parity_cell(manifest, name) for name in _backends(manifests)),
        )
        lines.append(f"| {' | '.join(cells)} |")
    parts = [
        "# The models that come with edgesr",
        f"{_WRITTEN_BY} `edgesr upscale PHOTO` uses the first one; `-m NAME` selects another "
        "network.",
        "\n".join(lines),
        _notes(measurements),
        _how_made(),
    ]
    return "\n\n".join(parts) + "\n"


def _notes(measurements: Measurements) -> str:
    return "\n".join(
        [
            "- Parameters are the network's; stored are the weights in the file, among them the "
            "zeros that replace Split and Concat. GMACs are of one run of the file.",
            "- PSNR in dB and SSIM on Y, of the file itself as `edgesr upscale` runs it on a CPU.",
            f"- Latency of one run: {_conditions(measurements.latency)}.",
            "- Parity with PyTorch: PSNR over all inputs, and the largest difference where white "
            "is 1. The inputs are two photographs and six synthetic images; a software device runs "
            "a photograph and noise. The manifest (`.json`) has every input.",
        ]
    )


def _how_made() -> str:
    return (
        "Each file was calibrated on synthetic images, no photographs, so that it depends on "
        "nothing but the weights and the code: without EDGESR_SHARED, `edgesr convert --model NAME "
        "--fp16 --fp32` makes the same bytes. Another CPU may round some FP16 weights the other "
        "way; then everything else is equal, and those differ by less than one FP16 step of their "
        "tensor's largest (a test holds this)."
    )


def model_card(manifest: Manifest, measurement: FileMeasurement, latency: LatencyConditions) -> str:
    """Write the card of one file."""
    facts = manifest.facts
    weights = f"{facts.model}_x{facts.scale}.md"
    parts = [
        f"# {manifest.file}",
        _WRITTEN_BY,
        "\n".join(
            [
                f"- Network: {facts.model} x{facts.scale}, {measurement.parameters:,} parameters",
                f"- Weights: {facts.weights_source}; their training and data: "
                f"[card of the weights](../edgesr/weights/{weights})",
                f"- Licence: {facts.weights_licence}",
                f"- Input `{facts.input_name}`: {_shape(facts.height, facts.width)}, RGB in [0, 1]",
                f"- Output `{facts.output_name}`: "
                f"{_shape(facts.scale * facts.height, facts.scale * facts.width)}, not clipped",
                f"- Signature: `{facts.signature}`; tiles overlap by {facts.receptive_radius} px",
                f"- Size: {_kib(manifest)}, weights stored in {facts.precision.upper()}",
                f"- sha256: `{manifest.sha256}`",
                f"- Operators: {_operators(manifest)}",
                f"- Cost: {measurement.macs / 1e9:.2f} GMACs, "
                f"{manifest.peak_activation_bytes / 2**20:.1f} MiB of peak live activations",
            ]
        ),
        "## Quality",
        f"{measurement.quality.name}: {_quality(measurement)} (PSNR in dB / SSIM on Y, of this "
        f"file on a CPU); bicubic {measurement.bicubic.psnr_db:.2f} / "
        f"{measurement.bicubic.ssim:.4f}.",
        "## Parity with PyTorch",
        _parity_table(manifest),
        f"GPU delegate's rules: {'passed' if manifest.gpu.rules_passed else 'broken'}. "
        f"{_accelerator(manifest)}",
        "## Latency",
        f"Median {measurement.median_ms:.1f} ms, 90th percentile {measurement.p90_ms:.1f} ms: "
        f"{_conditions(latency)}.",
    ]
    return "\n\n".join(parts) + "\n"


def _backends(manifests: Sequence[Manifest]) -> list[str]:
    return list(dict.fromkeys(parity.backend for m in manifests for parity in m.parity))


def _parity_cell(manifest: Manifest, backend: str) -> str:
    found = [parity for parity in manifest.parity if parity.backend == backend]
    return f"{_decibels(found[0])}, {_largest(found[0]):.1e}" if found else "-"


def _parity_table(manifest: Manifest) -> str:
    lines = [
        "| backend | gate | inputs | PSNR | max abs | device |",
        "|---|---|---|---|---|---|",
    ]
    for parity in manifest.parity:
        device = parity.device
        where = "CPU" if device is None else f"{device.adapter} ({device.api})"
        cells = (
            parity.backend, parity.gate, str(len(parity.inputs)), _decibels(parity),
            f"{_largest(parity):.1e}", where,
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _largest(parity: BackendParity) -> float:
    return max(row.max_abs for row in parity.inputs)


def _decibels(parity: BackendParity) -> str:
    return "equal" if parity.psnr_db is None else f"{parity.psnr_db:.1f} dB"


def _accelerator(manifest: Manifest) -> str:
    if manifest.gpu.accelerator == "passed":
        return "LiteRT's GPU accelerator accepted every operator."
    return f"LiteRT's GPU accelerator was not run: {manifest.gpu.why_not_checked}."


def _operators(manifest: Manifest) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(manifest.operators.items()))


def _quality(entry: FileMeasurement) -> str:
    return f"{entry.quality.psnr_db:.2f} / {entry.quality.ssim:.4f}"


def _kib(manifest: Manifest) -> str:
    return f"{manifest.size_bytes / 1024:.0f} KiB"


def _shape(height: int, width: int) -> str:
    return f"float32 1 x {height} x {width} x 3"


def _conditions(latency: LatencyConditions) -> str:
    return (
        f"median of {latency.rounds} interleaved rounds after {latency.warm_up} of warm-up, "
        f"{latency.threads} threads of {latency.processor} ({latency.cpus} CPUs), "
        f"{latency.runtime}, load average {latency.load_before:g} before, {latency.date}"
    )
