"""Lightweight super-resolution networks: from PyTorch to verified files for mobile GPUs.

    import edgesr

    model = edgesr.load_model("rtc")
    hr = model.upscale(lr)  # a Pillow image or a numpy array, the result is the same kind

Importing this loads neither numpy nor torch: every name is loaded when it is used first. Sizes are
always (height, width). Every expected error is a class of `edgesr.errors`, below `EdgeSRError`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converters.gpu.audit import Audit
    from converters.manifest import Manifest
    from converters.parity.verify import ParityReport
    from edgesr import errors
    from edgesr._api.conversion import ConvertedFile, convert, fold, fold_checkpoint
    from edgesr._api.inspection import inspect, verify
    from edgesr._api.listing import ModelInfo, list_models
    from edgesr._api.model import Model, load_model, upscale
    from edgesr._api.networks import load_checkpoint
    from edgesr.errors import EdgeSRError
    from edgesr.tflite.facts import Facts
    from edgesr.training.export import Folded
    from edgesr.upscaling.files import UpscaledFile
    from edgesr.weights.checkpoints import LoadedCheckpoint

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "ConvertedFile",
    "EdgeSRError",
    "Facts",
    "Folded",
    "LoadedCheckpoint",
    "Manifest",
    "Model",
    "ModelInfo",
    "ParityReport",
    "UpscaledFile",
    "__version__",
    "convert",
    "errors",
    "fold",
    "fold_checkpoint",
    "inspect",
    "list_models",
    "load_checkpoint",
    "load_model",
    "upscale",
    "verify",
]

#: Public name -> the module that it is loaded from when it is used first.
_HOMES = {
    "Audit": "converters.gpu.audit",
    "ConvertedFile": "edgesr._api.conversion",
    "EdgeSRError": "edgesr.errors",
    "Facts": "edgesr.tflite.facts",
    "Folded": "edgesr.training.export",
    "LoadedCheckpoint": "edgesr.weights.checkpoints",
    "Manifest": "converters.manifest",
    "Model": "edgesr._api.model",
    "ModelInfo": "edgesr._api.listing",
    "ParityReport": "converters.parity.verify",
    "UpscaledFile": "edgesr.upscaling.files",
    "convert": "edgesr._api.conversion",
    "fold": "edgesr._api.conversion",
    "fold_checkpoint": "edgesr._api.conversion",
    "inspect": "edgesr._api.inspection",
    "list_models": "edgesr._api.listing",
    "load_checkpoint": "edgesr._api.networks",
    "load_model": "edgesr._api.model",
    "upscale": "edgesr._api.model",
    "verify": "edgesr._api.inspection",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name; type checkers see the imports
    if name == "errors":
        return importlib.import_module("edgesr.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'edgesr' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
