"""Pictures of the measurements in one plain style. matplotlib is imported only when something is drawn."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.engine_arm import Sample

OURS, OTHER, COMPUTED = "#1f5a99", "#e08a1e", "#8a8a8a"
POINTS_MAX = 400
"""Of one line: more would not be seen."""

STYLE: Any = {
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "sluicegate",
}


@contextmanager
def drawing(path: Path, rows: int, height: float) -> Generator[Any]:
    """Hold a figure of `rows` plots, one below the other, and write it to `path` after the block."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.subplots(rows, 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, metadata=metadata, dpi=110)


def in_flight(runs: Mapping[int, Sequence[tuple[float, int]]], path: Path) -> None:
    """Draw the events in process over time (seconds, count), each run with its bound."""
    with drawing(path, 1, 3.2) as axes:
        for (bound, running), colour in zip(runs.items(), (OURS, OTHER), strict=False):
            points = thinned(running)
            axes.plot(*zip(*points, strict=True), color=colour, label=f"in_flight_max {bound:,}", linewidth=1.6)
            axes.axhline(bound, color=colour, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set(xlabel="time since the first event started (s)", ylabel="events running at once")
        axes.set_ylim(bottom=0, top=max(runs) * 1.08)
        axes.set_xlim(left=0)
        axes.legend(loc="center right")


def latencies(
    free: Sequence[float], beside: Sequence[float], computed: Sequence[float], stuck_s: float, path: Path
) -> None:
    """Draw times in seconds of other keys, without a stuck one and with it; below them those under a committed prefix.

    `computed` are the times if only a prefix of the partition could be committed.
    """
    measured = {
        "nothing stuck": (free, OTHER),
        f"one key stuck for {stuck_s:g} s: the other keys of its partition": (beside, OURS),
    }
    with drawing(path, 2, 5.4) as (near, far):
        low, high = min(*free, *beside), max(*free, *beside)
        for label, (of, colour) in measured.items():
            _histogram(near, of, _edges(low, high, 60), colour, label)
        near.set_title("from append to commit, measured")
        near.set(xlabel="time (s)", ylabel="events (%)")
        near.legend(loc="upper right")
        edges = _edges(0.0, max(*computed, high), 36)
        _histogram(far, beside, edges, OURS, "measured: the other keys of the partition")
        _histogram(far, computed, edges, COMPUTED, "computed: if only a prefix could be committed")
        far.set_title(f"from append to commit, one key stuck for {stuck_s:g} s")
        far.set(xlabel="time (s)", ylabel="events (%), logarithmic", yscale="log")
        far.set_yticks([0.1, 1, 10, 100], labels=["0.1", "1", "10", "100"])
        far.set_ylim(bottom=0.1, top=1000)
        far.legend(loc="upper right")


def memory(samples: Sequence[Sample], path: Path) -> None:
    """Draw resident memory over the committed events."""
    points = thinned([(sample.committed / 1000, sample.rss_mib) for sample in samples])
    with drawing(path, 1, 3.0) as axes:
        axes.plot(*zip(*points, strict=True), color=OURS, linewidth=1.4)
        axes.axvline(points[-1][0] / 5, color=COMPUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate("20 %", (points[-1][0] / 5, 0), xytext=(4, 6), textcoords="offset points", color="#555555")
        axes.set(xlabel="events committed (thousands)", ylabel="resident memory (MiB)")
        axes.set_ylim(bottom=0, top=max(mib for _, mib in points) * 1.25)
        axes.set_xlim(left=0)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most about POINTS_MAX of the points, evenly spread and including the last one."""
    step = max(1, len(points) // POINTS_MAX)
    return [*points[:-1:step], points[-1]]


def _edges(low: float, high: float, count: int) -> list[float]:
    return [low + (high - low) * index / count for index in range(count + 1)]


def _histogram(axes: Any, values: Sequence[float], edges: Sequence[float], colour: str, label: str) -> None:
    weights = [100 / len(values)] * len(values)
    axes.hist(
        values, bins=edges, weights=weights, histtype="stepfilled", color=(colour, 0.25), edgecolor=colour, label=label
    )
