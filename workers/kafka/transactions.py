"""The transaction protocol: records and consumed offsets become visible together or not at all.

Begin, send, flush, check every record, send the offsets, commit. kafka-python's defects make this order and the
reaction to each error part of the guarantee; docs/kafka.md lists them as K1 to K17. Until the commit is requested,
every failure is known to leave nothing visible. From then on, anything but success ends the process.

One epoch of the producer sees at most one transaction with a request that nobody answered, and that one is its last:
whatever copy of it the network delivers later, the brokers refuse (K17).

Both users of the protocol hold one transactional id each: a worker's sink (`sink.py`), whose offsets are guarded by its
group membership as well, and the commands that copy records (`commands/recovery/writer.py`).
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

from topology.contract.errors import SluicegateError
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from workers.kafka.client import connect, discard, producer_options
from workers.kafka.errors import Fault, SlotFenced, fault_of, translation
from workers.kafka.producer import RoundProducer
from workers.kafka.watchdog import Watchdog
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.transactions")

FLUSH_MARGIN_S = 1.0
"""The time added to `delivery_timeout_ms`, after which the library itself fails every record."""

NO_LEADER_EPOCH = -1
NO_GENERATION = -1

INIT = "InitProducerId"
"""The one request that brokers take under any epoch, late copies too."""

_SEVERITY = (Fault.FENCED, Fault.REFUSED, Fault.STALE, Fault.TRANSIENT)
"""If several records failed, the first of these decides."""

OwnedOffsets = tuple[Ownership, Sequence[PartitionOffset]]
"""Offsets to commit in one consumer group, and the membership that allows it."""


class Aborted:
    """A transaction of which nothing is visible. Its producer must not be used again, only renewed or closed."""

    def __init__(self, cause: KafkaError, fenced: SlotFenced) -> None:
        self.cause = cause
        self.fault = fault_of(cause)
        self._fenced = fenced

    def as_error(self, operation: str) -> SluicegateError:
        """Return the error for a caller that does not try again: SlotFenced, KafkaRefused or KafkaUnavailable."""
        if self.fault is Fault.FENCED:
            return self._fenced
        return translation(operation, self.cause)


class TransactionalProducer:
    """The holder of one transactional id. All calls on one thread.

    Making it waits until the brokers have finished or aborted what an earlier holder left open, and fences that holder.
    Raises KafkaUnavailable, KafkaRefused or SlotFenced.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        transactional_id: str,
        *,
        exit_process: Callable[[int], object] = os._exit,
        make_producer: Callable[..., Any] = RoundProducer,
    ) -> None:
        self._kafka = kafka
        self._id = transactional_id
        self._watchdog = Watchdog(exit_process)
        self._make_producer = make_producer
        self._may_come_late: set[str] = set()
        """Requests of earlier producers that nobody answered."""
        self._producer: Any = None
        self._producer = self._build()
        self._identity = _identity(self._producer)

    @property
    def identity(self) -> tuple[int, int]:
        """Return producer id and epoch of the present producer."""
        return self._identity

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[OwnedOffsets]) -> Aborted | None:
        """Make records and offsets visible together; return None if they are, else why nothing of them is.

        Takes at most `commit_timeout_s`, and before it `connect_timeout_s` for a producer with an unanswered request,
        which is renewed; raises then as making one does. Raises SlotFenced if the commit shows another holder. If the
        outcome cannot be known, ends the process; OutcomeUnknown is raised only if that did not happen.
        """
        if unanswered := self._producer.unanswered:
            logger.warning(
                "requests were left unanswered, the producer gets a new epoch",
                extra={"transactional_id": self._id, "requests": ", ".join(unanswered)},
            )
            self.renew()
        with self._watchdog.limit("commit", self._kafka.commit_timeout_s):
            error = self._prepare(records, offsets)
            if error is None:
                self._finish()
        if error is None:
            return None
        cause = self._cause(error)
        return Aborted(cause, self._fenced(cause))

    def renew(self) -> None:
        """Replace a producer that saw an error. Raises as making one does.

        A producer keeps the offsets of its aborted transaction and sends them with the next one (K2). Its transaction
        is aborted by the new producer's start, which unlike an abort has a bound (K4). The start raises the epoch, so
        the brokers refuse whatever of the old producer is still in the network (K17).
        """
        self._leave(self._producer)
        self._producer = self._build()
        self._identity = _identity(self._producer)

    def close(self) -> None:
        """Stop within a few seconds; an open transaction is left to the brokers to abort."""
        discard(self._producer)

    def _prepare(self, records: Sequence[OutRecord], offsets: Sequence[OwnedOffsets]) -> KafkaError | None:
        """Do everything up to the commit; return None if the brokers have acknowledged all of it."""
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
                    timestamp_ms=record.timestamp_ms,
                )
                for record in records
            ]
            producer.flush(self._kafka.delivery_timeout_ms / 1000 + FLUSH_MARGIN_S)
            # The library commits a transaction although it gave up one of its records (K1).
            errors = [future.exception if future.is_done else KafkaTimeoutError() for future in sent]
            if failed := [error for error in errors if error is not None]:
                return min(failed, key=lambda error: _SEVERITY.index(fault_of(error)))
            for ownership, positions in offsets:
                if positions:
                    producer.send_offsets_to_transaction(_offsets(positions), _membership(ownership))
        except KafkaError as exc:
            return exc
        return None

    def _finish(self) -> None:
        try:
            self._producer.commit_transaction()
        except KafkaError as exc:
            if fault_of(self._cause(exc)) is Fault.FENCED:
                raise self._fenced(exc) from exc
            raise self._watchdog.give_up("commit", type(exc).__name__) from exc
        # The library reports success although it renewed the producer meanwhile and dropped the transaction (K3).
        if _identity(self._producer) != self._identity:
            raise self._watchdog.give_up("commit", "producer identity changed")

    def _cause(self, error: KafkaError) -> KafkaError:
        """Return the error that broke the producer if `error` only says that it is broken."""
        first = self._producer._transaction_manager._last_error  # noqa: SLF001 - the library has no accessor for it
        return first if type(error) is KafkaError and isinstance(first, KafkaError) else error

    def _build(self) -> Any:
        try:
            return connect("producer", self._start_producer, self._kafka.connect_timeout_s)
        except KafkaError as exc:
            raise self._fenced(exc) from exc

    def _start_producer(self) -> Any:
        producer = self._make_producer(**producer_options(self._kafka, transactional_id=self._id))
        try:
            producer.init_transactions()
        except KafkaError:
            self._leave(producer)
            raise
        return producer

    def _leave(self, producer: Any) -> None:
        self._may_come_late.update(producer.unanswered)
        discard(producer)

    def _fenced(self, error: KafkaError) -> SlotFenced:
        """Return the error for a lost slot. A late InitProducerId takes it as another process would (K17)."""
        reason = type(error).__name__
        if INIT in self._may_come_late.union(self._producer.unanswered if self._producer is not None else ()):
            reason += f", perhaps by this worker's own {INIT} that came late"
        return SlotFenced(self._id, reason)


def memberless(group_id: str) -> Ownership:
    """Return the identity for a group that never has members, whose offsets the transactional id alone guards.

    Brokers accept it for any group (K5): a worker must never commit under it.
    """
    return Ownership(generation=NO_GENERATION, member_id="", group_id=group_id)


def _offsets(positions: Sequence[PartitionOffset]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(position.topic, position.partition): OffsetAndMetadata(
            position.offset, position.metadata, NO_LEADER_EPOCH
        )
        for position in positions
    }


def _membership(ownership: Ownership) -> Any:
    return ConsumerGroupMetadata(
        group_id=ownership.group_id,
        generation_id=ownership.generation,
        member_id=ownership.member_id,
        group_instance_id=ownership.instance_id,
    )


def _identity(producer: Any) -> tuple[int, int]:
    held = producer._transaction_manager.producer_id_and_epoch  # noqa: SLF001 - the library has no accessor for it
    return held.producer_id, held.epoch
