"""Integer files: a float32 `.tflite` becomes one that computes in int8 from input to output."""
