"""Reading, validating and editing a .tflite without running it."""
