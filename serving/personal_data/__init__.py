"""Personal data in texts: found, redacted, and judged."""
