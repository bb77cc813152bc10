"""Writes copies of records, and how far it came, in transactions: together or not at all.

One name holds one transactional id. A second process with it ends the first one's transactions, so two that are started
side by side never both write: each learns how far the work came only after it has the id. Whatever fails ends the
writer: what is visible is known from what was committed with it, and a new run goes on from there. The order of steps
follows `sink.py`; docs/kafka.md says why.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.structs import (
    ConsumerGroupMetadata,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    OffsetAndMetadata,
    TopicPartition,
)

from topology.contract.errors import SluicegateError
from topology.contract.records import PartitionOffset
from workers.commands.recovery.copies import Copy
from workers.kafka.client import connect, discard, producer_options
from workers.kafka.errors import Fault, KafkaUnavailable, SlotFenced, fault_of, refused
from workers.kafka.watchdog import Watchdog
from workers.settings import KafkaSettings

FLUSH_MARGIN_S = 1.0
NO_LEADER_EPOCH = -1
NO_GENERATION = -1

_SEVERITY = (Fault.FENCED, Fault.REFUSED, Fault.STALE, Fault.TRANSIENT)

Progress = Mapping[str, Sequence[PartitionOffset]]
"""Offsets to be committed, by group. The groups have no members: the transactional id alone guards them."""


class CopyWriter:
    """The holder of one transactional id; use it as a context manager, on one thread.

    Made, it has waited for what an earlier holder left undecided. Raises KafkaUnavailable, KafkaRefused, SlotFenced.
    """

    def __init__(self, kafka: KafkaSettings, name: str, *, exit_process: Callable[[int], object] = os._exit) -> None:
        self._kafka = kafka
        self._name = name
        self._watchdog = Watchdog(exit_process)
        try:
            self._producer: Any = connect("producer", self._start, kafka.connect_timeout_s)
        except KafkaError as exc:
            raise SlotFenced(name, type(exc).__name__) from exc
        self._identity = self._held()

    def write(self, copies: Sequence[Copy], progress: Progress) -> None:
        """Make copies and progress visible together; after any error nothing but `close` may be called.

        Raises SlotFenced, KafkaRefused and KafkaUnavailable, all of which leave nothing visible. Ends the process
        where the outcome cannot be known.
        """
        with self._watchdog.limit("commit", self._kafka.commit_timeout_s):
            try:
                self._prepare(copies, progress)
            except KafkaError as exc:
                raise self._explained(exc) from exc
            self._finish()

    def close(self) -> None:
        """Stop; a transaction that was begun and not committed is dropped."""
        discard(self._producer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _prepare(self, copies: Sequence[Copy], progress: Progress) -> None:
        producer = self._producer
        producer.begin_transaction()
        sent = [_send(producer, copy) for copy in copies]
        producer.flush(self._kafka.delivery_timeout_ms / 1000 + FLUSH_MARGIN_S)
        # A commit succeeds although a record of its transaction was given up (K1).
        errors = [future.exception if future.is_done else KafkaTimeoutError() for future in sent]
        if failed := [error for error in errors if error is not None]:
            raise min(failed, key=lambda error: _SEVERITY.index(fault_of(error)))
        for group, offsets in progress.items():
            producer.send_offsets_to_transaction(_positions(offsets), _memberless(group))

    def _finish(self) -> None:
        try:
            self._producer.commit_transaction()
        except KafkaError as exc:
            if fault_of(self._cause(exc)) is Fault.FENCED:
                raise SlotFenced(self._name, type(exc).__name__) from exc
            raise self._watchdog.give_up("commit", type(exc).__name__) from exc
        # A commit reports success although the producer was renewed meanwhile and its transaction thrown away (K3).
        if self._held() != self._identity:
            raise self._watchdog.give_up("commit", "producer identity changed")

    def _explained(self, error: KafkaError) -> SluicegateError:
        cause = self._cause(error)
        match fault_of(cause):
            case Fault.FENCED:
                return SlotFenced(self._name, type(cause).__name__)
            case Fault.REFUSED:
                return refused("write", cause)
            case _:
                return KafkaUnavailable("write", type(cause).__name__)

    def _cause(self, error: KafkaError) -> KafkaError:
        """The error that broke the producer, where `error` only says that it is broken."""
        first = self._producer._transaction_manager._last_error  # noqa: SLF001 - not to be had otherwise
        return first if type(error) is KafkaError and isinstance(first, KafkaError) else error

    def _held(self) -> tuple[int, int]:
        held = self._producer._transaction_manager.producer_id_and_epoch  # noqa: SLF001 - not to be had otherwise
        return held.producer_id, held.epoch

    def _start(self) -> KafkaProducer:
        producer = KafkaProducer(**producer_options(self._kafka, transactional_id=self._name))
        try:
            producer.init_transactions()
        except KafkaError:
            discard(producer)
            raise
        return producer


def _send(producer: Any, copy: Copy) -> Any:
    return producer.send(
        copy.topic,
        value=copy.value,
        key=copy.key,
        headers=list(copy.headers),
        partition=copy.partition,
        timestamp_ms=copy.timestamp_ms,
    )


def _positions(offsets: Sequence[PartitionOffset]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(at.topic, at.partition): OffsetAndMetadata(at.offset, at.metadata, NO_LEADER_EPOCH)
        for at in offsets
    }


def _memberless(group: str) -> Any:
    return ConsumerGroupMetadata(group_id=group, generation_id=NO_GENERATION, member_id="", group_instance_id=None)
