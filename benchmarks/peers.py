"""Conversion by peers: onnx2tf, and litert-torch in its own environment."""

import subprocess
import sys
from pathlib import Path

import platformdirs
from torch import nn

from converters.onnx_graph.export import export
from converters.tflite.backend import Onnx2tf

LITERT_TORCH = "litert-torch==0.10.0"
_TORCH = "torch==2.13.0"
_ROOT = Path(__file__).parent.parent


def litert_torch_python() -> Path:
    """The interpreter of litert-torch's environment, created on first use."""
    folder = Path(platformdirs.user_cache_dir("edgesr")) / "peers" / LITERT_TORCH.replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        print(f"installing {LITERT_TORCH} into {folder} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", _TORCH, LITERT_TORCH], check=True)
        (folder / ".installed").touch()
    return python


def convert_with_litert_torch(
    model: str, checkpoint: Path, height: int, width: int, target: Path
) -> None:
    """Convert a plain network with litert-torch as documented: NHWC in and out.

    Args:
        model: Name of the network, as `edgesr models` lists it.
        checkpoint: State dict of the plain network, as `torch.save` writes it.
        height: Rows of the fixed input.
        width: Columns of the fixed input.
        target: The `.tflite` to write.
    """
    child = Path(__file__).with_name("litert_torch_child.py")
    words = [model, checkpoint, str(height), str(width), target]
    subprocess.run(
        [litert_torch_python(), child, *words],
        check=True,
        cwd=_ROOT,
        env={"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def convert_with_onnx2tf(net: nn.Module, height: int, width: int, target: Path) -> None:
    """Convert a plain network with onnx2tf, without edgesr's passes.

    Args:
        net: A folded network in eval mode, NCHW in its own value range.
        height: Rows of the fixed input.
        width: Columns of the fixed input.
        target: The `.tflite` to write, of FP32 weights, NHWC in the network's own value range.

    Raises:
        ConversionError: onnx2tf fails.
    """
    with Onnx2tf() as worker:
        target.write_bytes(worker.convert(export(net, height, width), half=False))
