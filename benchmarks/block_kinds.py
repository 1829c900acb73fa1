"""Quality of RTC's training forms: short trainings that differ in nothing else.

    python benchmarks/block_kinds.py --data DIR --val Set5/x2 --json FILE

Every kind of block is trained by the recipe `smoke` (1,000 steps, about a minute each on a free
core) with the same seeds, hence on the same patches. The mean of the best PSNR over the seeds is
compared, and the spread between seeds bounds what a difference means. A kind already in the record
is not trained again, so that an interrupted run can be continued.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Generator
from importlib.metadata import version
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table

from edgesr.common.files import atomic_outputs
from edgesr.common.machine import commit, processor, system
from edgesr.networks.architectures import imdn_rtc
from edgesr.networks.architectures.collapsible import BlockKind, Form
from edgesr.training.recipe import Recipe, load_recipe
from edgesr.training.run import Places, train

RECIPE = "smoke"
KINDS = {
    "plain 3x3": BlockKind(),
    "1x1, 3x3, 1x1, four times as wide": BlockKind(Form.WIDE),
    "3x3 and 1x1": BlockKind(Form.PARALLEL, skip=False),
    "3x3, 1x1 and the identity": BlockKind(Form.PARALLEL),
    "3x3 and two expanding branches": BlockKind(Form.BRANCHED),
}


@contextlib.contextmanager
def built_of(kind: BlockKind) -> Generator[None]:
    """Build RTC's training form of these blocks inside the context."""
    before = imdn_rtc.TRAINING_KIND
    imdn_rtc.TRAINING_KIND = kind
    try:
        yield
    finally:
        imdn_rtc.TRAINING_KIND = before


def main() -> None:
    """Train, print, write JSON after every training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    found: dict[str, dict[str, float]] = (
        json.loads(args.json.read_text())["psnr_db"] if args.json.exists() else {}
    )
    for seed in map(str, range(args.seeds)):
        for name, kind in KINDS.items():
            if seed not in found.setdefault(name, {}):
                found[name][seed] = _trained(kind, int(seed), args.data, args.val, args.threads)
                _write(args.json, found, args.val, args.threads)
    Console().print(_table(found))


def _trained(kind: BlockKind, seed: int, data: list[Path], val: Path, threads: int) -> float:
    """Best PSNR of one short training, in dB."""
    form = kind.form is not Form.PLAIN
    recipe: Recipe = load_recipe(RECIPE).model_copy(update={"seed": seed, "training_form": form})
    with tempfile.TemporaryDirectory(prefix="edgesr-") as scratch, built_of(kind):
        places = Places(tuple(data), Path(scratch), val, device="cpu", threads=threads)
        psnr_db = train(recipe, places).psnr_db
    assert psnr_db is not None  # the recipe measures
    return psnr_db


def _write(path: Path, found: dict[str, dict[str, float]], val: Path, threads: int) -> None:
    conditions = {
        "recipe": RECIPE,
        "measured_on": "/".join(val.parts[-2:]),
        "threads": threads,
        "torch": version("torch"),
        "processor": processor(),
        "system": system(),
        "commit": commit(),
    }
    text = json.dumps({"conditions": conditions, "psnr_db": found}, indent=2) + "\n"
    with atomic_outputs([path], overwrite=True) as (temporary,):
        temporary.write_text(text)


def _table(found: dict[str, dict[str, float]]) -> Table:
    table = Table("block", "mean, dB", "each seed, dB")
    for name, values in sorted(found.items(), key=lambda item: -mean(item[1].values())):
        each = ", ".join(f"{value:.3f}" for value in values.values())
        table.add_row(name, f"{mean(values.values()):.3f}", each)
    return table


if __name__ == "__main__":
    main()
