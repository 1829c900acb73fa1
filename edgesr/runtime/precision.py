"""Arithmetic of a run, whatever type the weights are stored in."""

from edgesr.common.compat import StrEnum


class ComputePrecision(StrEnum):
    """Floating-point type that a backend computes in."""

    FP16 = "fp16"
    FP32 = "fp32"
