"""Part f: resident memory of one worker over a long run, which should stay flat."""

import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import linear_regression, mean

from msgspec import Struct

from bench.arms import Arm, Say, new_topics, send
from bench.engine_arm import Done, Sample, Task
from bench.report import Figure
from topology.contract.codec import encode
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.headers import Wire
from topology.contract.names import Topic

SAID_EVERY_S = 20.0
AHEAD_WAIT_S = 0.02
RUN_TIMEOUT_S = 1_200.0
CONVERSATIONS = 5_000
"""Distinct keys; an event's conversation comes again after so many others."""


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement. The load is at most `ahead_max` events ahead of the committed ones."""

    events: int = 1_000_000
    ahead_max: int = 20_000
    sample_interval_s: float = 0.25


QUICK = Size(events=20_000, ahead_max=5_000, sample_interval_s=0.05)


def measure(bootstrap: str, size: Size, say: Say, images: Path | None) -> list[Figure]:
    """Measure resident memory at a fifth of the run and at its end; draw a picture of the whole into `images`."""
    topic, audited, _ = new_topics(bootstrap, "in", *(f"out-{name}" for name in (Topic.AUDITED, Topic.AUDIT)))
    task = Task(
        bootstrap=bootstrap,
        group=f"bench-{uuid.uuid4().hex}",
        topic=topic,
        prefix=audited.removesuffix(Topic.AUDITED.value),
        events=size.events,
        work="pipeline",
        value_bytes_max=100,
        sample_interval_s=size.sample_interval_s,
    )
    with Arm[Sample | Done]("bench.engine_arm", task, Sample | Done) as arm:
        arm.wait_until(lambda: bool(arm.lines))
        send(bootstrap, topic, _paced(arm, size, say))
        done = arm.wait_ended(RUN_TIMEOUT_S)
        samples = [line for line in arm.lines if isinstance(line, Sample)]
    assert isinstance(done, Done)
    if images is not None:
        from bench import pictures

        pictures.memory(samples, images / "bench-memory.svg")
    return _figures(samples, done, size)


def _event(index: int) -> tuple[bytes, bytes]:
    conversation = f"memory-{index % CONVERSATIONS:05d}"
    event = ConversationEvent(
        event_id=f"memory-{index:08d}",
        conversation_id=conversation,
        tenant_id="bench",
        messages=(Message(role=Role.USER, parts=(TextPart(text="How does a lock work?"),)),),
    )
    return conversation.encode(), encode(event, Wire.JSON)


def _paced(arm: Arm[Sample | Done], size: Size, say: Say) -> Iterator[tuple[bytes, bytes]]:
    """Yield events as fast as the worker commits them."""
    said_s = started_s = time.monotonic()
    for index in range(size.events):
        if index % 100 == 0:
            while index - committed(arm.lines) > size.ahead_max:
                time.sleep(AHEAD_WAIT_S)
                arm.require_running()
                if time.monotonic() - started_s > RUN_TIMEOUT_S:
                    raise TimeoutError(f"{committed(arm.lines)} events in {RUN_TIMEOUT_S:.0f} s")
            if time.monotonic() - said_s > SAID_EVERY_S:
                said_s = time.monotonic()
                last = next(line for line in reversed(arm.lines) if isinstance(line, Sample))
                say(f"f: {last.committed} events, {last.rss_mib:.1f} MiB")
        yield _event(index)


def committed(lines: Sequence[Sample | Done]) -> int:
    """Return how many events were committed by the last sample."""
    last = lines[-1]
    return last.committed if isinstance(last, Sample) else 0


def _figures(samples: Sequence[Sample], done: Done, size: Size) -> list[Figure]:
    fifth = resident_mib(samples, size.events, 0.15, 0.25)
    end = resident_mib(samples, size.events, 0.9, 1.0)
    of = f"{size.events:,} events, stages stubbed, small values"
    growth = "mean from 90 % on against mean from 15 % to 25 %"
    return [
        Figure(part="f", name="resident memory at 20 %", value=fifth, unit="MiB", of=of),
        Figure(part="f", name="resident memory at the end", value=end, unit="MiB", of=of),
        Figure(part="f", name="growth", value=end - fifth, unit="MiB", of=growth),
        Figure(part="f", name="growth, share", value=(end / fifth - 1) * 100, unit="%", of=growth, target="< 5 %"),
        Figure(part="f", name="slope from 20 % on", value=slope_mib(samples, size.events), unit="MiB/million", of=of),
        Figure(part="f", name="events/s", value=size.events / done.wall_s, unit="events/s", of="the load runs beside"),
        Figure(part="f", name="transactions", value=done.transactions, unit="", of=of),
    ]


def resident_mib(samples: Sequence[Sample], events: int, first: float, last: float) -> float:
    """Return the mean between two shares of the run, or the sample nearest to the first share if none lies between.

    It is not the median, because the garbage collector moves resident memory between two levels, and a median jumps.
    """
    between = [sample.rss_mib for sample in samples if first * events <= sample.committed <= last * events]
    if between:
        return mean(between)
    return min(samples, key=lambda sample: abs(sample.committed - first * events)).rss_mib


def slope_mib(samples: Sequence[Sample], events: int) -> float:
    """Return the MiB that a million events add from a fifth of the run on, by least squares."""
    after = [sample for sample in samples if sample.committed >= 0.2 * events]
    if len({sample.committed for sample in after}) < 2:
        after = list(samples)  # a run so short that most of it lies between two samples
    line = linear_regression([sample.committed / 1e6 for sample in after], [sample.rss_mib for sample in after])
    return line.slope
