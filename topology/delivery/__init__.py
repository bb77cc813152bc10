"""Exactly once: which record may run now, and what one transaction takes. Pure."""
