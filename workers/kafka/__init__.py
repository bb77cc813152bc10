"""Clients of the brokers: the Source and Sink ports, readers, topics."""
