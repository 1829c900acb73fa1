"""Exact ONNX -> ONNX rewrites, one per file, and fp16_rounding.

Those in third_party/ rewrite what only the graphs of others hold.
"""
