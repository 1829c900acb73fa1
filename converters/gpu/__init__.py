"""Rules of the GPU delegate: checker, gate, audit, refusals."""
