"""The Sink port on a transactional producer: results and consumed offsets become visible together or not at all.

`transactions.py` has the protocol. The sink adds what only a worker has: a group membership that allows the commit, a
new producer after a failure, a bound on failures in a row, and metrics.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError

from topology.contract.names import CommitReason
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.client import slot_name
from workers.kafka.errors import Fault, KafkaUnavailable, RecordTooLarge, SlotFenced
from workers.kafka.producer import RoundProducer
from workers.kafka.transactions import Aborted, TransactionalProducer
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.sink")

FAILURES_MAX = 10
"""Failed transactions in a row after which the worker ends; each may take as long as `delivery_timeout_ms`."""

_REASONS = {
    Fault.FENCED: CommitReason.FENCED,
    Fault.REFUSED: CommitReason.BROKER,
    Fault.STALE: CommitReason.OWNERSHIP_LOST,
    Fault.TRANSIENT: CommitReason.DELIVERY,
}


class TransactionalSink:
    """One slot's producer. Connects when made: raises KafkaUnavailable, KafkaRefused or SlotFenced if it cannot."""

    def __init__(
        self,
        kafka: KafkaSettings,
        slot: int,
        *,
        exit_process: Callable[[int], object] = os._exit,
        metrics: Instruments | None = None,
        make_producer: Callable[..., Any] = RoundProducer,
    ) -> None:
        self._metrics = metrics or Instruments.none()
        self._name = slot_name(kafka, slot)
        self._failure_count = 0
        self._round: Any = None
        """The library's producer that is in use."""

        def make(**options: Any) -> Any:
            self._round = make_producer(**options)
            return self._round

        self._producer = TransactionalProducer(kafka, self._name, exit_process=exit_process, make_producer=make)
        self.first_identity = self._producer.identity
        """Producer id and epoch of the first producer: those that a later process of this slot gets are higher."""

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """See `Sink.commit`. Raises SlotFenced, KafkaRefused, and KafkaUnavailable after FAILURES_MAX in a row.

        After RecordTooLarge, a kind of KafkaRefused, the sink can be used again.
        """
        if not is_joined(ownership):
            # Brokers take an empty identity for an old client's and let it overwrite any offset (K5).
            logger.error("commit without group membership refused", extra={"slot": self._name})
            self._metrics.count(Metric.COMMIT_FAILURES, reason=CommitReason.OWNERSHIP_LOST)
            return False
        if not records and not offsets:
            return True
        try:
            aborted = self._producer.commit(records, [(ownership, offsets)])
        except SlotFenced:
            self._metrics.count(Metric.COMMIT_FAILURES, reason=CommitReason.FENCED)
            raise
        if aborted is None:
            self._failure_count = 0
            return True
        self._recover(aborted)
        return False

    def close(self) -> None:
        """See `Sink.close`; takes at most a few seconds."""
        self._producer.close()

    def _recover(self, aborted: Aborted) -> None:
        """Count the failure and renew the producer, or raise if another transaction cannot help."""
        cause, fault = aborted.cause, aborted.fault
        logger.warning("transaction aborted", extra={"slot": self._name, "error": type(cause).__name__, "fault": fault})
        reason = CommitReason.TIMEOUT if isinstance(cause, KafkaTimeoutError) else _REASONS[fault]
        self._metrics.count(Metric.COMMIT_FAILURES, reason=reason)
        self._metrics.count(Metric.TRANSACTION_ABORTS, reason=reason)
        if isinstance(cause, (MessageSizeTooLargeError, RecordListTooLargeError)) and (
            found := self._round.too_large()
        ):
            self._producer.renew()
            raise RecordTooLarge(*found) from cause
        if fault in {Fault.FENCED, Fault.REFUSED}:
            raise aborted.as_error("commit") from cause
        self._failure_count += 1
        if self._failure_count >= FAILURES_MAX:
            raise KafkaUnavailable(f"{self._failure_count} transactions in a row", type(cause).__name__) from cause
        self._producer.renew()


def is_joined(ownership: Ownership) -> bool:
    """Return whether a commit under this membership is checked against the group's present generation."""
    return ownership.generation >= 0 and bool(ownership.member_id)
