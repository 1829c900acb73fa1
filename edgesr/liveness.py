"""How much is alive at once while a graph runs, whatever it is a graph of. Only the library."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

_Name = TypeVar("_Name", bound=Hashable)

#: What an operator reads and what it makes.
Step = tuple[Iterable[_Name], Iterable[_Name]]


def most_alive(
    steps: Sequence[Step[_Name]],
    sizes: Mapping[_Name, int],
    sources: Iterable[_Name],
    results: Iterable[_Name],
) -> tuple[int, int | None]:
    """The most that is alive at once.

    A tensor lives from the operator that makes it to the last one that reads it, both included; the
    results live to the end.

    Args:
        steps: The operators, in the order of execution.
        sizes: Size of each tensor that counts; others (weights) take nothing.
        sources: What is there before the first operator.
        results: What the graph gives.

    Returns:
        The sum of the sizes, and the first operator at which it is reached (None: before all).
    """
    steps = [(tuple(reads), tuple(makes)) for reads, makes in steps]
    last = {name: index for index, (reads, _) in enumerate(steps) for name in reads}
    last |= dict.fromkeys(results, len(steps))
    alive = {name for name in sources if name in sizes}
    now = most = sum(sizes[name] for name in alive)
    where = None
    for index, (reads, makes) in enumerate(steps):
        made = {name for name in makes if name in sizes} - alive
        alive |= made
        now += sum(sizes[name] for name in made)
        if now > most:
            most, where = now, index
        dead = {n for n in (*reads, *makes) if n in alive and last.get(n, -1) <= index}
        alive -= dead
        now -= sum(sizes[name] for name in dead)
    return most, where
