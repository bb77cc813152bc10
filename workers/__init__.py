"""Who runs it: settings, Kafka, Ray, telemetry, the command line."""
