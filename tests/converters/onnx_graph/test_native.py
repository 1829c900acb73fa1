"""onnxruntime as edgesr calls it."""

import os
import subprocess
import sys
from pathlib import Path

import onnx

from helpers.onnx_graphs import GraphBuilder

_LOAD = (
    "import sys, onnx; from converters.onnx_graph.native import Session; "
    "Session(onnx.load(sys.argv[1]))"
)


def test_onnxruntime_records_no_use_and_leaves_no_files(tmp_path: Path) -> None:
    g = GraphBuilder(3)
    onnx.save(g.build(g.conv("lr", (3, 3))), str(tmp_path / "net.onnx"))
    folders = [tmp_path / "temporary", tmp_path / "home"]
    for folder in folders:
        folder.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"TMPDIR": str(folders[0]), "HOME": str(folders[1])}
    words = [sys.executable, "-c", _LOAD, str(tmp_path / "net.onnx")]
    subprocess.run(words, env=environment, check=True)
    assert [path for folder in folders for path in folder.rglob("*")] == []
