"""Errors that a user can act on.

Each message states what was given, what is allowed and what to do. Only the CLI turns
them into an exit status.
"""


class EdgeSRError(Exception):
    """Base of every error that edgesr raises for bad input or a failed check."""


class OptionError(EdgeSRError, ValueError):
    """An argument of a public function has a value that is not allowed."""


class ArchitectureError(EdgeSRError):
    """No architecture has that name, scale or form."""


class CheckpointError(EdgeSRError):
    """A checkpoint cannot be read, is unsafe to read, or holds unusable weights."""


class UnsupportedCheckpointError(CheckpointError):
    """A checkpoint belongs to no registered architecture, or to another one."""


class OnnxFileError(EdgeSRError):
    """A file is no ONNX, or its network is of a kind that cannot be converted."""


class ModuleError(EdgeSRError):
    """A PyTorch module cannot be exported, or is no super-resolution network."""


class DownloadError(EdgeSRError):
    """A published file cannot be fetched, or has the wrong sha256."""


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


class ImageError(EdgeSRError):
    """An image cannot be read, or an upscaled one is not fit to be saved."""


class VideoError(EdgeSRError):
    """A video cannot be read, or its result cannot be put into the output's container."""


class OutputError(EdgeSRError):
    """An output cannot be written: it exists, its folder is missing, read-only or full."""


class MissingDependencyError(EdgeSRError):
    """A library of an extra that is not installed is needed."""
