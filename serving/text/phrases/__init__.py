"""Phrases that name risk, purpose and wrappers, by language. Data, and one way of finding it in a text."""
