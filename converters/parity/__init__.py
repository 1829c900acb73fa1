"""Parity of a file with its network: inputs, gates, verification."""
