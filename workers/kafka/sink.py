"""The Sink port on a transactional producer: records and consumed offsets become visible together or not at all.

kafka-python's defects make the order of steps and the reaction to each error part of the guarantee; docs/kafka.md
lists them as K1 to K16. Until a commit is asked for, every failure is known to leave nothing visible. From then on,
anything but success ends the process.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import (
    ConsumerGroupMetadata,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    OffsetAndMetadata,
    TopicPartition,
)

from topology.contract.names import CommitReason
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.client import connect, discard, producer_options, slot_name
from workers.kafka.errors import Fault, KafkaUnavailable, SlotFenced, fault_of, refused
from workers.kafka.producer import RoundProducer
from workers.kafka.watchdog import Watchdog
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.sink")

FAILURES_MAX = 10
"""Transactions in a row that may fail before the worker ends; each may take as long as `delivery_timeout_ms`."""

FLUSH_MARGIN_S = 1.0
"""On top of `delivery_timeout_ms`, after which the library itself fails every record."""

NO_LEADER_EPOCH = -1

_SEVERITY = (Fault.FENCED, Fault.REFUSED, Fault.STALE, Fault.TRANSIENT)

_REASONS = {
    Fault.FENCED: CommitReason.FENCED,
    Fault.REFUSED: CommitReason.BROKER,
    Fault.STALE: CommitReason.OWNERSHIP_LOST,
    Fault.TRANSIENT: CommitReason.DELIVERY,
}


class TransactionalSink:
    """One slot's producer. Connects when made: raises KafkaUnavailable, KafkaRefused or SlotFenced where it cannot."""

    def __init__(
        self,
        kafka: KafkaSettings,
        slot: int,
        *,
        exit_process: Callable[[int], object] = os._exit,
        metrics: Instruments | None = None,
        make_producer: Callable[..., Any] = RoundProducer,
    ) -> None:
        self._kafka = kafka
        self._metrics = metrics or Instruments.none()
        self._name = slot_name(kafka, slot)
        self._watchdog = Watchdog(exit_process)
        self._make_producer = make_producer
        self._failure_count = 0
        self._producer: Any = self._build()
        self._identity = _identity(self._producer)

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """As `Sink.commit`. Raises SlotFenced, KafkaRefused, and KafkaUnavailable after FAILURES_MAX in a row."""
        if not is_joined(ownership):
            # The broker takes an empty identity for an old client's and lets it overwrite anything (K5).
            logger.error("commit without group membership refused", extra={"slot": self._name})
            self._metrics.count(Metric.COMMIT_FAILURES, reason=CommitReason.OWNERSHIP_LOST)
            return False
        if not records and not offsets:
            return True
        with self._watchdog.limit("commit", self._kafka.commit_timeout_s):
            error = self._prepare(records, offsets, ownership)
            if error is None:
                self._finish()
        if error is None:
            self._failure_count = 0
            return True
        self._recover(error)
        return False

    def close(self) -> None:
        """As `Sink.close`; takes at most a few seconds."""
        discard(self._producer)

    def _prepare(
        self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership
    ) -> KafkaError | None:
        """Everything up to the commit; None when all of it is acknowledged."""
        producer = self._producer
        try:
            producer.begin_transaction()
            sent = [
                producer.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    partition=record.partition,
                )
                for record in records
            ]
            producer.flush(self._kafka.delivery_timeout_ms / 1000 + FLUSH_MARGIN_S)
            # A commit succeeds although a record of its transaction was given up (K1).
            errors = [future.exception if future.is_done else KafkaTimeoutError() for future in sent]
            if failed := [error for error in errors if error is not None]:
                return min(failed, key=lambda error: _SEVERITY.index(fault_of(error)))
            if offsets:
                producer.send_offsets_to_transaction(_positions(offsets), _membership(ownership))
        except KafkaError as exc:
            return exc
        return None

    def _finish(self) -> None:
        try:
            self._producer.commit_transaction()
        except KafkaError as exc:
            if fault_of(self._cause(exc)) is Fault.FENCED:
                self._metrics.count(Metric.COMMIT_FAILURES, reason=CommitReason.FENCED)
                raise SlotFenced(self._name, type(exc).__name__) from exc
            raise self._watchdog.give_up("commit", type(exc).__name__) from exc
        # A commit reports success although the producer was renewed meanwhile and its transaction thrown away (K3).
        if _identity(self._producer) != self._identity:
            raise self._watchdog.give_up("commit", "producer identity changed")

    def _recover(self, error: KafkaError) -> None:
        """Sort `error`, and put a new producer in place of the one that saw it."""
        cause = self._cause(error)
        fault = fault_of(cause)
        logger.warning("transaction aborted", extra={"slot": self._name, "error": type(cause).__name__, "fault": fault})
        reason = CommitReason.TIMEOUT if isinstance(cause, KafkaTimeoutError) else _REASONS[fault]
        self._metrics.count(Metric.COMMIT_FAILURES, reason=reason)
        self._metrics.count(Metric.TRANSACTION_ABORTS, reason=reason)
        if fault is Fault.FENCED:
            raise SlotFenced(self._name, type(cause).__name__) from error
        if fault is Fault.REFUSED:
            raise refused("commit", cause) from error
        self._failure_count += 1
        if self._failure_count >= FAILURES_MAX:
            raise KafkaUnavailable(f"{self._failure_count} transactions in a row", type(cause).__name__) from error
        # A producer keeps the offsets of its aborted transaction and sends them with the next one (K2). Its transaction
        # is aborted by the new producer's start, which unlike an abort has a bound (K4).
        discard(self._producer)
        self._producer = self._build()
        self._identity = _identity(self._producer)

    def _cause(self, error: KafkaError) -> KafkaError:
        """The error that broke the producer, where `error` only says that it is broken."""
        first = self._producer._transaction_manager._last_error  # noqa: SLF001 - not to be had otherwise
        return first if type(error) is KafkaError and isinstance(first, KafkaError) else error

    def _build(self) -> Any:
        try:
            return connect("producer", self._start_producer, self._kafka.connect_timeout_s)
        except KafkaError as exc:
            raise SlotFenced(self._name, type(exc).__name__) from exc

    def _start_producer(self) -> Any:
        producer = self._make_producer(**producer_options(self._kafka, transactional_id=self._name))
        try:
            producer.init_transactions()
        except KafkaError:
            discard(producer)
            raise
        return producer


def is_joined(ownership: Ownership) -> bool:
    """Whether a commit in this name is checked against the group's present generation."""
    return ownership.generation >= 0 and bool(ownership.member_id)


def _positions(offsets: Sequence[PartitionOffset]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(position.topic, position.partition): OffsetAndMetadata(
            position.offset, position.metadata, NO_LEADER_EPOCH
        )
        for position in offsets
    }


def _membership(ownership: Ownership) -> Any:
    return ConsumerGroupMetadata(
        group_id=ownership.group_id,
        generation_id=ownership.generation,
        member_id=ownership.member_id,
        group_instance_id=ownership.instance_id,
    )


def _identity(producer: Any) -> tuple[int, int]:
    held = producer._transaction_manager.producer_id_and_epoch  # noqa: SLF001 - not to be had otherwise
    return held.producer_id, held.epoch
