"""A worker's loop on a real broker, in a thread of the test: everything but Ray is real, ports as the test says."""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from serving.fakes import FakeCheck, FakeGenerator, FakeLabeler
from tests.plugins.kafka_broker import CALM, Kafka
from tests.plugins.patience import LIMITS, PATIENCE_S, STAGES, wait_until
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.drafts import CheckReport
from topology.contract.events import (
    AuditedResponse,
    AuditRecord,
    ConversationEvent,
    LoggedText,
    Message,
    Role,
    TextPart,
)
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import Check, CheckInput, Labeler, Sink, Source
from topology.ports import Generator as GeneratorPort
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.assembly import build_pipeline
from workers.kafka.reader import read_topic
from workers.kafka.sender import EventSender, wait_for_position
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource
from workers.kafka.topics import create_topics
from workers.process.clock import SystemClock
from workers.settings import LimitSettings, Settings, TopicSettings
from workers.stream.cancellations import open_cancellations
from workers.stream.loop import Loop, Tenancy
from workers.streaming.opening import WorkerStreams, open_streams


def fresh_settings(kafka: Kafka, *, limits: LimitSettings | None = None, **topic_changes: Any) -> Settings:
    """Settings with a group and topics of their own; the topics exist."""
    own = kafka.settings(**CALM)
    renamed = {name: f"{own.group_id}.{getattr(TopicSettings(), name)}" for name in TOPIC_FIELDS}
    topics = TopicSettings(partitions=2, **{**renamed, **topic_changes})
    create_topics(own, topics)
    return Settings(kafka=own, topics=topics, limits=limits or LIMITS, stages=STAGES)


@contextmanager
def running_loop(
    settings: Settings,
    *,
    generator: GeneratorPort | None = None,
    labeler: Labeler | None = None,
    checks: Sequence[Check] | None = None,
    policies: Callable[[], Policies] | None = None,
    metrics: Instruments | None = None,
    hears_doors: bool = False,
    slot: int = 0,
) -> Generator[Loop]:
    """A loop that runs while the block does; afterwards it is drained, and must have ended without an error.

    With `hears_doors` it ends what doors cancel.
    """
    metrics, packaged = metrics or Instruments.none(), Policies(packaged_bundle())
    departures = open_cancellations(settings, metrics) if hears_doors else None
    streams = open_streams(settings, metrics)
    pipeline = build_pipeline(
        settings,
        policies or (lambda: packaged),
        labeler or FakeLabeler(),
        generator or FakeGenerator(lambda _: "A plain answer."),
        checks or (FakeCheck("classification"), FakeCheck("bias"), FakeCheck("logging", logged)),
        Tracing.none(),
        metrics,
        releases=None if streams is None else streams.releases,
        departures=departures,
    )
    source, sink = _clients(settings, streams, slot)
    loop = Loop(
        source,
        sink,
        pipeline.process,
        clock=SystemClock(),
        limits=settings.limits,
        metrics=metrics,
        tracing=Tracing.none(),
        tenancy=Tenancy(departures=departures, streams=None if streams is None else streams.memory),
    )
    errors: list[BaseException] = []
    thread = threading.Thread(target=_run, args=(loop, errors), name="loop")
    thread.start()
    try:
        yield loop
    finally:
        loop.drain(20)
        thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the loop did not end"
    assert not errors, errors


def _clients(settings: Settings, streams: WorkerStreams | None, slot: int) -> tuple[Source, Sink]:
    source, sink = KafkaSource(settings.kafka, settings.topics.events, slot), TransactionalSink(settings.kafka, slot)
    if streams is None:
        return source, sink
    streams.begin(source.ownership, sink.first_identity)
    return source, streams.checked(sink)


def _run(loop: Loop, errors: list[BaseException]) -> None:
    try:
        loop.run()
    except BaseException as exc:  # noqa: BLE001 - the test asserts that there is none
        errors.append(exc)


def logged(_given: CheckInput) -> CheckReport:
    """What the logging stage reports, without its patterns."""
    entry = LoggedText(redacted="<text>", spans=(), digest="hmac")
    return CheckReport(check="logging", version="1", request_log=entry, draft_log=entry)


def question(number: int, conversation: str = "c", **changes: Any) -> ConversationEvent:
    """A small event; its id is `e<number>`."""
    fields: dict[str, Any] = {
        "event_id": f"e{number}",
        "conversation_id": conversation,
        "tenant_id": "tenant",
        "messages": (Message(role=Role.USER, parts=(TextPart(text=f"question {number}"),)),),
    }
    return ConversationEvent(**{**fields, **changes})


def send(settings: Settings, events: Sequence[ConversationEvent]) -> list[tuple[str, int, int]]:
    """Send events and wait for their acknowledgement; returns their positions."""
    sender = EventSender(settings.kafka, settings.topics.events)
    try:
        futures = [sender.send_event(event) for event in events]
        sender.flush()
        return [wait_for_position(future) for future in futures]
    finally:
        sender.close()


def responses(settings: Settings) -> list[AuditedResponse]:
    """Every response that is visible now."""
    return [
        msgspec.json.decode(r.value or b"", type=AuditedResponse)
        for r in read_topic(settings.kafka, settings.topics.audited)
    ]


def audits(settings: Settings) -> list[AuditRecord]:
    """Every audit record that is visible now."""
    return [
        msgspec.json.decode(r.value or b"", type=AuditRecord) for r in read_topic(settings.kafka, settings.topics.audit)
    ]


def wait_committed(loop: Loop, count: int, timeout_s: float = PATIENCE_S) -> None:
    """Returns once the loop has committed `count` records; fails after `timeout_s`."""
    wait_until(lambda: loop.health().committed_count >= count, timeout_s)
