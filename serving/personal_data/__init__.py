"""Personal data in texts: finding, redacting and judging it."""
