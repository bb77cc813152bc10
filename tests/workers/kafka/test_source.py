"""The source on a real broker: rebalances, back-pressure, restarts, records of every shape."""

import time
from collections.abc import Callable, Generator
from contextlib import suppress

import pytest

from tests.contracts.delivery import after, poll_until, read, settle, values
from tests.plugins.kafka_broker import MESSAGE_BYTES_MAX, Kafka
from tests.plugins.patience import PATIENCE_S
from workers.kafka.errors import KafkaRefused, SlotFenced
from workers.kafka.groups import leave_group
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource

pytestmark = pytest.mark.kafka

Open = Callable[..., KafkaSource]


@pytest.fixture
def open_source() -> Generator[Open]:
    sources: list[KafkaSource] = []

    def make(*arguments: object) -> KafkaSource:
        sources.append(KafkaSource(*arguments))  # pyright: ignore[reportArgumentType]
        return sources[-1]

    yield make
    for source in sources:
        source.close()


def test_records_up_to_the_topics_16_mib_are_read(kafka: Kafka, open_source: Open) -> None:
    """Many times what one fetch returns: the broker gives the first record all the same."""
    topic = kafka.topic(configs={"max.message.bytes": str(MESSAGE_BYTES_MAX)})
    kafka.send(topic, b"before", b"x" * 16 * 1024 * 1024, b"after")
    records = read(open_source(kafka.settings(), topic, 0), 3)
    assert [len(record.value or b"") for record in records] == [6, 16 * 1024 * 1024, 5]


def test_headers_null_keys_and_tombstones_pass_through(kafka: Kafka, open_source: Open) -> None:
    topic = kafka.topic()
    kafka.send_record(topic, b"value", None, [("traceparent", b"00-1"), ("traceparent", b"00-2"), ("empty", b"")])
    kafka.send_record(topic, None, b"key", [])
    first, second = read(open_source(kafka.settings(), topic, 0), 2)
    assert (first.key, first.value) == (None, b"value")
    assert first.headers == (("traceparent", b"00-1"), ("traceparent", b"00-2"), ("empty", b""))
    assert (second.key, second.value, second.headers) == (b"key", None, ())
    assert abs(first.timestamp_ms / 1000 - time.time()) < 60


def test_a_paused_partition_with_records_at_hand_delivers_again(kafka: Kafka, open_source: Open) -> None:
    """With fetches so small that hundreds are under way when it is paused."""
    topic = kafka.topic(2)
    kafka.send(topic, *[b"x"] * 1500, partition=0)
    kafka.send(topic, *[b"y"] * 10, partition=1)
    source = open_source(kafka.settings(partition_fetch_bytes=2048), topic, 0)
    records = read(source, 100)
    source.pause(source.assignment())
    for _ in range(20):
        assert not list(source.poll(0.02))
    source.pause(())
    records += poll_until(source, lambda more: len(records) + len(more) >= 1510)
    own = [record.offset for record in records if record.partition == 0]
    assert own == list(range(1500))


def test_paused_and_idle_polls_cost_little(kafka: Kafka, open_source: Open) -> None:
    source = open_source(kafka.settings(), kafka.topic(2), 0)
    settle(source)
    source.pause(source.assignment())
    started_s, cpu_s = time.monotonic(), time.thread_time()
    for _ in range(20):
        source.poll(0.05)
    assert time.thread_time() - cpu_s < 0.3 * (time.monotonic() - started_s), "it waits instead of looking again"


def test_a_rebalance_gives_nothing_of_the_old_generation(kafka: Kafka, open_source: Open) -> None:
    settings, topic = kafka.settings(), kafka.topic(2)
    first = open_source(settings, topic, 0)
    before = settle(first)
    kafka.send(topic, b"a", b"b", partition=0)
    kafka.send(topic, b"c", b"d", partition=1)
    assert len(read(first, 4)) == 4
    second = open_source(settings, topic, 1)
    seen: list[tuple[int, bytes | None]] = []
    deadline_s = time.monotonic() + PATIENCE_S
    while len(seen) < 4:
        assert time.monotonic() < deadline_s
        for source in (first, second):
            for record in source.poll(0.05):
                ownership = source.ownership()
                assert ownership is not None
                assert ownership.generation > before.generation
                seen.append((record.partition, record.value))
    assert sorted(seen) == [(0, b"a"), (0, b"b"), (1, b"c"), (1, b"d")]


def test_a_zombies_commit_is_refused_once_its_partitions_have_moved(kafka: Kafka, open_source: Open) -> None:
    """K5: a member that was thrown out for its silence must not overwrite its successor's offset."""
    settings, topic, output = kafka.settings(), kafka.topic(), kafka.topic()
    kafka.send(topic, b"a", b"b")
    zombie = open_source(settings, topic, 0)
    sink = TransactionalSink(settings, 0, exit_process=_must_not_exit)
    first, second = read(zombie, 2)
    stale = settle(zombie)
    assert leave_group(settings, [0, 7]) == (0,), "of the two, the one with a member"
    successor = open_source(settings, topic, 1)
    other = TransactionalSink(settings, 1, exit_process=_must_not_exit)
    try:
        read(successor, 2)
        assert other.commit([], [after(second)], settle(successor))
        # The broker may also say that the instance is unknown to the group.
        with suppress(SlotFenced):
            assert not sink.commit([], [after(first)], stale)
        assert kafka.committed(settings, topic) == 2
        assert kafka.values(output) == []
    finally:
        sink.close()
        other.close()


def test_a_static_member_that_restarts_keeps_its_partitions_and_disturbs_nobody(
    kafka: Kafka, open_source: Open
) -> None:
    settings, topic = kafka.settings(), kafka.topic(2)
    sources = [open_source(settings, topic, slot) for slot in (0, 1)]
    deadline_s = time.monotonic() + PATIENCE_S
    while not all(_is_settled(source) for source in sources):
        assert time.monotonic() < deadline_s
        for source in sources:
            source.poll(0.05)
    before = sources[1].ownership()
    sources[0].close()
    settle(open_source(settings, topic, 0))
    for _ in range(5):
        sources[1].poll(0.05)
    assert sources[1].ownership() == before


def test_a_second_process_with_the_same_slot_fences_the_first(kafka: Kafka, open_source: Open) -> None:
    """K12: the library only stops the heartbeat, and goes on reading."""
    settings, topic = kafka.settings(), kafka.topic()
    first = open_source(settings, topic, 0)
    settle(first)
    settle(open_source(settings, topic, 0))
    with pytest.raises(SlotFenced):
        poll_until(first, lambda _: False)


def test_latest_does_not_skip_what_was_read_and_not_committed(kafka: Kafka, open_source: Open) -> None:
    settings, topic = kafka.settings(auto_offset_reset="latest"), kafka.topic()
    kafka.send(topic, b"before the group")
    source = open_source(settings, topic, 0)
    settle(source)
    poll_until(source, lambda _: not source._unplaced)  # pyright: ignore[reportPrivateUsage]
    kafka.send(topic, b"a")
    assert values(read(source, 1)) == [b"a"]
    source.close()
    again = open_source(settings, topic, 0)
    assert values(read(again, 1)) == [b"a"]


def test_the_end_of_a_partition_is_known_from_its_fetches(kafka: Kafka, open_source: Open) -> None:
    topic = kafka.topic()
    kafka.send(topic, *[b"x"] * 5)
    source = open_source(kafka.settings(), topic, 0)
    read(source, 5)
    assert source.end_offsets() == {(topic, 0): 5}
    source.pause(source.assignment())
    assert source.end_offsets() == {(topic, 0): 5}


def test_a_missing_topic_is_named_at_the_start(kafka: Kafka) -> None:
    with pytest.raises(KafkaRefused, match="no-such-topic"):
        KafkaSource(kafka.settings(connect_timeout_s=1), "no-such-topic", 0)


def _is_settled(source: KafkaSource) -> bool:
    return source.ownership() is not None and len(source._consumer.assignment()) == 1  # pyright: ignore[reportPrivateUsage]


def _must_not_exit(code: int) -> None:
    raise AssertionError(f"the process would have ended with {code}")
