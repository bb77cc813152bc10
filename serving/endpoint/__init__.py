"""The HTTP client of model servers: time limits, retries, breaker, streaming."""
