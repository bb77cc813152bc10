"""Part g: how long open transactions hold readers back, without faults.

A reader of committed records sees nothing of a partition past the first open transaction. For each transaction, the
time is measured from the broker's append of its first record until its last record reaches a reader that waits at the
end of every output partition.
"""

import uuid
from statistics import median

from msgspec import Struct

from bench.arms import Arm, Say, new_topics, send
from bench.engine_arm import Done, Sample, Task
from bench.reader_arm import Ready, Seen, Visible
from bench.reader_arm import Task as ReaderTask
from bench.report import Figure, median_figure
from bench.stuck_key import percentile
from bench.world import record
from topology.contract.names import Topic

BLOCKED_MS_MAX = 100.0
MARGIN_S = 300.0
RECORDS_PER_EVENT = 2


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement: each rate for `seconds`, of which the first `warm_s` do not count."""

    rates_per_s: tuple[int, ...] = (100, 500, 1_500)
    seconds: float = 12.0
    warm_s: float = 2.0
    repetitions: int = 3


QUICK = Size(rates_per_s=(200,), seconds=3.0, warm_s=1.0, repetitions=1)


def measure(bootstrap: str, size: Size, say: Say) -> list[Figure]:
    """Measure the distribution of the time over transactions, for each rate."""
    runs: dict[int, list[list[float]]] = {rate: [] for rate in size.rates_per_s}
    for repetition in range(size.repetitions):
        for rate, done in runs.items():
            blocked = _run(bootstrap, rate, size)
            done.append(blocked)
            p99 = percentile(blocked, 99)
            say(f"g: {repetition + 1}/{size.repetitions} {rate}/s: {median(blocked):.0f} ms, p99 {p99:.0f} ms")
    made: list[Figure] = []
    for rate, done in runs.items():
        of = f"{rate} events/s; append of a transaction's first record to its last one read"
        made.append(median_figure("g", "readers blocked, p50", [median(run) for run in done], "ms", of=of))
        worst = [percentile(run, 99) for run in done]
        made.append(median_figure("g", "readers blocked, p99", worst, "ms", of=of, target=f"≤ {BLOCKED_MS_MAX:.0f} ms"))
        made.append(median_figure("g", "readers blocked, longest", [max(run) for run in done], "ms", of=of))
        share = [sum(each > BLOCKED_MS_MAX for each in run) / len(run) * 100 for run in done]
        of = f"{rate} events/s; {sum(len(run) for run in done)} transactions in all"
        made.append(median_figure("g", f"blocked above {BLOCKED_MS_MAX:.0f} ms", share, "%", of=of))
    return made


def _run(bootstrap: str, rate: int, size: Size) -> list[float]:
    """Return the milliseconds of each transaction after the warm-up."""
    topic, *out = new_topics(bootstrap, "in", *(f"out-{name}" for name in (Topic.AUDITED, Topic.AUDIT)))
    events = int(rate * size.seconds)
    task = Task(
        bootstrap=bootstrap,
        group=f"bench-{uuid.uuid4().hex}",
        topic=topic,
        prefix=out[0].removesuffix(Topic.AUDITED.value),
        events=events,
        work="pipeline",
        is_marked=True,
    )
    reading = ReaderTask(
        bootstrap=bootstrap, topics=tuple(out), records=events * RECORDS_PER_EVENT, timeout_s=size.seconds + MARGIN_S
    )
    given = [(made.key or b"", made.value or b"") for made in map(record, range(events))]
    with (
        Arm[Ready | Seen]("bench.reader_arm", reading, Ready | Seen) as reader,
        Arm[Sample | Done]("bench.engine_arm", task, Sample | Done) as arm,
    ):
        reader.wait_until(lambda: bool(reader.lines))
        arm.wait_until(lambda: any(isinstance(line, Sample) and line.is_assigned for line in arm.lines))
        send(bootstrap, topic, given, per_s=rate)
        arm.wait_ended(MARGIN_S)
        seen = reader.wait_ended(MARGIN_S)
    assert isinstance(seen, Seen)
    return blocked_ms(seen.transactions, size.warm_s)


def blocked_ms(transactions: list[Visible], warm_s: float) -> list[float]:
    """Return the times from first append to last record read, of transactions after the warm-up, or of the last one.

    The broker's times are truncated to whole milliseconds, so each is up to one millisecond too long.
    """
    ordered = sorted(transactions, key=lambda each: each.first_appended_ms)
    begin_ms = min(ordered[0].first_appended_ms + warm_s * 1000, ordered[-1].first_appended_ms)
    return [each.last_seen_ms - each.first_appended_ms for each in ordered if each.first_appended_ms >= begin_ms]
