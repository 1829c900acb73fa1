"""edgesr: lightweight super-resolution networks, from PyTorch to a phone's GPU."""

__version__ = "0.1.0"
