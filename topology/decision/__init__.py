"""Decisions: the ceilings and plan of a request, and the verdict on a draft. Pure."""
