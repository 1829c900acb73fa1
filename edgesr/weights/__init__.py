"""Checkpoints, bundled and published weights, downloads."""
