"""Scripts that make tflite_models/ and the bundled weights."""
