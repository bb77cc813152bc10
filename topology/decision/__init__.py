"""Decisions from labels and a policy: ceilings and plan of a request, verdict on a draft. Pure."""
