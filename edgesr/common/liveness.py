"""Peak live size of the tensors of a graph while it runs."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

_Name = TypeVar("_Name", bound=Hashable)

#: The inputs and the outputs of an operator.
Step = tuple[Iterable[_Name], Iterable[_Name]]


def peak_live_size(
    steps: Sequence[Step[_Name]],
    sizes: Mapping[_Name, int],
    sources: Iterable[_Name],
    results: Iterable[_Name],
) -> tuple[int, int | None]:
    """Peak size of the tensors that are live at the same time.

    A tensor is live from the operator that makes it to the last one that reads it, both included;
    the results are live to the end.

    Args:
        steps: The operators, in the order of execution.
        sizes: Size of each tensor that counts; others (weights) count as 0.
        sources: Inputs of the graph.
        results: Outputs of the graph.

    Returns:
        The peak, and index of the first operator that reaches it (None: before the first).
    """
    steps = [(tuple(reads), tuple(makes)) for reads, makes in steps]
    last = {name: index for index, (reads, _) in enumerate(steps) for name in reads}
    last |= dict.fromkeys(results, len(steps))
    live = {name for name in sources if name in sizes}
    now = peak = sum(sizes[name] for name in live)
    where = None
    for index, (reads, makes) in enumerate(steps):
        made = {name for name in makes if name in sizes} - live
        live |= made
        now += sum(sizes[name] for name in made)
        if now > peak:
            peak, where = now, index
        dead = {n for n in (*reads, *makes) if n in live and last.get(n, -1) <= index}
        live -= dead
        now -= sum(sizes[name] for name in dead)
    return peak, where
