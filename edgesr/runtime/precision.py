"""Arithmetic of a run, whatever type the weights are stored in."""

import enum


class ComputePrecision(enum.StrEnum):
    """Floating-point type that a backend computes in."""

    FP16 = "fp16"
    FP32 = "fp32"
