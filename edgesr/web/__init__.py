"""A page that runs `.tflite` files in a browser: built as a static folder, served, measured."""
