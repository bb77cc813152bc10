"""Telemetry: the spans of an event, and the metrics of a process."""
