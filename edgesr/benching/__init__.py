"""Latencies: measured on this host, as records, compared, and shown; phones bring their own."""
