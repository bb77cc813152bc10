"""Exactly-once delivery: the records that may run now, and the results that one transaction commits. Pure."""
