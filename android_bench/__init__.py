"""Benchmarks on Android devices over adb.

Imports neither torch nor tensorflow nor converters.
"""
