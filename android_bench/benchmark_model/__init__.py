"""TFLite's benchmark_model: binary, command line, invocation, log parser."""
