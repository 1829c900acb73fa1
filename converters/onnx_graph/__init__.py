"""An ONNX graph: export, third-party files, analysis, calibration, costs."""
