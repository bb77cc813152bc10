"""K15 and K18: kafka-python throws away, or forgets, a join that is answered between two polls; ours takes it over."""

import time
from collections.abc import Generator
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.structs import MemberState  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs

from tests.contracts.delivery import poll_until, read
from tests.plugins.kafka_broker import CALM, Kafka
from tests.plugins.patience import PATIENCE_S, wait_until
from workers.kafka.client import consumer_options
from workers.kafka.errors import GroupUnsettled
from workers.kafka.library_fixes import GroupConsumer
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

pytestmark = pytest.mark.kafka


@pytest.fixture
def opened() -> Generator[list[Any]]:
    clients: list[Any] = []
    yield clients
    for client in clients:
        client.close()


def _member(kind: type, settings: KafkaSettings, topic: str) -> Any:
    consumer: Any = kind(**consumer_options(settings, instance_id="slot"))
    consumer.subscribe([topic])
    wait_until(lambda: topic in consumer.topics())
    return consumer


def _poll_and_leave_it_to_be_answered(consumer: Any) -> int:
    """Polls so short that no answer is waited for, until a join was answered; returns its generation."""
    coordinator = consumer._coordinator

    def is_answered() -> bool:
        consumer.poll(timeout_ms=0)
        task = coordinator._join_task
        if task is None:
            return False
        wait_until(lambda: task.is_done, PATIENCE_S)
        return task.succeeded()

    # The first of a broker's groups is refused until its coordinator has loaded.
    wait_until(is_answered)
    return consumer.group_metadata().generation_id


def test_the_library_joins_again_where_the_answer_came_between_two_polls(kafka: Kafka, opened: list[Any]) -> None:
    """When this fails, the rule can go, and `GroupConsumer` with it."""
    consumer = _member(KafkaConsumer, kafka.settings(), kafka.topic())
    opened.append(consumer)
    generations = [_poll_and_leave_it_to_be_answered(consumer) for _ in range(3)]
    assert generations == [1, 2, 3]
    assert consumer.assignment() == set()


def test_ours_is_assigned_by_the_join_that_was_answered_between_two_polls(kafka: Kafka, opened: list[Any]) -> None:
    consumer = _member(GroupConsumer, kafka.settings(), kafka.topic())
    opened.append(consumer)
    _poll_and_leave_it_to_be_answered(consumer)
    wait_until(lambda: not consumer.poll(timeout_ms=20) and bool(consumer.assignment()))
    held = consumer.group_metadata()
    assert (held.generation_id, held.state) == (1, MemberState.STABLE)


def test_a_source_that_is_polled_now_and_then_settles_in_its_first_generation(kafka: Kafka, opened: list[Any]) -> None:
    source = KafkaSource(kafka.settings(), kafka.topic(), 0)
    opened.append(source)
    deadline_s = time.monotonic() + PATIENCE_S
    while (ownership := source.ownership()) is None:
        assert time.monotonic() < deadline_s
        source.poll(0.0)
        time.sleep(0.02)
    assert ownership.generation == 1


def _rejoin_for_a_new_partition(kafka: Kafka, kind: type, opened: list[Any]) -> Any:
    """A stable member whose topic has grown, and whose join for that was answered while nobody polled."""
    topic = kafka.topic()
    consumer = _member(kind, kafka.settings(**CALM), topic)
    opened.append(consumer)
    coordinator = consumer._coordinator
    wait_until(lambda: not consumer.poll(timeout_ms=500) and coordinator.state is MemberState.STABLE)
    kafka.grow(topic, 2)

    def is_noticed() -> bool:
        consumer._client.cluster.request_update()
        return consumer.partitions_for_topic(topic) == {0, 1} and coordinator.need_rejoin()

    wait_until(is_noticed)
    _poll_and_leave_it_to_be_answered(consumer)
    return consumer


def test_the_library_forgets_a_join_that_nothing_calls_for_once_it_is_answered(kafka: Kafka, opened: list[Any]) -> None:
    """K18. When this fails, the rule can go: `_join_until_stable`."""
    consumer = _rejoin_for_a_new_partition(kafka, KafkaConsumer, opened)
    for _ in range(20):
        consumer.poll(timeout_ms=50)
    assert consumer.group_metadata().state is MemberState.REBALANCING
    assert not consumer._coordinator.need_rejoin()
    assert not consumer._coordinator._heartbeat_enabled


def test_ours_takes_over_every_join_that_is_answered(kafka: Kafka, opened: list[Any]) -> None:
    """K18."""
    consumer = _rejoin_for_a_new_partition(kafka, GroupConsumer, opened)
    wait_until(lambda: not consumer.poll(timeout_ms=20) and len(consumer.assignment()) == 2)
    held = consumer.group_metadata()
    assert (held.generation_id, held.state) == (2, MemberState.STABLE)


class Unsettled(GroupConsumer):
    """Says of itself that its group is rebalancing, once it is told to."""

    is_rebalancing = False

    def group_metadata(self) -> Any:
        held: Any = super().group_metadata()  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        return held._replace(state=MemberState.REBALANCING) if self.is_rebalancing else held


def test_a_member_that_is_in_no_settled_group_for_too_long_ends_and_says_so(kafka: Kafka, opened: list[Any]) -> None:
    now_s = [0.0]
    settings = kafka.settings(rejoin_timeout_s=30)
    source = KafkaSource(settings, kafka.topic(), 0, make_consumer=Unsettled, monotonic_s=lambda: now_s[0])
    opened.append(source)
    poll_until(source, lambda _: source.ownership() is not None)
    consumer: Any = source._consumer  # pyright: ignore[reportPrivateUsage]
    now_s[0] = 1000.0
    source.poll(0.02)
    consumer.is_rebalancing = True
    now_s[0] = 1029.0
    source.poll(0.02)
    now_s[0] = 1031.0
    with pytest.raises(GroupUnsettled, match=r"is rebalancing in its group for 30 s: the worker ends"):
        source.poll(0.02)


class Rejoining(GroupConsumer):
    """Says of itself that its group joins, once it is told to; notes when committed offsets are asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.is_rejoining = False
        self.asked_states: list[Any] = []

    def group_metadata(self) -> Any:
        held: Any = super().group_metadata()  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        return held._replace(state=MemberState.REBALANCING) if self.is_rejoining else held

    def committed(self, *arguments: Any, **named: Any) -> Any:
        self.asked_states.append(self.group_metadata().state)
        return super().committed(*arguments, **named)


def test_no_committed_offset_is_asked_for_while_the_group_joins(kafka: Kafka, opened: list[Any]) -> None:
    """Brokers answer it only after the join: it would keep the poll from taking the join's answer."""
    source = KafkaSource(kafka.settings(), kafka.topic(), 0, make_consumer=Rejoining)
    opened.append(source)
    consumer: Any = source._consumer  # pyright: ignore[reportPrivateUsage]
    poll_until(source, lambda _: source.ownership() is not None)
    consumer.is_rejoining = True
    for _ in range(3):
        source.poll(0.02)
    assert consumer.asked_states == []
    consumer.is_rejoining = False
    poll_until(source, lambda _: bool(source.positions()))
    assert consumer.asked_states == [MemberState.STABLE]


def test_two_members_that_one_thread_polls_in_turn_rebalance_once(kafka: Kafka, opened: list[Any]) -> None:
    settings, topic = kafka.settings(), kafka.topic(2)
    first = KafkaSource(settings, topic, 0)
    opened.append(first)
    kafka.send(topic, b"a", partition=0)
    kafka.send(topic, b"b", partition=1)
    read(first, 2)
    second = KafkaSource(settings, topic, 1)
    opened.append(second)
    delivered: set[bytes | None] = set()

    def both_deliver(_: object) -> bool:
        delivered.update(record.value for record in second.poll(0.05))
        return len(first.assignment()) == len(second.assignment()) == len(delivered) == 1

    poll_until(first, both_deliver)
    for source in (first, second):
        ownership = source.ownership()
        assert ownership is not None
        assert ownership.generation == 2
