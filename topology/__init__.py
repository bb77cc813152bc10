"""The flow of an event, and the rules it is decided under.

Without effects of its own. It imports the standard library and msgspec; PyYAML in `policy/document_bounds.py` alone,
OpenTelemetry's API in `telemetry/` alone.
"""
