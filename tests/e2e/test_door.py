"""The door on a real broker, with the official client and a running worker."""

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from kafka import KafkaProducer
from msgspec.structs import replace

from serving.fakes import FakeGenerator
from tests.plugins.door_process import client_at, door_process, is_ready, state_worker
from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import client_of, door_settings, open_door
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, fresh_settings, responses, running_loop
from topology.contract.conversation import EMPTY
from topology.contract.drafts import GenerationRequest
from topology.contract.events import parts_text
from topology.contract.labels import CategoryId, Intent
from workers.kafka.client import producer_options
from workers.kafka.reader import TopicFollower, read_topic
from workers.process.clock import SystemClock
from workers.settings import Settings

pytestmark = pytest.mark.kafka

ASK: list[Any] = [{"role": "user", "content": "Name a colour."}]
ONCE = {"Idempotency-Key": "order-7"}


def with_door(kafka: Kafka, directory: Path) -> Settings:
    """Topics of their own, and the door's settings."""
    return replace(fresh_settings(kafka), door=door_settings(directory))


def ask(client: openai.OpenAI, **changes: Any) -> Any:
    return client.chat.completions.create(**{"model": "sluicegate", "messages": ASK, **changes})


def numbered() -> FakeGenerator:
    """A generator no two answers of which are the same."""
    count = iter(range(1_000_000))
    return FakeGenerator(lambda _: f"Answer {next(count)}.")


def echo(request: GenerationRequest) -> str:
    return f"You said: {parts_text(request.messages[-1].parts)}"


def test_each_client_gets_the_audited_answer_to_its_own_request(kafka: Kafka, tmp_path: Path) -> None:
    settings = with_door(kafka, tmp_path)
    with running_loop(settings, generator=FakeGenerator(echo)), open_door(settings) as door:
        client = client_of(door)

        def asked(number: int) -> Any:
            return ask(client, messages=[{"role": "user", "content": f"Number {number}."}])

        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(asked, range(64)))
        assert [each.choices[0].message.content for each in found] == [f"You said: Number {n}." for n in range(64)]
        audited = {record.audit_id for record in audits(settings)}
        assert {each.sluicegate["audit_id"] for each in found} == audited
        assert len(audited) == 64


def test_a_door_that_was_opened_later_gives_the_same_answer(kafka: Kafka, tmp_path: Path) -> None:
    settings = with_door(kafka, tmp_path)
    with running_loop(settings, generator=numbered()):
        with open_door(settings) as door:
            first = ask(client_of(door), extra_headers=ONCE)
            assert ask(client_of(door), extra_headers=ONCE) == first
        with open_door(settings) as later:
            wait_until(lambda: is_ready(later.port))
            assert ask(client_of(later), extra_headers=ONCE) == first
    assert len(responses(settings)) == 1


def test_two_doors_that_are_asked_the_same_at_once_show_one_answer(kafka: Kafka, tmp_path: Path) -> None:
    """Both sent an event before there was an answer: the worker starts only then. It remembers conversations."""
    settings = with_door(kafka, tmp_path)
    with open_door(settings) as one, open_door(settings) as other, ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(ask, client_of(door), extra_headers=ONCE) for door in (one, other)]
        wait_until(lambda: len(read_topic(settings.kafka, settings.topics.events)) == 2)
        with state_worker(settings, tmp_path):
            first, second = [each.result(PATIENCE_S) for each in asked]
    assert first == second
    assert sorted(bool(response.duplicate_of) for response in responses(settings)) == [False, True]


def test_a_door_that_is_killed_loses_a_connection_and_no_event(kafka: Kafka, tmp_path: Path) -> None:
    settings = with_door(kafka, tmp_path)
    with door_process(settings, tmp_path) as (process, port):
        client = client_at(port)
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(ask, client, extra_headers=ONCE)
            wait_until(lambda: len(read_topic(settings.kafka, settings.topics.events)) == 1)
            process.send(signal.SIGKILL)
            with pytest.raises(openai.APIConnectionError):
                asked.result(PATIENCE_S)
    with running_loop(settings, generator=numbered()):
        wait_until(lambda: len(responses(settings)) == 1)
        with door_process(settings, tmp_path) as (_, port):
            found = ask(client_at(port), extra_headers=ONCE)
    assert found.sluicegate["audit_id"] == responses(settings)[0].audit_id
    assert len(read_topic(settings.kafka, settings.topics.events)) == 1


def test_without_a_worker_a_request_ends_after_its_deadline(kafka: Kafka, tmp_path: Path) -> None:
    settings = replace(fresh_settings(kafka), door=door_settings(tmp_path, deadline_s=0.5))
    with open_door(settings) as door, pytest.raises(openai.InternalServerError) as caught:
        ask(client_of(door, max_retries=2))
    assert caught.value.status_code == 504
    assert len(read_topic(settings.kafka, settings.topics.events)) == 1


def test_a_follower_reads_a_partition_that_is_added(kafka: Kafka) -> None:
    topic = kafka.topic(1)
    kafka.send(topic, b"before", partition=0)
    follower = TopicFollower(kafka.settings(), topic, SystemClock().now_ms() - 600_000)
    try:
        read: list[bytes | None] = []
        wait_until(lambda: bool(read.extend(record.value for record in follower.poll(0.1)) or read))
        assert follower.is_caught_up()
        kafka.grow(topic, 2)
        with closing(KafkaProducer(**producer_options(kafka.settings()))) as producer:  # it knows the new partition
            producer.send(topic, value=b"after", partition=1).get(timeout=PATIENCE_S)
        wait_until(lambda: bool(read.extend(record.value for record in follower.poll(0.1)) or len(read) == 2))
        assert read == [b"before", b"after"]
    finally:
        follower.close()


def test_a_conversation_over_the_door_remembers_its_user(kafka: Kafka, tmp_path: Path) -> None:
    """What was refused before still counts when the chat goes on; without a user every request is a conversation."""
    settings = with_door(kafka, tmp_path)
    aim, further = "weapons.conventional 3 malicious 3 0", "weapons.conventional 3 benign 3 2"
    with state_worker(settings, tmp_path), open_door(settings) as door:
        client = client_of(door)

        def chat(**user: str) -> Any:
            messages = [{"role": "user", "content": aim}]
            refused = ask(client, messages=messages, **user)
            answer = {"role": "assistant", "content": refused.choices[0].message.content}
            return ask(client, messages=[*messages, answer, {"role": "user", "content": further}], **user)

        known, stranger = chat(user="anna"), chat()
    by_id = {audit.audit_id: audit for audit in audits(settings)}
    weapons = CategoryId("weapons.conventional")
    remembered, forgotten = (by_id[found.sluicegate["audit_id"]] for found in (known, stranger))
    assert remembered.state_before.intent_of(weapons) is Intent.MALICIOUS
    assert forgotten.state_before == EMPTY
    assert remembered.plan is not None
    assert forgotten.plan is not None
    assert remembered.plan.ceilings[weapons] < forgotten.plan.ceilings[weapons]
