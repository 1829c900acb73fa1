"""What the device remembers of a run of benchmark_model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    """One invocation of benchmark_model.

    Attributes:
        words: Its path and flags, with the device's paths.
        affinity: The mask given to taskset, hexadecimal; empty without it.
    """

    words: tuple[str, ...]
    affinity: str

    @property
    def is_measurement(self) -> bool:
        """Whether it was asked to run a model, not for its flags."""
        return not any(word.startswith("--help") for word in self.words)
