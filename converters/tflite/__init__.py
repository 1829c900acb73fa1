"""The converter back end: onnx2tf in a child process."""
