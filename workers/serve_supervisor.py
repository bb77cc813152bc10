"""The import path of a RayService. The chart names it, so it stays here."""

from workers.supervision.deployment import build

__all__ = ["build"]
