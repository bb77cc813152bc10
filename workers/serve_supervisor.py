"""What a RayService imports; the chart names it, so it stays here."""

from workers.supervision.deployment import build

__all__ = ["build"]
