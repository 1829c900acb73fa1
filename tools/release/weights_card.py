"""Model card of bundled weights, written from their record alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgesr.networks.spec import find_spec
from tools.release.records import QualityRecord, WeightsRecord


def weights_card(record: WeightsRecord) -> str:
    """Write the card as Markdown."""
    return (
        "\n\n".join(
            [
                f"# {record.model} x{record.scale}: edgesr's own weights",
                "Written by `python -m tools.release.weights` from the record beside it "
                f"(`{record.model}_x{record.scale}.json`); no number is set by hand.",
                _facts(record),
                "## Quality",
                _quality(record),
                "## Training data",
                _data(record),
                "## Training",
                _training(record),
                "## Recipe",
                "```json\n" + json.dumps(record.training["recipe"], indent=2) + "\n```",
            ]
        )
        + "\n"
    )


def _facts(record: WeightsRecord) -> str:
    return "\n".join(
        [
            f"- Parameters: {record.parameters:,} (plain form, float32)",
            f"- Licence: {record.licence}",
            f"- sha256 of the file: `{record.sha256}`",
            f"- sha256 of the weights, as `.tflite` files state it: `{record.weights_sha256}`",
        ]
    )


def _quality(record: WeightsRecord) -> str:
    quality = record.quality
    lines = [
        "| set | images | bicubic | PyTorch, FP32 | FP16 `.tflite` on the CPU |",
        "|---|---|---|---|---|",
    ]
    rows = zip(quality.bicubic, quality.pytorch, quality.fp16_tflite, strict=True)
    for row in rows:
        lines.append(f"| {row[0].name} | {row[0].images} | {_joined(row)} |")
    note = (
        f"Mean PSNR in dB / SSIM on the Y channel (BT.601), 8 bits, {record.scale} pixels shaved; "
        "SSIM with a Gaussian window of 11x11, deviation 1.5; LR by MATLAB's bicubic. The "
        f"`.tflite` (sha256 `{record.fp16_tflite_sha256[:16]}...`) ran untiled, as with "
        "`edgesr upscale --whole`."
    )
    return "\n".join(lines) + "\n\n" + note


def _joined(row: Sequence[QualityRecord]) -> str:
    return " | ".join(f"{entry.psnr_db:.2f} / {entry.ssim:.4f}" for entry in row)


def _data(record: WeightsRecord) -> str:
    lines = ["| folder | images | origin | terms |", "|---|---|---|---|"]
    lines += [f"| {d.folder} | {d.images} | {d.origin} | {d.terms} |" for d in record.data]
    digest = record.training["data"]["training"]
    text = (
        "\n".join(lines) + "\n\nThe digest of all training pixels is the one that the training "
        f"recorded (sha256 `{digest}`). The images are not part of edgesr."
    )
    if held_out := record.training.get("held_out"):
        text += (
            f" Kept from this training, though those that it began from may have seen them: "
            f"{', '.join(held_out)}."
        )
    earlier = [other for other in _earlier_digests(record.training) if other != digest]
    if earlier:
        shown = ", ".join(f"`{other[:16]}...`" for other in dict.fromkeys(earlier))
        text += f" The earlier trainings that it started from used other sets (sha256 {shown})."
    return text


def _earlier_digests(run: Mapping[str, Any]) -> list[str]:
    """Digests of the pixels of the earlier trainings, the latest first."""
    facts = (run.get("first_weights") or {}).get("facts")
    if not facts:
        return []
    own = facts.get("data", {}).get("training")
    return [*([own] if own else []), *_earlier_digests(facts)]


def _training(record: WeightsRecord) -> str:
    run = record.training
    result, machine = run["result"], run["machine"]
    device = machine["gpu"] if run["device"] == "cuda" else machine["processor"]
    threads = f", {run['threads']} threads" if run["threads"] != 1 else ", 1 thread"
    where = device + ("" if run["device"] == "cuda" else threads)
    processes = f", {run['processes']} processes" if run["processes"] != 1 else ""
    lines = "\n".join(
        [
            f"- Ended: {record.finished_on}, after {result['step']:,} of {result['steps']:,} steps",
            f"- Time: {result['seconds'] / 60:.0f} minutes, training and validation",
            f"- Machine: {where}{processes}; {machine['system']}, Python {machine['python']}, "
            f"torch {machine['torch']}",
            f"- Seed: {run['recipe']['seed']}",
            f"- Commit: `{run['commit']}`",
            f"- Start: {_start(run)}; {_selection(record)}",
        ]
    )
    return "\n".join([lines, *_teachers(record), *_remarks(run)])


def _teachers(record: WeightsRecord) -> list[str]:
    """The networks whose outputs were targets; at most one line."""
    teacher = record.training["recipe"].get("teacher")
    if not teacher:
        return []
    licences = [f"{name} ({licence_of(name, record.scale)})" for name in teacher["networks"]]
    return [
        f"- Teachers: the published {', '.join(licences)}; their outputs are targets, of their "
        "weights nothing is here"
    ]


def licence_of(name: str, scale: int) -> str:
    """The licence of a network's published weights.

    Raises:
        ArchitectureError: There is no such network.
    """
    published = find_spec(name, scale).published
    return published.licence if published else "none published"


def _remarks(run: Mapping[str, Any]) -> list[str]:
    """A line for each remark that the record has: what decided, how the training was run."""
    named = (("Decided on", run.get("decided_on")), ("Run", run.get("program")))
    return [f"- {name}: {text}" for name, text in named if text]


def _selection(record: WeightsRecord) -> str:
    """Which of the training's weights these are; old records hold the best."""
    result = record.training["result"]
    if record.training.get("taken") == "last":
        return "selected: the averaged weights of the last step"
    return (
        f"selected: the averaged weights of step {result['best_step']:,}, the best of those "
        f"measured on {_chosen_on(record)} ({result['psnr_db']:.3f} dB there)"
    )


def _start(run: Mapping[str, Any]) -> str:
    """The weights at the start of the training, as far back as recorded."""
    first = run.get("first_weights")
    if first is None:
        return "random weights"
    facts = first["facts"]
    text = f"the weights of an earlier training (sha256 `{first['sha256'][:16]}...`"
    if not facts:
        return text + ")"
    steps = f'{facts["step"]:,} steps of "{facts["recipe"]["description"]}"'
    return f"{text}: {steps}, commit `{facts['commit']}`, itself from {_start(facts)})"


def _chosen_on(record: WeightsRecord) -> str:
    """The validation set of the training, identified by bicubic's PSNR on it."""
    bicubic_db = record.training["result"]["bicubic_db"]
    for entry in record.quality.bicubic:
        if abs(entry.psnr_db - bicubic_db) < 1e-6:
            return f"{entry.name}, whose figure above is therefore slightly flattered"
    return ", ".join(record.training["validation_images"])
