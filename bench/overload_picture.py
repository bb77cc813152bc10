"""The picture of part k: answers over time beside what was sent, each scenario before and after."""

from collections.abc import Mapping
from pathlib import Path

from bench.overload_world import Lived
from bench.pictures import COMPUTED, OTHER, OURS, drawing

COLOURS = {"after": OURS, "before": OTHER}


def draw(lives: Mapping[str, Mapping[str, Lived]], path: Path) -> None:
    """Draw for each scenario how many of its events were answered, and not withheld, by when."""
    with drawing(path, len(lives), 2.0 * len(lives) + 0.4) as drawn:
        plots = drawn if len(lives) > 1 else [drawn]
        for at, (name, runs) in zip(plots, lives.items(), strict=True):
            for which, lived in runs.items():
                good = sorted(a.at_s - lived.on_s for a in lived.answers.values() if not a.is_withheld)
                at.plot(*_steps(good), color=COLOURS[which], label=f"answered, {which}", linewidth=1.4)
                if which == "after":
                    sent = sorted(at_s - lived.on_s for at_s in lived.sent_s.values())
                    at.plot(*_steps(sent), color=COMPUTED, label="sent", linewidth=0.9, linestyle=(0, (4, 3)))
            at.set_title(name)
            at.set(ylabel="events")
            at.set_xlim(left=0)
            at.set_ylim(bottom=0)
        plots[0].legend(loc="lower right")
        plots[-1].set(xlabel="time since the cause began (s)")


def _steps(times: list[float]) -> tuple[list[float], list[int]]:
    return times, list(range(1, len(times) + 1))
