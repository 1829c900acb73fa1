"""How alike two pictures are, by every measure that papers print."""

from dataclasses import dataclass
from statistics import fmean

from edgesr.metrics import Uint8Array, psnr_rgb, psnr_y, ssim_rgb, ssim_y


@dataclass(frozen=True)
class Scores:
    """What two pictures, or the mean of several pairs, are measured at.

    Attributes:
        psnr_y: On Y (BT.601, rounded to 8 bits), in dB; infinity where Y is equal.
        ssim_y: On Y, with Gaussian windows of 11x11.
        psnr_rgb: Over all values of R, G and B together, in dB.
        ssim_rgb: The mean of the three channels' SSIM.
    """

    psnr_y: float
    ssim_y: float
    psnr_rgb: float
    ssim_rgb: float

    @classmethod
    def mean(cls, scores: "list[Scores]") -> "Scores":
        """Each measure's mean over several pairs."""
        names = ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb")
        return cls(*(fmean(getattr(score, name) for score in scores) for name in names))


def compare(a_hwc_u8: Uint8Array, b_hwc_u8: Uint8Array, shave: int) -> Scores:
    """Measure two pictures by everything.

    Args:
        a_hwc_u8: RGB, height x width x 3.
        b_hwc_u8: RGB of the same size.
        shave: Pixels left out along each edge.

    Raises:
        PictureError: An array is not 8-bit RGB.
        SizeError: The sizes differ, `shave` is negative or leaves less than 11x11 pixels.
    """
    return Scores(
        psnr_y(a_hwc_u8, b_hwc_u8, shave),
        ssim_y(a_hwc_u8, b_hwc_u8, shave),
        psnr_rgb(a_hwc_u8, b_hwc_u8, shave),
        ssim_rgb(a_hwc_u8, b_hwc_u8, shave),
    )
