"""Stand-ins for a machine without a broker, a model or a collector."""
