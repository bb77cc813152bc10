"""What Kafka does to a worker is counted: rebalances, assigned partitions, transactions that did not commit."""

import pytest
from msgspec.structs import replace

from tests.contracts.delivery import after, read, settle
from tests.plugins.kafka_broker import Kafka
from topology.contract.names import CommitReason
from topology.contract.records import OutRecord
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.errors import SlotFenced
from workers.kafka.sink import TransactionalSink
from workers.kafka.source import KafkaSource, _Assignments

pytestmark = pytest.mark.kafka


def test_rebalances_and_assigned_partitions_are_counted(kafka: Kafka) -> None:
    settings, topic, metrics = kafka.settings(), kafka.topic(2), Instruments.none()
    source = KafkaSource(settings, topic, 0, metrics=metrics)
    try:
        settle(source)
        assert metrics.value(Metric.ASSIGNED_PARTITIONS) == 2
        assert metrics.value(Metric.REBALANCES, reason="assigned") == 1
    finally:
        source.close()


def test_each_kind_of_rebalance_is_counted_by_its_reason() -> None:
    """Told by the client, here by the test: a real group decides for itself when which of them happens."""
    metrics = Instruments.none()
    listener = _Assignments(metrics)
    listener.on_partitions_revoked([0, 1])
    listener.on_partitions_assigned([0])
    listener.on_partitions_lost([0])
    listener.on_partitions_assigned([0, 1])
    counted = {reason: metrics.value(Metric.REBALANCES, reason=reason) for reason in ("assigned", "revoked", "lost")}
    assert counted == {"assigned": 2, "revoked": 1, "lost": 1}
    assert listener.count == 2


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
