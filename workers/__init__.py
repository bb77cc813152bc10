"""The running side: settings, Kafka, Ray, telemetry export, and the command line."""
