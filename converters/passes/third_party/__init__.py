"""Exact ONNX -> ONNX rewrites of what the graphs of others hold, one per file."""
