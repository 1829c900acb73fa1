"""Training images: the store, patches of it, batches of patches."""
