"""Partitions of a topic followed on a thread of their own, by assignment and outside of any group."""
