"""Segments of answers on Kafka: written, read back, and kept while their events are unfinished."""
