"""Benchmarks on a phone over adb; imports neither torch nor tensorflow nor converters."""
