"""K17: requests that the network delivers after their client has sent them again, on a real broker behind a proxy.

The first copy of one request is kept back, and its connection is cut; kafka-python sends it again, which succeeds. The
first copy reaches the broker when it does most harm.
"""

from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any, ClassVar

import pytest
from kafka.protocol.consumer import OffsetCommitRequest
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    ProduceRequest,
    TxnOffsetCommitRequest,
)
from msgspec.structs import replace

from tests.contracts.delivery import after, poll_until, read, settle
from tests.plugins.kafka_broker import Kafka
from tests.plugins.kafka_slot import Ends, bare_member, bare_producer, offset_of
from tests.plugins.patience import PATIENCE_S, wait_until
from topology.contract.records import OutRecord, PartitionOffset
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.client import slot_name
from workers.kafka.errors import KafkaUnavailable, SlotFenced
from workers.kafka.producer import RoundProducer
from workers.kafka.sink import TransactionalSink
from workers.kafka.sink_process import ProcessSink
from workers.kafka.source import KafkaSource
from workers.settings import KafkaSettings

pytestmark = pytest.mark.kafka

FENCED = {47, 90}
"""INVALID_PRODUCER_EPOCH and PRODUCER_FENCED."""
FENCED_INSTANCE_ID = {82}


class Delivering(RoundProducer):
    """Calls what a test says before a step of its transaction."""

    before: ClassVar[dict[str, Callable[[], object]]] = {}

    def send_offsets_to_transaction(self, *arguments: Any, **named: Any) -> None:
        self.before.pop("offsets", lambda: None)()
        super().send_offsets_to_transaction(*arguments, **named)

    def commit_transaction(self) -> None:
        self.before.pop("commit", lambda: None)()
        super().commit_transaction()


class LateSlot:
    """A worker's source beside the proxy, and its sink behind it; two records were read."""

    def __init__(
        self, kafka: Kafka, keep_at_start: Any = None, *, make: Callable[..., Any] = TransactionalSink
    ) -> None:
        self.kafka = kafka
        self.input, self.output = kafka.topic(), kafka.topic()
        self.settings = kafka.settings(session_timeout_ms=30_000, max_poll_interval_ms=60_000)
        self.ends = Ends()
        kafka.send(self.input, b"a", b"b", key=b"key")
        self.source = KafkaSource(self.settings, self.input, 0)
        self.records = read(self.source, 2)
        self.ownership = settle(self.source)
        self.kept = kafka.proxy.keep_next(keep_at_start) if keep_at_start else None
        self.sink = make(proxied(kafka, self.settings), 0, exit_process=self.ends)

    def commit(self, number: int) -> bool:
        """Commit the answer to the first or second record."""
        answer = OutRecord(topic=self.output, key=b"key", value=b"%d" % number)
        return self.sink.commit([answer], [after(self.records[number - 1])], self.ownership)

    @property
    def seen(self) -> tuple[list[bytes], int | None, list[int]]:
        """What a reader sees, the group's position, and whether the process was to end."""
        return self.kafka.values(self.output), self.kafka.committed(self.settings, self.input), self.ends.codes

    def close(self) -> None:
        self.source.close()
        self.sink.close()


def proxied(kafka: Kafka, settings: KafkaSettings) -> KafkaSettings:
    return replace(settings, bootstrap_servers=(kafka.proxy.address,))


def watched(kafka_settings: KafkaSettings, slot: int, *, exit_process: Callable[[int], object]) -> TransactionalSink:
    return TransactionalSink(kafka_settings, slot, exit_process=exit_process, make_producer=Delivering)


@pytest.fixture
def open_slot(kafka: Kafka) -> Generator[Callable[..., LateSlot]]:
    slots: list[LateSlot] = []

    def make(*arguments: Any, **named: Any) -> LateSlot:
        slots.append(LateSlot(kafka, *arguments, **named))
        return slots[-1]

    yield make
    for slot in slots:
        slot.close()


def test_the_library_lets_a_late_commit_end_its_next_transaction(kafka: Kafka) -> None:
    """When this fails, the rule can go: a new epoch after a transaction with a request that nobody answered."""
    output = kafka.topic()
    with bare_producer(proxied(kafka, kafka.settings())) as producer:
        producer.begin_transaction()
        producer.send(output, value=b"1").get(timeout=PATIENCE_S)
        kept = kafka.proxy.keep_next(EndTxnRequest)
        producer.commit_transaction()
        producer.begin_transaction()
        producer.send(output, value=b"half of 2").get(timeout=PATIENCE_S)
        assert kept.deliver() == {0}
        assert kafka.values(output) == [b"1", b"half of 2"]


def test_the_library_lets_a_late_position_overwrite_the_next(kafka: Kafka) -> None:
    """When this fails, the rule can go, as above."""
    settings, source = kafka.settings(), kafka.topic()
    with bare_member(settings, source) as member, bare_producer(proxied(kafka, settings)) as producer:
        wait_until(lambda: not member.poll(timeout_ms=50) and bool(member.assignment()))
        membership = member.group_metadata()
        kept = kafka.proxy.keep_next(TxnOffsetCommitRequest)
        for position in (1, 2):
            producer.begin_transaction()
            producer.send_offsets_to_transaction(offset_of(source, position, partition=0), membership)
            if position == 2:
                assert kept.deliver() == {0}
            producer.commit_transaction()
    assert kafka.committed(settings, source) == 1, "it was 2"


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (EndTxnRequest, "offsets"),
        (EndTxnRequest, "commit"),
        (TxnOffsetCommitRequest, "commit"),
        (AddOffsetsToTxnRequest, "offsets"),
        (AddPartitionsToTxnRequest, "commit"),
    ],
)
def test_a_late_request_does_nothing_to_the_next_transaction(
    open_slot: Callable[..., LateSlot], kind: Any, step: str
) -> None:
    slot, codes = open_slot(make=watched), set[int]()
    kept = slot.kafka.proxy.keep_next(kind)
    assert slot.commit(1)
    Delivering.before[step] = lambda: codes.update(kept.deliver())
    assert slot.commit(2)
    assert codes
    assert codes <= FENCED
    assert slot.seen == ([b"1", b"2"], 2, [])


def test_late_records_are_not_written_again(open_slot: Callable[..., LateSlot]) -> None:
    """The broker may also know them by their sequence number, and say that it has them."""
    slot = open_slot(make=watched)
    kept = slot.kafka.proxy.keep_next(ProduceRequest)
    assert slot.commit(1)
    Delivering.before["offsets"] = kept.deliver
    assert slot.commit(2)
    assert slot.seen == ([b"1", b"2"], 2, [])
    assert slot.kafka.values(slot.output, isolation="read_uncommitted") == [b"1", b"2"]


@pytest.mark.parametrize("is_timed_out", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_transaction_that_a_late_request_opens_between_two_others_ends_nobody(
    open_slot: Callable[..., LateSlot], is_timed_out: bool
) -> None:
    """Also if the broker has aborted it meanwhile, which raises the epoch."""
    slot = open_slot()
    kept = slot.kafka.proxy.keep_next(AddPartitionsToTxnRequest)
    assert slot.commit(1)
    wait_until(lambda: kept.deliver() == {0})  # the broker may still complete the first transaction
    if is_timed_out:
        wait_until(lambda: slot.kafka.transaction_state(slot_name(slot.settings, 0)) == "CompleteAbort")
    assert slot.commit(2)
    assert slot.seen == ([b"1", b"2"], 2, [])


def test_a_start_that_arrives_late_ends_the_worker_with_its_reason_and_leaves_nothing_half_done(
    open_slot: Callable[..., LateSlot],
) -> None:
    """InitProducerId is taken under any epoch; it looks like another process that was given the slot."""
    slot = open_slot(InitProducerIdRequest, make=watched)
    assert slot.kept is not None
    Delivering.before["offsets"] = slot.kept.deliver
    with pytest.raises(SlotFenced, match="own InitProducerId that came late"):
        slot.commit(1)
    with closing(TransactionalSink(slot.settings, 0, exit_process=slot.ends)) as sink:
        answer = OutRecord(topic=slot.output, key=b"key", value=b"again")
        assert sink.commit([answer], [after(slot.records[0])], slot.ownership)
    assert slot.seen == ([b"again"], 1, [])


@pytest.mark.parametrize("kind", [EndTxnRequest, TxnOffsetCommitRequest])
def test_a_producer_in_its_own_process_gets_a_new_epoch_too(open_slot: Callable[..., LateSlot], kind: Any) -> None:
    slot = open_slot(make=ProcessSink)
    kept = slot.kafka.proxy.keep_next(kind)
    assert slot.commit(1)
    assert slot.commit(2)
    assert kept.deliver() <= FENCED
    assert slot.seen == ([b"1", b"2"], 2, [])


@pytest.mark.parametrize("kind", [EndTxnRequest, TxnOffsetCommitRequest])
def test_a_writer_of_copies_gets_a_new_epoch_too(kafka: Kafka, kind: Any) -> None:
    settings, source, output = kafka.settings(), kafka.topic(), kafka.topic()
    kept = kafka.proxy.keep_next(kind)
    with CopyWriter(proxied(kafka, settings), "writer-of-" + settings.group_id) as writer:
        for number in (1, 2):
            copy = OutRecord(topic=output, key=b"key", value=b"%d" % number)
            progress = PartitionOffset(topic=source, partition=0, offset=number)
            writer.write([copy], {settings.group_id: [progress]})
        assert kept.deliver() <= FENCED
    assert (kafka.values(output), kafka.committed(settings, source)) == ([b"1", b"2"], 2)


def test_a_start_position_without_an_answer_ends_the_worker_and_its_late_copy_is_refused(kafka: Kafka) -> None:
    """Under `latest` the start is not committed by a transaction; a restart joins as a member that sent no copy."""
    settings, topic = kafka.settings(auto_offset_reset="latest", session_timeout_ms=30_000), kafka.topic()
    kept = kafka.proxy.keep_next(OffsetCommitRequest)
    source = KafkaSource(proxied(kafka, settings), topic, 0)
    with closing(source), pytest.raises(KafkaUnavailable, match="start position"):
        poll_until(source, lambda _: False)
    again, sink = KafkaSource(settings, topic, 0), TransactionalSink(settings, 0, exit_process=Ends())
    with closing(again), closing(sink):
        poll_until(again, lambda _: bool(again.positions()))
        kafka.send(topic, b"a")
        (record,) = read(again, 1)
        assert sink.commit([], [after(record)], settle(again))
        assert kept.deliver() == FENCED_INSTANCE_ID
    assert kafka.committed(settings, topic) == 1
