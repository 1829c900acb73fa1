"""The model card of bundled weights, written from their record alone."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from converters.records import QualityRecord, WeightsRecord


def weights_card(record: WeightsRecord) -> str:
    """The card as Markdown."""
    return (
        "\n\n".join(
            [
                f"# {record.model} x{record.scale}: edgesr's own weights",
                "Written by `python -m converters.bundle` from the record beside it "
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
        "| set | pictures | bicubic | PyTorch, FP32 | FP16 `.tflite` on the CPU |",
        "|---|---|---|---|---|",
    ]
    rows = zip(quality.bicubic, quality.pytorch, quality.fp16_tflite, strict=True)
    for row in rows:
        lines.append(f"| {row[0].name} | {row[0].pictures} | {_joined(row)} |")
    note = (
        f"Mean PSNR in dB / SSIM on the Y channel (BT.601), 8 bits, {record.scale} pixels shaved; "
        "SSIM with a Gaussian window of 11x11, deviation 1.5; LR by MATLAB's bicubic. The "
        f"`.tflite` (sha256 `{record.fp16_tflite_sha256[:16]}...`) was run as "
        "`edgesr upscale --whole` runs it, each picture in one piece."
    )
    return "\n".join(lines) + "\n\n" + note


def _joined(row: Sequence[QualityRecord]) -> str:
    return " | ".join(f"{entry.psnr_db:.2f} / {entry.ssim:.4f}" for entry in row)


def _data(record: WeightsRecord) -> str:
    lines = ["| folder | pictures | what | terms |", "|---|---|---|---|"]
    lines += [f"| {d.folder} | {d.pictures} | {d.origin} | {d.terms} |" for d in record.data]
    digest = record.training["data"]["training"]
    text = (
        "\n".join(lines) + "\n\nThe digest of all training pixels is the one that the training "
        f"recorded (sha256 `{digest}`). The pictures are no part of edgesr."
    )
    earlier = [other for other in _earlier_digests(record.training) if other != digest]
    if earlier:
        shown = ", ".join(f"`{other[:16]}...`" for other in dict.fromkeys(earlier))
        text += f" The trainings that it began from saw other sets (sha256 {shown})."
    return text


def _earlier_digests(run: Mapping[str, Any]) -> list[str]:
    """Of the pixels of the trainings before, the nearest first."""
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
    return "\n".join(
        [
            f"- Ended: {record.finished_on}, after {result['step']:,} of {result['steps']:,} steps",
            f"- Time: {result['seconds'] / 60:.0f} minutes, training and validation",
            f"- Machine: {where}{processes}; {machine['system']}, Python {machine['python']}, "
            f"torch {machine['torch']}",
            f"- Seed: {run['recipe']['seed']}",
            f"- Commit: `{run['commit']}`",
            f"- Start: {_start(run)}; {_taken(record)}",
        ]
    )


def _taken(record: WeightsRecord) -> str:
    """Which of the training's weights these are. Records of before there was a choice: the best."""
    result = record.training["result"]
    if record.training.get("taken") == "last":
        return "taken are the averaged weights of the last step"
    return (
        f"taken are the averaged weights of step {result['best_step']:,}, the best of those "
        f"measured on {_chosen_on(record)} ({result['psnr_db']:.3f} dB there)"
    )


def _start(run: Mapping[str, Any]) -> str:
    """What the training began with, as far back as its files tell."""
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
    """What the training measured on: a benchmark set, known by what bicubic reaches on it."""
    bicubic_db = record.training["result"]["bicubic_db"]
    for entry in record.quality.bicubic:
        if abs(entry.psnr_db - bicubic_db) < 1e-6:
            return f"{entry.name}, whose figure above is therefore slightly flattered"
    return ", ".join(record.training["validation_pictures"])
