"""Training: data, losses, optimisers, loop, recipes."""
