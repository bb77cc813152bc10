"""Part j: how long a single event takes through an idle worker, and where the time goes.

Events are sent one at a time, each after the answer to the one before it has come. The model and the guards answer at
once, so what is left is what Sluicegate and Kafka add. The pieces follow each other: sent, appended by the broker,
taken up by the pipeline, finished, written by the broker, read. The broker's times are whole milliseconds.
"""

import time
import uuid
from itertools import pairwise
from statistics import median

import msgspec
from msgspec import Struct

from bench.arms import Arm, Say, new_topics
from bench.engine_arm import TIMES_HEADER, Done, Sample, Task, Times
from bench.report import Figure, median_figure
from bench.stuck_key import percentile
from bench.world import record
from topology.contract.names import Topic
from topology.contract.records import Record
from workers.kafka.reader import TopicReader
from workers.kafka.sender import EventSender
from workers.settings import KafkaSettings

P50_MS_MAX = 25
P99_MS_MAX = 60
POLL_S = 0.1
ANSWER_TIMEOUT_S = 60.0
REST_S = 0.02
"""The time between an answer and the next event."""

PIECES = ("send", "fetch wait", "process", "write", "commit and reader")


class Size(Struct, frozen=True, kw_only=True):
    """The size of the measurement; the first `warm` events do not count."""

    events: int = 400
    warm: int = 50
    repetitions: int = 3


QUICK = Size(events=25, warm=5, repetitions=1)


class Taken(Struct, frozen=True):
    """The milliseconds that one event took, in all and by piece, in the order of PIECES."""

    all_ms: float
    pieces_ms: tuple[float, ...]


def measure(bootstrap: str, size: Size, say: Say) -> list[Figure]:
    """Measure the distribution over single events, as often as `size` says."""
    runs: list[list[Taken]] = []
    for number in range(size.repetitions):
        runs.append(_run(bootstrap, size))
        whole = [each.all_ms for each in runs[-1]]
        say(f"j: {number + 1}/{size.repetitions}: {median(whole):.0f} ms, p99 {percentile(whole, 99):.0f} ms")
    return figures(runs)


def figures(runs: list[list[Taken]]) -> list[Figure]:
    """Return the medians over the runs: percentiles of the whole, and the median of each piece."""
    of = "one event at a time, model and guards answer at once; from sent to read"
    whole = [[each.all_ms for each in run] for run in runs]
    made = [
        median_figure(
            "j", "single event, p50", [median(run) for run in whole], "ms", of=of, target=f"≤ {P50_MS_MAX} ms"
        ),
        median_figure(
            "j", "single event, p99", [percentile(run, 99) for run in whole], "ms", of=of, target=f"≤ {P99_MS_MAX} ms"
        ),
    ]
    for index, name in enumerate(PIECES):
        values = [median([each.pieces_ms[index] for each in run]) for run in runs]
        made.append(median_figure("j", f"of it: {name}, p50", values, "ms"))
    return made


def taken(sent_ms: float, times: Times, written_ms: float, read_ms: float) -> Taken:
    """Return the pieces of one event from its moments, in milliseconds since the epoch."""
    moments = (sent_ms, times.appended_ms, times.begun_ms, times.finished_ms, written_ms, read_ms)
    pieces = tuple(later - earlier for earlier, later in pairwise(moments))
    return Taken(read_ms - sent_ms, pieces)


def _run(bootstrap: str, size: Size) -> list[Taken]:
    topic, *out = new_topics(bootstrap, "in", *(f"out-{name}" for name in (Topic.AUDITED, Topic.AUDIT)))
    task = Task(
        bootstrap=bootstrap,
        group=f"bench-{uuid.uuid4().hex}",
        topic=topic,
        prefix=out[0].removesuffix(Topic.AUDITED.value),
        events=size.events,
        work="pipeline",
        is_timed=True,
    )
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,), linger_ms=0)
    reader, sender = TopicReader(kafka, out[:1], from_beginning=False), EventSender(kafka, topic)
    try:
        with Arm[Sample | Done]("bench.engine_arm", task, Sample | Done) as arm:
            arm.wait_until(lambda: any(isinstance(line, Sample) and line.is_assigned for line in arm.lines))
            return [_ask(sender, reader, record(number)) for number in range(size.events)][size.warm :]
    finally:
        sender.close()
        reader.close()


def _ask(sender: EventSender, reader: TopicReader, given: Record) -> Taken:
    """Send one event and wait for its answer. Raises TimeoutError."""
    time.sleep(REST_S)
    sent_ms = time.time() * 1000
    sender.send_raw(given.key, given.value)
    sender.flush()
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < deadline_s:
        for answer in reader.poll(POLL_S):
            read_ms = time.time() * 1000
            times = msgspec.json.decode(dict(answer.headers)[TIMES_HEADER], type=Times)
            return taken(sent_ms, times, answer.timestamp_ms, read_ms)
    raise TimeoutError(f"no answer within {ANSWER_TIMEOUT_S:g} s")
