"""benchmark_model as the fake device runs it: flags, delegates, timing, and what it prints."""
