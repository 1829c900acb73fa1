"""Damage as logs come by it on their way from a device."""

import random


def mutate(log: str, rng: random.Random) -> str:
    """Damage a log in one or two of the ways in which logs come damaged."""
    for _ in range(rng.choice((1, 1, 2))):
        lines = log.split("\n")
        kind = rng.randrange(7)
        if kind == 0:
            log = log[: rng.randrange(len(log) + 1)]
        elif kind == 1:
            rng.shuffle(lines)
            log = "\n".join(lines)
        elif kind == 2:
            at, noise = rng.randrange(len(log) + 1), rng.randbytes(rng.randrange(1, 40))
            log = log[:at] + noise.decode("utf-8", errors="replace") + log[at:]
        elif kind == 3:
            del lines[rng.randrange(len(lines))]
            log = "\n".join(lines)
        elif kind == 4:
            first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            log = "\n".join(lines)
        elif kind == 5 and log:
            at = rng.randrange(len(log))
            log = log[:at] + rng.choice("0123456789e.-+= \n\x00") + log[at + 1 :]
        else:
            at, length = rng.randrange(len(log) + 1), rng.randrange(1, 30)
            log = log[:at] + log[at + length :]
    return log
