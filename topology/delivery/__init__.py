"""The rules of exactly-once delivery: what may run, what is committed together, what is a repeat. Pure."""
