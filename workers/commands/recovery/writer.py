"""The writer of record copies and of the progress of the copying, in transactions: together or not at all.

One name is one transactional id. A second process with it ends the first one's transactions, so two that run side by
side never both write: each learns how far the work came only after it has the id. Any failure ends the writer: what is
visible is known from the offsets that were committed with it, and a new run continues from there.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from topology.contract.records import OutRecord, PartitionOffset
from workers.kafka.producer import RoundProducer
from workers.kafka.transactions import TransactionalProducer, memberless
from workers.settings import KafkaSettings

Progress = Mapping[str, Sequence[PartitionOffset]]
"""Offsets to commit, by group. The groups have no members: the transactional id alone guards them."""


class CopyWriter:
    """The holder of one transactional id; a context manager, for one thread.

    Making it waits for what an earlier holder left undecided. Raises KafkaUnavailable, KafkaRefused or SlotFenced.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        name: str,
        *,
        exit_process: Callable[[int], object] = os._exit,
        make_producer: Callable[..., Any] = RoundProducer,
    ) -> None:
        self._producer = TransactionalProducer(kafka, name, exit_process=exit_process, make_producer=make_producer)

    def write(self, copies: Sequence[OutRecord], progress: Progress) -> None:
        """Make copies and progress visible together; after any error only `close` may be called.

        Raises SlotFenced, KafkaRefused and KafkaUnavailable, all of which leave nothing visible. Ends the process if
        the outcome cannot be known.
        """
        aborted = self._producer.commit(copies, [(memberless(group), offsets) for group, offsets in progress.items()])
        if aborted is not None:
            raise aborted.as_error("write") from aborted.cause

    def close(self) -> None:
        """Stop; a transaction that was begun and not committed is dropped."""
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
