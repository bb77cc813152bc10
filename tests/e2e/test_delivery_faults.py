"""On the real broker: whatever breaks, every record ends once, and what could not be judged is withheld."""

import asyncio
import threading
import time
from collections.abc import Sequence

import pytest

from serving.endpoint.client import ChatClient, Endpoint
from serving.fakes import FakeCheck, FakeGenerator
from serving.generation.generator import GenerationDefaults, OpenAiGenerator
from tests.plugins.fake_endpoint import FakeEndpoint, answer
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import STAGE, wait_until
from tests.plugins.running_worker import (
    audits,
    fresh_settings,
    logged,
    question,
    responses,
    running_loop,
    send,
    wait_committed,
)
from topology.contract.codec import encode
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.errors import DeadLetterReason, RetryLater
from topology.contract.events import Action
from topology.contract.headers import last_header
from topology.contract.labels import Outcome
from topology.contract.names import Header
from topology.ports import Check, CheckInput, OnText
from topology.telemetry.instruments import Instruments
from workers.commands.demo.broken import awaited_id, broken_records
from workers.commands.demo.census import Sent, take_census
from workers.commands.demo.parts import free_port
from workers.kafka.reader import read_topic
from workers.kafka.sender import EventSender, wait_for_position
from workers.process.clock import SystemClock
from workers.settings import Settings, StageSettings
from workers.stages.batching import BatchedCheck
from workers.stages.inline import InlineRunner

pytestmark = pytest.mark.kafka

MIB = 1 << 20


def assert_exactly_once(settings: Settings, sent: Sequence[Sent]) -> None:
    """Fails, naming what is wrong, unless every record ended once as it must."""
    topics = settings.topics
    found = [read_topic(settings.kafka, name) for name in (topics.audited, topics.audit, topics.dead_letters)]
    census = take_census(sent, *found)
    assert census.is_exactly_once, census


def test_records_that_are_no_events_are_dead_letters_and_the_worker_lives(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    sender = EventSender(settings.kafka, settings.topics.events)
    broken = broken_records(1)
    with running_loop(settings) as loop:
        futures = [sender.send_raw(key, value, headers) for _, _, key, value, headers in broken]
        good = sender.send_event(question(1))
        sender.close()
        wait_committed(loop, len(broken) + 1)
    sent = [
        Sent(name=one[0], topic=topic, partition=partition, offset=offset, expected=one[1], event_id=awaited_id(one))
        for one, (topic, partition, offset) in zip(broken, map(wait_for_position, futures), strict=True)
    ]
    letters = read_topic(settings.kafka, settings.topics.dead_letters)
    reasons = {last_header(letter.headers, Header.REASON) for letter in letters}
    assert reasons == {reason.value for _, reason, *_ in broken}
    rejected = [one.event_id for one in sent if one.event_id]
    assert sorted(response.event_id for response in responses(settings)) == sorted(["e1", *rejected])
    assert len(letters) == len(sent)
    (topic, partition, offset), event_id = wait_for_position(good), "e1"
    good_one = Sent(name=event_id, topic=topic, partition=partition, offset=offset, event_id=event_id)
    assert_exactly_once(settings, [*sent, good_one])


def test_an_oversize_event_is_kept_as_its_beginning_length_hash_and_position(kafka: Kafka) -> None:
    settings = fresh_settings(kafka, input_message_bytes_max=16 * MIB)
    value = encode(question(1)).rstrip(b"}") + b',"more":"' + b"x" * (12 * MIB) + b'"}'
    with running_loop(settings) as loop:
        kafka.send_record(settings.topics.events, value, b"c", [])
        wait_committed(loop, 1)
    (letter,) = read_topic(settings.kafka, settings.topics.dead_letters)
    assert last_header(letter.headers, Header.REASON) == DeadLetterReason.TOO_LARGE.value
    assert letter.value == value[: 64 * 1024]
    assert last_header(letter.headers, Header.ORIGINAL_LENGTH) == str(len(value))
    assert len(last_header(letter.headers, Header.ORIGINAL_SHA256) or "") == 64
    assert last_header(letter.headers, Header.ORIGINAL_OFFSET) == "0"


def raising(_: Sequence[CheckInput]) -> Sequence[CheckReport]:
    raise ZeroDivisionError


def hanging(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
    threading.Event().wait(60)
    return garbage(batch)


def garbage(_: Sequence[CheckInput]) -> Sequence[CheckReport]:
    return ["nonsense"]  # type: ignore[list-item]


class Faulty:
    """A stage that misbehaves in the given way."""

    name = "bias"
    version = "1"

    def __init__(self, run: object) -> None:
        self.run = run


@pytest.mark.parametrize(
    ("run", "outcome"),
    [(raising, Outcome.CRASHED), (hanging, Outcome.TIMEOUT), (garbage, Outcome.UNPARSABLE)],
    ids=["raises", "hangs", "returns garbage"],
)
def test_a_stage_that_misbehaves_withholds_and_the_audit_says_why(kafka: Kafka, run: object, outcome: Outcome) -> None:
    settings = fresh_settings(kafka)
    stage = StageSettings(timeout_s=0.5) if outcome is Outcome.TIMEOUT else STAGE
    runner = InlineRunner(Faulty(run), stage.timeout_s, lambda _: None)  # type: ignore[arg-type]
    bias: Check = BatchedCheck("bias", "1", runner, stage, Instruments.none())
    with running_loop(settings, checks=(FakeCheck("classification"), bias, FakeCheck("logging", logged))) as loop:
        send(settings, [question(1)])
        wait_committed(loop, 1)
    (response,) = responses(settings)
    (audit,) = audits(settings)
    assert response.action is Action.WITHHELD
    runs = {guard.guard: guard.outcome for guard in audit.attempts[-1].labels.guards}
    assert runs["bias"] is outcome
    assert len(read_topic(settings.kafka, settings.topics.review)) == 1


class Counted:
    """A generator that counts how often it could not be reached."""

    def __init__(self, generator: OpenAiGenerator) -> None:
        self._generator = generator
        self.refused_count = 0

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        try:
            return await self._generator.generate(request)
        except RetryLater:
            self.refused_count += 1
            raise


def assert_outage_loses_nothing(kafka: Kafka, down_s: float = 0.0) -> None:
    """The endpoint refuses connections until each event was refused three times, and for `down_s`; then it answers."""
    settings = fresh_settings(kafka)
    port = free_port()
    clock = SystemClock()
    endpoint = Endpoint(name="generator", base_url=f"http://127.0.0.1:{port}/v1", breaker_open_s=0.5)
    client = ChatClient(endpoint, clock=clock)
    generator = Counted(OpenAiGenerator(client, GenerationDefaults(model="m")))
    stop = threading.Event()

    async def serve() -> None:
        async with FakeEndpoint([answer("Back", " again.")] * 50, port=port):
            await asyncio.get_running_loop().run_in_executor(None, stop.wait)

    events = [question(number, conversation=f"c{number % 7}") for number in range(20)]
    with running_loop(settings, generator=generator) as loop:
        positions = send(settings, events)
        began_s = time.monotonic()
        wait_until(lambda: generator.refused_count >= 3 * len(events) and time.monotonic() - began_s >= down_s)
        assert loop.health().committed_count == 0
        wait_until(lambda: loop.health().poll_age_s < 1)
        thread = threading.Thread(target=asyncio.run, args=(serve(),))
        thread.start()
        try:
            wait_committed(loop, len(events))
        finally:
            stop.set()
            thread.join(10)
    sent = [
        Sent(name=event.event_id, event_id=event.event_id, topic=topic, partition=partition, offset=offset)
        for event, (topic, partition, offset) in zip(events, positions, strict=True)
    ]
    assert_exactly_once(settings, sent)
    assert {response.action for response in responses(settings)} == {Action.PUBLISHED}


def test_while_the_model_is_down_events_wait_and_none_is_lost_or_wrongly_answered(kafka: Kafka) -> None:
    assert_outage_loses_nothing(kafka)


@pytest.mark.slow
def test_half_a_minute_without_the_model_loses_nothing(kafka: Kafka) -> None:
    assert_outage_loses_nothing(kafka, 30)


def test_a_broker_restart_under_load_loses_and_repeats_nothing(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    events = [question(number, conversation=f"c{number % 11}") for number in range(400)]
    generator = FakeGenerator(lambda _: "Fine.", delay_s=0.02, clock=SystemClock())
    with running_loop(settings, generator=generator) as loop:
        positions = send(settings, events)
        wait_committed(loop, 50)
        kafka.broker.kill()
        kafka.broker.restart()
        wait_committed(loop, len(events))
    sent = [
        Sent(name=event.event_id, event_id=event.event_id, topic=topic, partition=partition, offset=offset)
        for event, (topic, partition, offset) in zip(events, positions, strict=True)
    ]
    assert_exactly_once(settings, sent)


def test_a_drained_loop_has_committed_what_it_finished_and_the_rest_is_read_again(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    events = [question(number, conversation=f"c{number}") for number in range(60)]
    slow = FakeGenerator(lambda _: "Fine.", delay_s=0.05, clock=SystemClock())
    with running_loop(settings, generator=slow) as loop:
        positions = send(settings, events)
        wait_committed(loop, 5)
    with running_loop(settings) as loop:
        wait_until(lambda: len(responses(settings)) >= len(events))
    sent = [
        Sent(name=event.event_id, event_id=event.event_id, topic=topic, partition=partition, offset=offset)
        for event, (topic, partition, offset) in zip(events, positions, strict=True)
    ]
    assert_exactly_once(settings, sent)
