"""Part h: the first event after a start, compared with the hundredth."""

import statistics
from collections.abc import Callable

import msgspec
from msgspec import Struct

from bench.kafka_ratio import run_module
from bench.report import Figure, median_figure
from bench.start_arm import Start, Task

NEIGHBOURS = 5
"""Events on each side of the hundredth: their median stands for it, because one event alone may meet a pause."""

RATIO_MAX = 2


class Size(Struct, frozen=True, kw_only=True):
    """How much is measured. `event` is the number of the late event, from 1."""

    starts: int = 10
    event: int = 100


QUICK = Size(starts=2, event=20)


def measure(size: Size, say: Callable[[str], None]) -> list[Figure]:
    """Start the guards of a worker in a process of its own, as often as `size` says."""
    starts: list[Start] = []
    task = Task(events=size.event + NEIGHBOURS)
    for number in range(size.starts):
        starts.append(msgspec.json.decode(run_module("bench.start_arm", task), type=Start))
        first_ms = starts[-1].events_ms[0]
        say(f"h: {number + 1}/{size.starts}: ready after {starts[-1].ready_s:.1f} s, first event {first_ms:.1f} ms")
    return figures(starts, size)


def figures(starts: list[Start], size: Size) -> list[Figure]:
    """Return the medians over the starts."""
    first = [start.events_ms[0] for start in starts]
    late = [statistics.median(start.events_ms[size.event - 1 - NEIGHBOURS :]) for start in starts]
    ratios = [one / other for one, other in zip(first, late, strict=True)]
    of = "labeler and stages inline, generator a stand-in; one event at a time"
    target = f"≤ {RATIO_MAX}"
    return [
        median_figure("h", f"first event to event {size.event}, ratio", ratios, "", of=of, target=target),
        median_figure("h", "first event", first, "ms", of=of),
        median_figure("h", f"event {size.event}", late, "ms", of=f"median of {2 * NEIGHBOURS + 1} around it"),
        median_figure(
            "h", "guards ready", [start.ready_s for start in starts], "s", of="imports apart, warm-up included"
        ),
    ]
