"""Traces, metrics and logs: their set-up and export."""
