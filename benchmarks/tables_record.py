"""The record of benchmarks/tables.py: what was measured, one row per way, set and checkpoint."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reproduction import BICUBIC, BICUBIC_075, PLAIN_TAIL, Way

from edgesr.files import atomic_outputs
from edgesr.quality import SETS
from edgesr.registry import ArchSpec, PublishedWeights, all_specs


@dataclasses.dataclass(frozen=True)
class Cell:
    """One way of upscaling one set.

    Attributes:
        subject: The checkpoint's file name, or what else upscales.
        network: Its name and scale; the scale alone where there is none.
        sha256: Of the checkpoint; empty for none.
        set_name: One of SETS.
        way: What computes.
    """

    subject: str
    network: str
    sha256: str
    set_name: str
    way: Way

    @property
    def place(self) -> tuple[str, str, str]:
        """What tells it from all others in the record; a bicubic has several scales."""
        return f"{self.subject} {self.network}", self.set_name, self.way


class Record:
    """What was measured, on the disk after every cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = json.loads(path.read_text()) if path.exists() else {"costs": [], "quality": []}
        self._costs = {row["subject"]: row for row in found["costs"]}
        self._quality = {_place(row): row for row in found["quality"]}

    @property
    def content(self) -> dict[str, Any]:
        """All of it, in the order of the networks, of the sets, and of what computes."""
        order = [weights.filename for _, weights in checkpoints()] + [BICUBIC, BICUBIC_075]
        order.append(PLAIN_TAIL)
        sets, ways = list(SETS), list(Way)

        def place(row: dict[str, Any]) -> tuple[int, ...]:
            where = sets.index(row["set_name"]), ways.index(row["way"])
            return order.index(row["subject"]), row["scale"], *where

        costs = sorted(self._costs.values(), key=lambda row: order.index(row["subject"]))
        return {"costs": costs, "quality": sorted(self._quality.values(), key=place)}

    def holds(self, cell: Cell, key: str) -> bool:
        """Whether it was measured under the same conditions."""
        return self._quality.get(cell.place, {}).get("key") == key

    def add(self, cell: Cell, row: dict[str, Any]) -> None:
        """Take in a measurement and write the file."""
        self._quality[cell.place] = dataclasses.asdict(cell) | row
        self.write()

    def add_cost(self, row: dict[str, Any]) -> None:
        """Take in what a network costs."""
        self._costs[row["subject"]] = row
        self.write()

    def write(self) -> None:
        """Write strict JSON, atomically."""
        with atomic_outputs([self._path], overwrite=True) as (path,):
            path.write_text(json.dumps(self.content, indent=1, allow_nan=False) + "\n")


def _place(row: dict[str, Any]) -> tuple[str, str, str]:
    fields = [field.name for field in dataclasses.fields(Cell)]
    return Cell(**{name: row[name] for name in fields}).place


def checkpoints() -> Iterator[tuple[ArchSpec, PublishedWeights]]:
    """Every published training, in the order of the networks."""
    for spec in all_specs():
        for weights in spec.all_published:
            yield spec, weights
