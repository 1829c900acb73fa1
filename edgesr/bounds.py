"""How near two pictures must be, as every gate words it. Only the library."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bounds:
    """How near an output must be; NaN and infinity never are.

    Attributes:
        max_abs: Largest allowed absolute difference, of values in [0, 1].
        psnr_db: Smallest allowed PSNR with peak 1.0.
    """

    max_abs: float | None = None
    psnr_db: float | None = None

    def __str__(self) -> str:
        bounds: list[str] = []
        if self.psnr_db is not None:
            bounds.append(f"PSNR >= {self.psnr_db:g} dB")
        if self.max_abs is not None:
            bounds.append(f"max abs <= {self.max_abs:g}")
        return ", ".join(bounds)

    def is_low(self, psnr_db: float | None) -> bool:
        """Whether a PSNR is not enough; None is that of equal outputs."""
        return self.psnr_db is not None and psnr_db is not None and not psnr_db >= self.psnr_db

    def is_far(self, max_abs: float) -> bool:
        """Whether a difference is too large."""
        return self.max_abs is not None and not max_abs <= self.max_abs
