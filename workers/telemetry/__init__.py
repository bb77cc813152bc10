"""Traces, metrics and logs: set up, counted, exported."""
