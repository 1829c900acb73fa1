"""Image files as arrays and back: metadata, resizing, metrics, datasets, the test card."""
