"""Streaming an answer in segments: who may release, what was released, and what a reader shows. Pure."""
