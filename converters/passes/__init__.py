"""Exact ONNX -> ONNX rewrites, one per file, and fp16_rounding."""
