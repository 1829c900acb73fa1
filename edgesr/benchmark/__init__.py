"""Latency on the host: timing, records, comparison."""
