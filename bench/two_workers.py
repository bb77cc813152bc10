"""Part m: what a second worker adds, where events only wait, as those of a model do.

One worker reads a topic from its beginning, then two share one. The rate and the CPU time of an event are those of a
stretch of time in which every worker has its partitions and enough events.
"""

import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count, islice

from msgspec import Struct

from bench.arms import Arm, Say, new_topics, send
from bench.engine_arm import Done, Sample, Task
from bench.report import Figure, median_figure

VALUE = b"x" * 100
WORKERS = 2
SETTLE_S = 3.0
"""After the last worker got its partitions."""


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement: `wait_s` an event, `in_flight_max` at once in a worker."""

    wait_s: float = 0.05
    in_flight_max: int = 32
    stretch_s: float = 15.0
    repetitions: int = 3

    @property
    def events(self) -> int:
        """Return how many events are there: enough for all workers from the first one's start on, twice over."""
        lasts_s = self.stretch_s + 2 * SETTLE_S
        return int(2 * WORKERS * lasts_s * self.in_flight_max / self.wait_s)


QUICK = Size(stretch_s=2.0, repetitions=1)


class Rate(Struct, frozen=True):
    """Events a second of all workers together, and CPU time of an event in microseconds."""

    per_s: float
    cpu_us: float


def measure(bootstrap: str, size: Size, say: Say) -> list[Figure]:
    """Measure one worker and then two, as often as `size` says."""
    runs: list[tuple[Rate, Rate]] = []
    for number in range(size.repetitions):
        one, two = (_run(bootstrap, size, workers) for workers in (1, WORKERS))
        runs.append((one, two))
        say(f"m: {number + 1}/{size.repetitions}: {one.per_s:.0f} events/s, with two workers {two.per_s:.0f}")
    return figures(runs, size)


def figures(runs: Sequence[tuple[Rate, Rate]], size: Size) -> list[Figure]:
    """Return the medians over the runs."""
    of = f"events wait {size.wait_s * 1000:.0f} ms, {size.in_flight_max} at once in a worker"
    rates = [two.per_s / one.per_s for one, two in runs]
    cpu = [two.cpu_us / one.cpu_us for one, two in runs]
    return [
        median_figure("m", "events/s, two workers, ratio", rates, "", of=f"{of}; against one", target="≥ 1.9"),
        median_figure("m", "CPU per event, two workers, ratio", cpu, "", of=f"{of}; against one", target="≤ 1.1"),
        median_figure("m", "events/s, one worker", [one.per_s for one, _ in runs], "events/s", of=of),
        median_figure("m", "CPU per event, one worker", [one.cpu_us for one, _ in runs], "µs", of=of),
    ]


def rate_of(before: Sequence[Sample], after: Sequence[Sample]) -> Rate:
    """Return the rate between two moments of the same workers."""
    pairs = list(zip(before, after, strict=True))
    events = sum(late.committed - early.committed for early, late in pairs)
    per_s = sum((late.committed - early.committed) / (late.at_s - early.at_s) for early, late in pairs)
    return Rate(per_s, sum(late.cpu_s - early.cpu_s for early, late in pairs) / events * 1e6)


def _run(bootstrap: str, size: Size, workers: int) -> Rate:
    topic, out = new_topics(bootstrap, "in", "out")
    keys = (f"c-{number}".encode() for number in count())
    send(bootstrap, topic, ((key, VALUE) for key in islice(keys, size.events)))
    group = f"bench-{uuid.uuid4().hex}"
    with ExitStack() as stack:
        arms: list[Arm[Sample | Done]] = []
        for slot in range(workers):
            task = Task(
                bootstrap=bootstrap,
                group=group,
                slot=slot,
                topic=topic,
                prefix=out,
                events=size.events,
                work="wait",
                wait_s=size.wait_s,
                in_flight_max=size.in_flight_max,
            )
            arms.append(stack.enter_context(Arm[Sample | Done]("bench.engine_arm", task, Sample | Done)))
        for arm in arms:
            arm.wait_until(partial(_has_begun, arm))
        time.sleep(SETTLE_S)
        before = [_latest(arm) for arm in arms]
        time.sleep(size.stretch_s)
        return rate_of(before, [_latest(arm) for arm in arms])


def _has_begun(arm: Arm[Sample | Done]) -> bool:
    return bool(arm.lines) and _latest(arm).committed > 0


def _latest(arm: Arm[Sample | Done]) -> Sample:
    latest = arm.lines[-1]
    if isinstance(latest, Done):
        raise RuntimeError("a worker had no events left")  # noqa: TRY004 - no fault of the type
    return latest
