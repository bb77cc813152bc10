"""The flow of an event, and the rules it is decided under.

The package has no effects of its own. It imports the standard library and msgspec; only `policy/document_bounds.py`
imports PyYAML, and only `telemetry/` imports OpenTelemetry's API.
"""
