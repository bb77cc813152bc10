"""The import path that Serve configurations use; the chart names it, so it stays here."""

from serving.engine.application import build_from_arguments

__all__ = ["build_from_arguments"]
