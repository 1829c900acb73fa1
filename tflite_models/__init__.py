"""The `.tflite` files that come with edgesr, each with its manifest and model card."""
