"""K1 to K4: what kafka-python's transactions report, and what the sink makes of it. On a real broker.

A test of the bare library shows the defect as it is. When it fails, the version in use has mended it: the rule that
answers it can go, and its row in docs/kafka.md.
"""

import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest
from kafka.errors import CommitFailedError, OutOfOrderSequenceNumberError
from kafka.structs import TopicPartition
from msgspec.structs import replace

from tests.plugins.kafka_broker import Kafka
from tests.plugins.kafka_slot import QUICK, Slot, bare_member, bare_producer, freeze, offset_of, open_slots
from tests.plugins.patience import PATIENCE_S, wait_until
from topology.contract.records import PartitionOffset
from workers.development.mock_broker import MockBroker
from workers.kafka.errors import OutcomeUnknown
from workers.kafka.producer import RoundProducer
from workers.settings import KafkaSettings, TopicSettings

TOPIC = TopicSettings().audited
PRODUCE = 0
NOT_ENOUGH_REPLICAS = 19
"""The protocol's numbers."""

BLOCKED_S = 5.0
"""Longer than every timeout that the producer was given."""


@pytest.fixture
def make_slot(kafka: Kafka) -> Generator[Callable[..., Slot]]:
    with open_slots(kafka) as make:
        yield make


class Call:
    """A call on a thread of its own: how it ended, if it did."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=[call], daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as exc:  # noqa: BLE001 - handed to the test
            self.error = exc

    def is_done(self, within_s: float) -> bool:
        self._thread.join(within_s)
        return not self._thread.is_alive()


def _identity(producer: Any) -> tuple[int, int]:
    held = producer._transaction_manager.producer_id_and_epoch
    return held.producer_id, held.epoch


def _send_out_of_order(producer: Any, topic: str) -> Any:
    """Send a record with a sequence number that the broker refuses, as after a batch that went astray."""
    producer._transaction_manager._sequence_numbers[TopicPartition(topic, 0)] += 7
    return producer.send(topic, value=b"lost", key=b"key")


def _on(broker: MockBroker) -> KafkaSettings:
    quick: dict[str, Any] = {**QUICK, "bootstrap_servers": (broker.bootstrap,), "api_version": broker.api_version}
    return KafkaSettings(**quick)


def test_the_library_commits_a_transaction_without_the_record_that_it_gave_up() -> None:
    """K1. When this fails, the rule can go: looking at every record's future before the offsets are sent."""
    with MockBroker() as broker, bare_producer(_on(broker)) as producer:
        producer.begin_transaction()
        broker.fail(PRODUCE, [NOT_ENOUGH_REPLICAS] * 1000)
        lost = producer.send(TOPIC, value=b"lost")
        commit = Call(producer.commit_transaction)
        assert commit.is_done(PATIENCE_S)
        assert lost.failed()
        assert commit.error is None


@pytest.mark.kafka
def test_the_library_sends_an_aborted_transactions_offsets_with_the_next(kafka: Kafka) -> None:
    """K2. When this fails, the rule can go: a new producer after every failed transaction."""
    settings, source, output = kafka.settings(), kafka.topic(2), kafka.topic()
    with bare_member(settings, source) as consumer, bare_producer(settings) as producer:
        wait_until(lambda: not consumer.poll(timeout_ms=50) and bool(consumer.assignment()))
        membership = consumer.group_metadata()
        stale = membership._replace(generation_id=membership.generation_id + 7)
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(source, 8, partition=0), membership)
        producer.commit_transaction()
        producer.begin_transaction()
        producer.send(output, value=b"aborted")
        with pytest.raises(CommitFailedError):
            producer.send_offsets_to_transaction(offset_of(source, 3, partition=0), stale)
        producer.abort_transaction()
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(source, 5, partition=1), membership)
        producer.commit_transaction()
    assert [kafka.committed(settings, source, partition) for partition in (0, 1)] == [3, 5], "0 went back from 8"


@pytest.mark.kafka
def test_the_sink_never_sends_the_offsets_of_a_failed_transaction_again(make_slot: Callable[..., Slot]) -> None:
    """K2."""
    slot = make_slot()
    other = PartitionOffset(topic=slot.kafka.topic(), partition=0, offset=5)
    assert slot.commit()
    stale = replace(slot.ownership, generation=slot.ownership.generation + 7)
    assert not slot.sink.commit([slot.answer(b"aborted")], [replace(slot.offset, offset=0)], stale)
    assert slot.sink.commit([slot.answer(b"B")], [other], slot.ownership)
    assert (slot.visible(), slot.committed()) == ([b"A", b"B"], 1)
    assert slot.kafka.committed(slot.settings, other.topic) == 5


@pytest.mark.kafka
def test_the_library_reports_a_commit_although_its_identity_was_renewed(kafka: Kafka) -> None:
    """K3. When this fails, the rule can go: comparing the producer's identity after every commit."""
    output = kafka.topic()
    with bare_producer(kafka.settings()) as producer:
        producer.begin_transaction()
        producer.send(output, value=b"sent", key=b"key").get(timeout=PATIENCE_S)
        before = _identity(producer)
        lost = _send_out_of_order(producer, output)
        producer.commit_transaction()
        wait_until(lambda: lost.is_done)
        assert isinstance(lost.exception, OutOfOrderSequenceNumberError)
        assert _identity(producer) != before
    assert kafka.values(output) == []


class Renewing(RoundProducer):
    """Has a record under way when it commits, which the broker refuses."""

    topic = ""

    def commit_transaction(self) -> None:
        _send_out_of_order(self, self.topic)
        super().commit_transaction()


@pytest.mark.kafka
def test_a_commit_under_a_renewed_identity_ends_the_process(make_slot: Callable[..., Slot]) -> None:
    """K3: the library calls it a success."""
    slot = make_slot(Renewing)
    slot.sink._producer._producer.topic = slot.output  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(OutcomeUnknown, match="identity"):
        slot.commit()
    assert slot.ends.codes == [70]
    assert (slot.visible(), slot.committed()) == ([], None)


@pytest.mark.kafka
def test_the_sink_answers_a_broken_sequence_with_a_new_producer(make_slot: Callable[..., Slot]) -> None:
    """K3's other half: with nothing under way at the commit, the refused record is seen before it."""
    slot = make_slot()
    producer: Any = slot.sink._producer._producer  # pyright: ignore[reportPrivateUsage]
    assert slot.commit()
    producer._transaction_manager._sequence_numbers[TopicPartition(slot.output, 0)] += 7
    assert not slot.commit(slot.answer(b"lost"))
    assert slot.sink._producer._producer is not producer  # pyright: ignore[reportPrivateUsage]
    assert slot.commit(slot.answer(b"again"))
    assert slot.visible() == [b"A", b"again"]
    assert slot.ends.codes == []


def test_the_library_waits_in_a_commit_beyond_every_timeout_it_was_given() -> None:
    """K4. When this fails, the rule can go: the watchdog around every transaction."""
    with MockBroker() as broker, bare_producer(_on(broker)) as producer:
        producer.begin_transaction()
        producer.send(TOPIC, value=b"sent").get(timeout=PATIENCE_S)
        broker.close()
        assert not Call(producer.commit_transaction).is_done(BLOCKED_S)


class Freezing(RoundProducer):
    """Has the broker freeze when everything but the commit itself is done."""

    freeze: Callable[[], object]

    def commit_transaction(self) -> None:
        self.freeze()
        super().commit_transaction()


@pytest.mark.kafka
def test_a_commit_that_is_not_answered_ends_the_process_in_time(kafka: Kafka, make_slot: Callable[..., Slot]) -> None:
    """K4: nobody can tell what became of it, so nobody does anything more."""
    slot = make_slot(Freezing, commit_timeout_s=2.0)
    slot.sink._producer._producer.freeze = lambda: freeze(kafka)  # pyright: ignore[reportPrivateUsage]
    commit = Call(slot.commit)
    assert slot.ends.asked.wait(PATIENCE_S)
    assert not commit.is_done(0.0), "the library still waits"
    kafka.broker.resume()
    assert commit.is_done(PATIENCE_S)
    assert slot.ends.codes == [70]
    assert isinstance(commit.error, OutcomeUnknown)
