"""Part e: no key waits for a stuck one, and as many events run at once as settings allow.

There are two measurements on one worker whose events only wait for two seconds. All events at once: how many run
together, and how long all of them take. A steady load: how late other keys become visible while one key is stuck.
"""

import statistics
import uuid
from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil
from pathlib import Path

from msgspec import Struct

from bench import pictures
from bench.arms import PARTITIONS, Arm, Say, new_topics, send
from bench.engine_arm import STUCK_KEY, Done, Sample, Task, Trace
from bench.report import Figure, median_figure

VALUE = b"x" * 100
REPEATED_EVERY = 200
"""So many conversations for one that has REPEATED events."""
REPEATED = 4
RUN_TIMEOUT_S = 180.0
WINDOW_EVENTS = 1024


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement. `bounds` are those on events in flight."""

    events: int = 10_000
    wait_s: float = 2.0
    bounds: tuple[int, ...] = (1024, PARTITIONS * WINDOW_EVENTS)
    stuck_s: float = 30.0
    events_per_s: float = 300.0
    repetitions: int = 3


QUICK = Size(events=400, wait_s=0.2, bounds=(100,), stuck_s=2.0, events_per_s=150.0, repetitions=1)


class Filled(Struct, frozen=True, kw_only=True):
    """A run that had all its events at once: (seconds since the first start, events running)."""

    bound: int
    running: list[tuple[float, int]]
    done: Done


class Steady(Struct, frozen=True, kw_only=True):
    """Runs under a steady load, with a stuck key and without: latencies in seconds, from append to visibility."""

    free: list[list[float]]
    """Nothing stuck, the partition that the stuck key belongs to."""
    beside: list[list[float]]
    """One key stuck: the others of its partition."""
    elsewhere: list[list[float]]
    """One key stuck: the other partitions."""
    prefix: list[list[float]]
    """Computed from `beside`: visible only once everything before it in its partition is done."""
    own: list[list[float]]
    """The stuck key's own events."""


def measure(bootstrap: str, size: Size, say: Say, images: Path | None) -> list[Figure]:
    """Measure the figures, and draw pictures of them into `images`."""
    filled = {bound: [_filled(bootstrap, size, bound, say) for _ in range(size.repetitions)] for bound in size.bounds}
    steady = _steady(bootstrap, size, say)
    if images is not None:
        pictures.in_flight({bound: runs[0].running for bound, runs in filled.items()}, images / "bench-in-flight.svg")
        free, beside, prefix = (list(chain(*times)) for times in (steady.free, steady.beside, steady.prefix))
        pictures.latencies(free, beside, prefix, size.stuck_s, images / "bench-stuck-key.svg")
    return [*_filled_figures(filled, size), *_steady_figures(steady, size)]


def conversations(count: int, *, is_repeated: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield one event of each; in the first half some have REPEATED, each next one REPEATED_EVERY records later."""
    repeated = count // 2 // REPEATED_EVERY if is_repeated else 0
    for index in range(count):
        yield f"key-{index:06d}".encode(), VALUE
        if index % REPEATED_EVERY == 0 and index // REPEATED_EVERY < repeated:
            for _ in range(REPEATED - 1):
                yield f"key-{index:06d}".encode(), VALUE


def _filled(bootstrap: str, size: Size, bound: int, say: Say) -> Filled:
    topic, out = new_topics(bootstrap, "in", "out")
    # Beyond WINDOW_EVENTS in flight an event that comes again would run on alone, after all others.
    given = list(conversations(size.events, is_repeated=bound <= WINDOW_EVENTS))
    send(bootstrap, topic, given)
    task = _task(bootstrap, topic, out, size, events=len(given), bound=bound)
    with Arm[Sample | Done]("bench.engine_arm", task, Sample | Done) as arm:
        done = arm.wait_ended(RUN_TIMEOUT_S)
        samples = [line for line in arm.lines if isinstance(line, Sample)]
    assert isinstance(done, Done)
    first_s = next(sample.at_s for sample in samples if sample.running)
    running = [(sample.at_s - first_s, sample.running) for sample in samples if sample.at_s >= first_s]
    say(f"e: {len(given)} events of {size.wait_s:g} s, {bound} in flight: {done.wall_s:.2f} s")
    return Filled(bound=bound, running=running, done=done)


def _task(bootstrap: str, topic: str, out: str, size: Size, *, events: int, bound: int, stuck_s: float = 0) -> Task:
    return Task(
        bootstrap=bootstrap,
        group=f"bench-{uuid.uuid4().hex}",
        topic=topic,
        prefix=out,
        events=events,
        work="wait",
        wait_s=size.wait_s,
        stuck_s=stuck_s,
        in_flight_max=bound,
        queue_events_max=10_000,
        sample_interval_s=0.05,
    )


def _steady(bootstrap: str, size: Size, say: Say) -> Steady:
    steady = Steady(free=[], beside=[], elsewhere=[], prefix=[], own=[])
    for repetition in range(size.repetitions):
        free = _under_load(bootstrap, size, 0)
        stuck = _under_load(bootstrap, size, size.stuck_s)
        partition = next(trace.partition for trace in stuck if trace.is_stuck_key)
        beside = [trace for trace in stuck if trace.partition == partition]
        steady.free.append([_latency_s(t) for t in free if t.partition == partition and not t.is_stuck_key])
        steady.beside.append([_latency_s(t) for t in beside if not t.is_stuck_key])
        steady.elsewhere.append([_latency_s(t) for t in stuck if t.partition != partition])
        steady.prefix.append(prefix_latencies_s(beside))
        steady.own.append([_latency_s(t) for t in beside if t.is_stuck_key])
        with_s, without_s = percentile(steady.beside[-1], 99), percentile(steady.free[-1], 99)
        say(f"e: {repetition + 1}/{size.repetitions} p99 of other keys {with_s:.2f} s, nothing stuck {without_s:.2f} s")
    return steady


def _under_load(bootstrap: str, size: Size, stuck_s: float) -> list[Trace]:
    topic, out = new_topics(bootstrap, "in", "out")
    given = list(steady_load(int(size.events_per_s * (size.stuck_s + 2 * size.wait_s))))
    task = _task(bootstrap, topic, out, size, events=len(given), bound=size.bounds[0], stuck_s=stuck_s)
    with Arm[Sample | Done]("bench.engine_arm", task, Sample | Done) as arm:
        arm.wait_until(lambda: any(isinstance(line, Sample) and line.is_assigned for line in arm.lines))
        send(bootstrap, topic, given, per_s=size.events_per_s)
        done = arm.wait_ended(RUN_TIMEOUT_S)
    assert isinstance(done, Done)
    assert (done.disordered, done.running_max_per_key) == (0, 1), "keys out of order"
    return done.traces


def steady_load(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield conversations of one event each, with the stuck key's first event early and two more right after it."""
    for index in range(count):
        key = STUCK_KEY if index in {count // 20, count // 20 + 1, count // 20 + 2} else f"key-{index:06d}".encode()
        yield key, VALUE


def _latency_s(trace: Trace) -> float:
    return (trace.committed_ms - trace.appended_ms) / 1000


def prefix_latencies_s(partition: Sequence[Trace]) -> list[float]:
    """Return how long other keys of the stuck one's partition would wait if only a prefix could be committed.

    An event is then visible once it and all before it are done, and as much later as its own commit was.
    """
    latencies: list[float] = []
    done_ms = 0.0
    for trace in sorted(partition, key=lambda trace: trace.offset):
        done_ms = max(done_ms, trace.finished_ms)
        if not trace.is_stuck_key:
            visible_ms = done_ms + trace.committed_ms - trace.finished_ms
            latencies.append((visible_ms - trace.appended_ms) / 1000)
    return latencies


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value that `percent` of the values do not exceed, by linear interpolation between neighbours."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _filled_figures(filled: dict[int, list[Filled]], size: Size) -> list[Figure]:
    made: list[Figure] = []
    for bound, runs in filled.items():
        waves = ceil(size.events / bound)
        of = f"{size.events:,} conversations, {size.wait_s:g} s an event, in_flight_max {bound}"
        most = [float(run.done.running_max) for run in runs]
        made.append(median_figure("e", "events running at once, most", most, "", of=of, target=f"{bound}"))
        wall = [run.done.wall_s for run in runs]
        made.append(median_figure("e", "all events", wall, "s", of=of))
        against = [wall_s / (waves * size.wait_s) for wall_s in wall]
        of = f"against {waves} times {size.wait_s:g} s; in_flight_max {bound}"
        target = "≤ 1.25" if bound <= WINDOW_EVENTS else ""
        made.append(median_figure("e", "all events, ratio", against, "", of=of, target=target))
        disordered = [float(run.done.disordered + run.done.running_max_per_key - 1) for run in runs]
        of = f"in_flight_max {bound}; or two of a key at once"
        made.append(median_figure("e", "events out of order of their key", disordered, "", of=of, target="0"))
    return made


def _steady_figures(steady: Steady, size: Size) -> list[Figure]:
    stuck = f"one key stuck for {size.stuck_s:g} s"
    made: list[Figure] = []
    for name, runs in {
        "nothing stuck": steady.free,
        f"{stuck}: the others of its partition": steady.beside,
        f"{stuck}: the other partitions": steady.elsewhere,
        f"{stuck}: the others of its partition, if only a prefix could be committed (computed)": steady.prefix,
    }.items():
        of = f"{size.events_per_s:g} events/s of {size.wait_s:g} s; {name}"
        for percent in (50, 99):
            values = [percentile(run, percent) for run in runs]
            made.append(median_figure("e", f"append to commit, p{percent}", values, "s", of=of))
    pairs = zip(steady.beside, steady.elsewhere, steady.free, strict=True)
    ratios = [(percentile(a, 99) / percentile(b, 99), percentile(a, 99) / percentile(c, 99)) for a, b, c in pairs]
    against = ("the other partitions of the same run", "the same partition with nothing stuck")
    for index, other in enumerate(against):
        values = [ratio[index] for ratio in ratios]
        of = f"keys beside the stuck one, against {other}"
        made.append(median_figure("e", "append to commit, p99, ratio", values, "", of=of, target="≤ 1.25"))
    longest = [max(run) for run in steady.own]
    of = f"{stuck}, its third event: {size.stuck_s:g} s and two of {size.wait_s:g} s"
    made.append(median_figure("e", "append to commit, the stuck key", longest, "s", of=of))
    return made
