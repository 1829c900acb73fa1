"""From a PyTorch network over ONNX to a `.tflite` that the GPU delegate takes whole."""
