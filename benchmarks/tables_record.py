"""Record of benchmarks/tables.py: one row per way, set and checkpoint."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reproduction import BICUBIC, BICUBIC_075, PLAIN_TAIL, Way

from edgesr.common.files import atomic_outputs
from edgesr.evaluation.benchmark_sets import SETS
from edgesr.networks.spec import ArchSpec, PublishedWeights, all_specs


@dataclasses.dataclass(frozen=True)
class Cell:
    """Identity of one measurement.

    Attributes:
        subject: The checkpoint's file name, or the name of another method.
        network: Its name and scale; the scale alone where there is none.
        sha256: Of the checkpoint; empty for none.
        set_name: One of SETS.
        way: Backend and arithmetic.
    """

    subject: str
    network: str
    sha256: str
    set_name: str
    way: Way

    @property
    def place(self) -> tuple[str, str, str]:
        """Key in the record; a bicubic has several scales."""
        return f"{self.subject} {self.network}", self.set_name, self.way


class Record:
    """Measurements so far, written to disk after every cell."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = json.loads(path.read_text()) if path.exists() else {"costs": [], "quality": []}
        self._costs = {row["subject"]: row for row in found["costs"]}
        self._quality = {_place(row): row for row in found["quality"]}

    @property
    def content(self) -> dict[str, Any]:
        """Everything, in the order of the networks, the sets and the ways."""
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
        """Add a measurement and write the file."""
        self._quality[cell.place] = dataclasses.asdict(cell) | row
        self.write()

    def add_cost(self, row: dict[str, Any]) -> None:
        """Add the cost of a network and write the file."""
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
    """Every published checkpoint, in the order of the networks."""
    for spec in all_specs():
        for weights in spec.all_published:
            yield spec, weights
