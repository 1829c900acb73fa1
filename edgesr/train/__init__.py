"""Training: pictures in, weights out."""
