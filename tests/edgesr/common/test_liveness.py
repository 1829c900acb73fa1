"""Liveness over any graph, held against the definition."""

from hypothesis import given
from hypothesis import strategies as st

from edgesr.common.liveness import Step, peak_live_size


def _by_definition(
    steps: list[Step[int]], sizes: dict[int, int], source: int, result: int
) -> tuple[int, int | None]:
    """At every step, whatever exists by then and is still to be read, or is touched by it."""
    most, where = sizes[source], None
    for index, (reads, makes) in enumerate(steps):
        before = {source}.union(*(set(made) for _, made in steps[:index]))
        later = {result}.union(*(set(read) for read, _ in steps[index + 1 :]))
        alive = (before & later) | (before & set(reads)) | set(makes)
        now = sum(sizes[name] for name in alive)
        if now > most:
            most, where = now, index
    return most, where


@given(st.data())
def test_the_peak_is_that_of_the_definition(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 8))
    # Step i makes tensor i + 1 of some that are there; -1 stands for weights, which take nothing.
    reads = [
        data.draw(st.lists(st.integers(-1, index), min_size=1, max_size=3).map(tuple))
        for index in range(count)
    ]
    reads[0] = (0,)
    steps: list[Step[int]] = [(read, (index + 1,)) for index, read in enumerate(reads)]
    sizes = dict(enumerate(data.draw(st.lists(st.integers(1, 99), min_size=9, max_size=9))))
    known: list[Step[int]] = [(tuple(n for n in r if n >= 0), made) for r, made in steps]
    assert peak_live_size(steps, sizes, [0], [count]) == _by_definition(known, sizes, 0, count)


def test_without_operators_the_sources_are_alive() -> None:
    assert peak_live_size([], {"lr": 3}, ["lr", "weight"], ["lr"]) == (3, None)
