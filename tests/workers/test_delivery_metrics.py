"""What Kafka does to a worker is counted: rebalances, assigned partitions, transactions that did not commit."""

import pytest
from msgspec.structs import replace

from tests.contracts.delivery import after, read, settle
from tests.plugins.kafka_broker import Kafka, wait_until
from topology.instruments import Instruments
from topology.metrics import CommitReason, Metric
from topology.ports import OutRecord
from workers.kafka_errors import SlotFenced
from workers.sink import TransactionalSink
from workers.source import KafkaSource, leave_group

pytestmark = pytest.mark.kafka


def test_rebalances_and_assigned_partitions_are_counted(kafka: Kafka) -> None:
    settings, topic, metrics = kafka.settings(), kafka.topic(2), Instruments.none()
    source = KafkaSource(settings, topic, 0, metrics=metrics)
    other: KafkaSource | None = None
    try:
        settle(source)
        assert metrics.value(Metric.ASSIGNED_PARTITIONS) == 2
        assert metrics.value(Metric.REBALANCES, reason="assigned") == 1
        other = KafkaSource(settings, topic, 1)
        joining = other
        wait_until(lambda: _polled(source, joining) and metrics.value(Metric.ASSIGNED_PARTITIONS) == 1)
        assert metrics.value(Metric.REBALANCES, reason="assigned") >= 2
        assert metrics.value(Metric.REBALANCES, reason="revoked") >= 1
        leave_group(settings, [0])
        wait_until(lambda: _polled(source, joining) and metrics.value(Metric.REBALANCES, reason="lost") >= 1)
    finally:
        source.close()
        if other is not None:
            other.close()


def _polled(*sources: KafkaSource) -> bool:
    for source in sources:
        source.poll(0.02)
    return True


def test_transactions_that_do_not_commit_are_counted_by_reason(kafka: Kafka) -> None:
    settings, topic, output, metrics = kafka.settings(), kafka.topic(), kafka.topic(), Instruments.none()
    kafka.send(topic, b"a", key=b"key")
    source, sink = KafkaSource(settings, topic, 0), TransactionalSink(settings, 0, metrics=metrics)
    successor: TransactionalSink | None = None
    try:
        (record,) = read(source, 1)
        ownership, answer = settle(source), [OutRecord(topic=output, key=b"key", value=b"A")]
        assert not sink.commit(answer, [after(record)], replace(ownership, generation=ownership.generation + 7))
        assert _counts(metrics, CommitReason.OWNERSHIP_LOST) == (1, 1)
        assert not sink.commit(answer, [after(record)], replace(ownership, generation=-1))
        assert _counts(metrics, CommitReason.OWNERSHIP_LOST) == (2, 1), "no transaction was begun"
        assert sink.commit(answer, [after(record)], ownership)
        successor = TransactionalSink(settings, 0)
        with pytest.raises(SlotFenced):
            sink.commit(answer, [after(record)], ownership)
        assert _counts(metrics, CommitReason.FENCED)[0] == 1
        assert _counts(metrics, CommitReason.OWNERSHIP_LOST) == (2, 1)
    finally:
        source.close()
        sink.close()
        if successor is not None:
            successor.close()


def _counts(metrics: Instruments, reason: CommitReason) -> tuple[float, float]:
    """Failed commits and aborted transactions."""
    failed = metrics.value(Metric.COMMIT_FAILURES, reason=reason)
    return failed, metrics.value(Metric.TRANSACTION_ABORTS, reason=reason)
