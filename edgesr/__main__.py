"""`python -m edgesr`, the same as `edgesr`."""

from edgesr.cli import main

main()
