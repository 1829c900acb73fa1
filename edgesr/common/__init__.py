"""Atomic files, subprocesses, machine facts, progress, liveness."""
