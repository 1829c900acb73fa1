"""Explain a network: its cost, a stress test, frequency analysis, feature maps."""
