"""Exact ONNX -> ONNX rewrites, one per file."""
