"""Errors a user can act on: each message says what was got, what is allowed and what to do.

Only the CLI turns them into an exit status.
"""


class EdgeSRError(Exception):
    """Base of every error that edgesr raises for bad input or a failed check."""


class ArchitectureError(EdgeSRError):
    """No architecture has that name or scale, or it has not the form that was asked for."""


class CheckpointError(EdgeSRError):
    """A checkpoint cannot be read, is unsafe to read, or holds unusable weights."""


class UnsupportedCheckpointError(CheckpointError):
    """A readable checkpoint belongs to no registered architecture (or not to the one asked for)."""


class OnnxFileError(EdgeSRError):
    """A file is no ONNX, or its network is of a kind that cannot be converted."""


class DownloadError(EdgeSRError):
    """A published file cannot be fetched, or what came is not what its sha256 says."""


class SizeError(EdgeSRError):
    """A height or width is malformed, out of range, or too large for this machine's memory."""


class ConversionError(EdgeSRError):
    """A stage of the conversion cannot do its work exactly."""


class ParityError(EdgeSRError):
    """A converted file does not match PyTorch within its gate."""


class ModelFileError(EdgeSRError):
    """A `.tflite` is unreadable, or not a super-resolution model."""


class AcceleratorError(EdgeSRError):
    """LiteRT's GPU accelerator failed: it crashed, or ran out of memory or time."""


class NoGpuError(AcceleratorError):
    """There is nothing here that the GPU accelerator can run on."""


class NoHalfPrecisionError(NoGpuError):
    """The GPU that is here has no FP16 arithmetic."""


class PictureError(EdgeSRError):
    """A picture cannot be read, or an upscaled one is not fit to be saved."""


class OutputError(EdgeSRError):
    """An output cannot be written: it exists, its folder is missing, read-only or full."""


class MissingDependencyError(EdgeSRError):
    """A library of an extra that is not installed is needed."""
