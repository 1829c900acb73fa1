"""The figures that explain a network: what it costs, what fits, what its blocks do to a picture."""
