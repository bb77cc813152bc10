"""K5, K7 and K10: what kafka-python's consumer says of its place in the group, and what the source makes of it.

A test of the bare library shows the defect as it is. When it fails, the version in use has mended it: the rule that
answers it can go, and its row in docs/kafka.md.
"""

import itertools
from collections.abc import Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import ConsumerRebalanceListener
from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.cooperative_sticky import (  # pyright: ignore[reportMissingImports] - newer than the stubs
    CooperativeStickyAssignor,
)
from kafka.errors import CommitFailedError
from kafka.protocol.consumer.metadata import (  # pyright: ignore[reportMissingImports] - newer than the stubs
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
)
from kafka.structs import (
    MemberState,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    TopicPartition,
)
from msgspec.structs import replace

from tests.contracts.delivery import after, poll_until, read, settle
from tests.plugins.kafka_broker import Kafka
from tests.plugins.kafka_slot import bare_member, bare_producer, nobody, offset_of
from tests.plugins.patience import is_soon, wait_until
from topology.contract.records import PartitionOffset
from workers.kafka.client import admin_options
from workers.kafka.groups import leave_group
from workers.kafka.library_fixes import GroupConsumer
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

STALL = {"max_poll_interval_ms": 3000}
"""A member that does not poll for 3 s is out."""

STALLS_MAX = 5
STALL_SEEN_S = 30.0

SLOW = {"session_timeout_ms": 25_000, "heartbeat_interval_ms": 8000, "max_poll_interval_ms": 25_000}
"""Heartbeats so rare that a member is told by its join, and not by them, that the group has removed it."""


@pytest.fixture
def sources() -> Generator[list[KafkaSource]]:
    opened: list[KafkaSource] = []
    yield opened
    for source in opened:
        source.close()


class Events(ConsumerRebalanceListener):
    """What the library tells its listener."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_partitions_assigned(self, assigned: object) -> None:
        self.seen.append("assigned")

    def on_partitions_revoked(self, revoked: object) -> None:
        self.seen.append("revoked")

    def on_partitions_lost(self, lost: object) -> None:
        self.seen.append("lost")


def _commit(settings: KafkaSettings, topic: str, offset: int, membership: object = None, slot: int = 9) -> None:
    """Commit in a transaction of the library's, as nobody in particular where no membership is given."""
    with bare_producer(settings, slot) as producer:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(topic, offset), membership or nobody(settings))
        producer.commit_transaction()


@contextmanager
def _stalled_member(kafka: Kafka) -> Generator[tuple[KafkaSettings, str, Any, Any]]:
    """A member that read ten records, stalled and was put out; with its group, its topic, and who it was.

    If the group puts it out before it has left by itself, the library keeps what it was; then a new group is tried.
    """
    for _ in range(STALLS_MAX):
        settings, topic = kafka.settings(**STALL), kafka.topic()
        kafka.send(topic, *[b"x"] * 10)
        # As a static member it would be refused even so: its instance id is not the group's any more.
        with bare_member(settings, topic, group_instance_id=None) as zombie:
            _read(zombie, 10)
            joined = zombie.group_metadata()
            if is_soon(lambda: zombie.group_metadata().generation_id < 0, STALL_SEEN_S):
                yield settings, topic, zombie, joined
                return
    pytest.fail(f"none of {STALLS_MAX} members showed an empty membership")


def _read(consumer: Any, count: int) -> None:
    seen: list[object] = []

    def is_read() -> bool:
        for records in consumer.poll(timeout_ms=100).values():
            seen.extend(records)
        return len(seen) >= count

    wait_until(is_read)


@pytest.mark.kafka
def test_the_library_shows_an_empty_membership_after_a_stall_and_brokers_take_it(
    kafka: Kafka, sources: list[KafkaSource]
) -> None:
    """K5. When this fails, the rule can go: no commit without a generation and a member id."""
    with _stalled_member(kafka) as (settings, topic, zombie, joined):
        empty = zombie.group_metadata()
        assert (empty.generation_id, empty.member_id) == (-1, "")
        assert zombie.assignment() == {TopicPartition(topic, 0)}, "it still thinks it owns them"
        owner = KafkaSource(replace(settings, max_poll_interval_ms=10_000), topic, 1)
        sources.append(owner)
        read(owner, 10)
        _commit(settings, topic, 10)
        with pytest.raises(CommitFailedError):
            _commit(settings, topic, 3, joined)
        _commit(settings, topic, 3, empty)
    wait_until(lambda: kafka.committed(settings, topic) == 3)  # the owner's 10 is gone, once the marker is written


@pytest.mark.kafka
def test_a_source_never_shows_an_empty_membership(kafka: Kafka, sources: list[KafkaSource]) -> None:
    """K5. Through the stall it shows the one it had, which brokers refuse; then none until it has joined again."""
    settings, topic = kafka.settings(**STALL), kafka.topic()
    kafka.send(topic, b"a")
    source = KafkaSource(settings, topic, 0)
    sources.append(source)
    read(source, 1)
    before = settle(source)
    consumer: Any = source._consumer  # pyright: ignore[reportPrivateUsage]
    wait_until(lambda: consumer.group_metadata().generation_id < 0)
    shown = [source.ownership()]

    def has_joined_again(_: object) -> bool:
        shown.append(source.ownership())
        return shown[-1] is not None and shown[-1] != before

    poll_until(source, has_joined_again)
    assert all(held is None or (held.generation >= 0 and held.member_id) for held in shown)


class Outcast(GroupConsumer):
    """Shows what the library shows of a member that has lost its membership, once it is told to."""

    is_out = False

    def group_metadata(self) -> Any:
        held: Any = super().group_metadata()  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
        return held._replace(generation_id=-1, member_id="", state=MemberState.UNJOINED) if self.is_out else held


@pytest.mark.kafka
def test_a_source_without_a_membership_shows_none(kafka: Kafka, sources: list[KafkaSource]) -> None:
    """K5, at the moment that a rejoin mostly hides."""
    source = KafkaSource(kafka.settings(), kafka.topic(), 0, make_consumer=Outcast)
    sources.append(source)
    settle(source)
    source._consumer.is_out = True  # pyright: ignore[reportPrivateUsage]
    source.poll(0.02)
    assert source.ownership() is None


@pytest.mark.kafka
def test_the_library_goes_on_at_its_old_position_under_a_new_member_id(kafka: Kafka) -> None:
    """K7. When this fails, the rule can go: everything is read again after a change of the member id."""
    settings, topic, events = kafka.settings(**SLOW), kafka.topic(), Events()
    kafka.send(topic, *[b"x"] * 10)
    with bare_member(settings, topic, events) as consumer:
        _read(consumer, 10)
        before = consumer.group_metadata()
        _lose_membership(settings, consumer, topic)
        wait_until(lambda: not consumer.poll(timeout_ms=50) and _is_another_member(consumer, before.member_id))
        assert "lost" not in events.seen
        assert consumer.position(TopicPartition(topic, 0)) == 10, "where the group is at 5"


@pytest.mark.kafka
def test_a_source_reads_again_from_the_committed_offset_under_a_new_member_id(
    kafka: Kafka, sources: list[KafkaSource]
) -> None:
    """K7."""
    settings, topic = kafka.settings(**SLOW), kafka.topic()
    kafka.send(topic, *[b"x"] * 10)
    source = KafkaSource(settings, topic, 0)
    sources.append(source)
    last = read(source, 10)[-1]
    assert source.positions() == [PartitionOffset(topic=topic, partition=0, offset=0)]
    before = settle(source)
    _lose_membership(settings, source._consumer, topic)  # pyright: ignore[reportPrivateUsage]
    records = read(source, 5)
    now = source.ownership()
    assert now is not None
    assert now.member_id != before.member_id
    assert source.positions() == [PartitionOffset(topic=topic, partition=0, offset=5)]
    assert [record.offset for record in records] == [5, 6, 7, 8, 9]
    assert after(records[-1]) == after(last)


def _lose_membership(settings: KafkaSettings, consumer: Any, topic: str) -> None:
    """Remove it from the group, which is then at 5; its own next join is what tells it."""
    leave_group(settings, [0])
    _commit(settings, topic, 5)
    consumer._coordinator.request_rejoin()


def _is_another_member(consumer: Any, member_id: str) -> bool:
    held = consumer.group_metadata()
    return bool(held.member_id) and held.member_id != member_id and bool(consumer.assignment())


class Cluster:
    """What an assignor asks of the metadata."""

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(6))

    def topics(self, *_: object) -> set[str]:
        return {"topic"}


def _claims(member_id: str, partitions: list[int], generation: int) -> Any:
    """A member as the group's leader hears of it."""
    assignor: Any = CooperativeStickyAssignor()
    assignor.on_assignment(ConsumerProtocolAssignment(1, [("topic", partitions)], b""), generation)
    metadata = ConsumerProtocolSubscription.decode(assignor.metadata({"topic"}).encode())
    return SimpleNamespace(member_id=member_id, metadata=metadata)


def test_the_cooperative_assignor_gives_a_zombie_what_its_owner_still_holds() -> None:
    """K10. When this fails, a cooperative assignor is worth another look; the eager one is the rule until then."""
    granted_count = 0
    claims = [claim for count in (1, 2, 3, 6) for claim in itertools.combinations(range(6), count)]
    for claim in claims:
        owner, zombie = _claims("owner", list(range(6)), 6), _claims("zombie", list(claim), 5)
        assigned: Any = CooperativeStickyAssignor().assign(Cluster(), [owner, zombie])
        # In one and the same round, so before the owner has been told to give anything up.
        granted_count += any(partitions for _, partitions in assigned["zombie"].assigned_partitions)
    assert granted_count > 0


@pytest.mark.kafka
def test_a_member_offers_the_eager_sticky_assignor_alone(kafka: Kafka, sources: list[KafkaSource]) -> None:
    """K10, as the brokers see it: with one protocol on offer nothing else can be chosen."""
    settings = kafka.settings()
    source = KafkaSource(settings, kafka.topic(), 0)
    sources.append(source)
    settle(source)
    consumer: Any = source._consumer  # pyright: ignore[reportPrivateUsage]
    assert [name for name, _ in consumer._coordinator.group_protocols()] == ["sticky"]
    admin: Any = KafkaAdminClient(**admin_options(settings))
    try:
        described = admin.describe_groups([settings.group_id])
    finally:
        admin.close()
    assert described[settings.group_id]["protocol_data"] == "sticky"
