"""Conversion of a PyTorch or ONNX network to a GPU-ready `.tflite`."""
