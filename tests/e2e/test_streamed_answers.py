"""Answers that are streamed by real workers on the real broker: what readers see, and what the response says."""

import msgspec
import pytest

from serving.fakes import FakeGenerator
from tests.plugins.kafka_broker import Kafka
from tests.plugins.running_worker import fresh_settings, question, responses, running_loop, send, wait_committed
from topology.contract.drafts import GenerationRequest
from topology.contract.events import parts_text
from topology.contract.streams import StreamKind, StreamRecord
from topology.streaming.reader_rule import Shown
from workers.kafka.reader import read_topic
from workers.settings import Settings, StreamingSettings

pytestmark = pytest.mark.kafka

ANSWER = "".join(f"This is sentence {name} of a plain answer. " for name in ("one", "two", "three", "four", "five"))


def said(_request: GenerationRequest) -> str:
    return ANSWER


def streaming(kafka: Kafka) -> Settings:
    return msgspec.structs.replace(fresh_settings(kafka), streaming=StreamingSettings(enabled=True))


def streamed(settings: Settings) -> dict[str, list[StreamRecord]]:
    """All records of streams, by event."""
    found: dict[str, list[StreamRecord]] = {}
    for record in read_topic(settings.kafka, settings.topics.stream):
        one = msgspec.json.decode(record.value or b"", type=StreamRecord)
        assert record.key == one.audit_id.encode()
        found.setdefault(one.event_id, []).append(one)
    return found


def test_an_event_that_asks_is_streamed_and_its_response_begins_with_what_was_shown(kafka: Kafka) -> None:
    settings = streaming(kafka)
    events = [question(n, f"c{n}", stream=n % 2 == 0) for n in range(6)]
    with running_loop(settings, generator=FakeGenerator(said)) as loop:
        positions = send(settings, events)
        wait_committed(loop, len(events))
    found, answers = streamed(settings), {one.event_id: one for one in responses(settings)}
    assert found.keys() == {event.event_id for event in events if event.stream}
    partitions = {record.key: record.partition for record in read_topic(settings.kafka, settings.topics.stream)}
    for event, (_, partition, _) in zip(events, positions, strict=True):
        response = answers[event.event_id]
        assert not response.replaced
        if not event.stream:
            continue
        shown = Shown()
        for record in found[event.event_id]:
            shown.take(record)
        assert [record.kind for record in found[event.event_id]][:2] == [StreamKind.OPENED, StreamKind.SEGMENT]
        assert {record.audit_id for record in found[event.event_id]} == {response.audit_id}
        assert partitions[response.audit_id.encode()] == partition
        assert shown.text.count("sentence") >= 4
        assert shown.has_last
        assert not shown.end(parts_text(response.parts)).is_replacing


def test_without_the_setting_an_event_that_asks_is_answered_whole(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    with running_loop(settings, generator=FakeGenerator(said)) as loop:
        send(settings, [question(1, stream=True)])
        wait_committed(loop, 1)
    assert not streamed(settings)
    (response,) = responses(settings)
    assert (response.replaced, parts_text(response.parts).strip()) == (False, ANSWER.strip())
