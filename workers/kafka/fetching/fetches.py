"""What the fetches of a member tell besides records: positions that are gone, and when the brokers last answered.

kafka-python answers a position that its partition does not have by its `auto_offset_reset`, without a word. Under
`latest` that skips every record which is still there. A position that was known is never a reason for that.
"""

import time
from collections.abc import Callable
from typing import Any

from kafka.errors import OffsetOutOfRangeError
from kafka.protocol.consumer import (  # pyright: ignore[reportMissingImports] - newer than the stubs
    OffsetResetStrategy,
)
from kafka.structs import TopicPartition
from msgspec import Struct

HEARD_S = 30.0
"""A partition whose brokers have answered no fetch for longer is not known to be read to its end."""


class Moved(Struct, frozen=True):
    """A partition whose position `gone` it does not have, and the position at which it is read instead."""

    partition: TopicPartition
    gone: int
    position: int


class Fetches:
    """The fetches of one consumer. `moved` and `caught_up` are for the thread that polls."""

    def __init__(self, consumer: Any, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._subscription: Any = consumer._subscription  # noqa: SLF001 - the library has no hook for it
        self._gone: dict[TopicPartition, int] = {}
        self._moved: list[Moved] = []
        self._heard_s: dict[TopicPartition, float] = {}
        self._stable: dict[TopicPartition, int] = {}
        fetcher = consumer._fetcher  # noqa: SLF001 - as above
        self._parse: Callable[[Any], Any] = fetcher._parse_fetched_data  # noqa: SLF001 - as above
        self._handle: Callable[..., None] = fetcher._handle_fetch_response  # noqa: SLF001 - as above
        self._reset: Callable[..., None] = fetcher._reset_offset_if_needed  # noqa: SLF001 - as above
        fetcher._parse_fetched_data = self._parsed  # noqa: SLF001 - as above
        fetcher._reset_offset_if_needed = self._was_reset  # noqa: SLF001 - as above
        fetcher._handle_fetch_response = self._handled  # noqa: SLF001 - as above

    def moved(self) -> list[Moved]:
        """Return the partitions that were moved to their earliest record since the last call."""
        found, self._moved = self._moved, []
        return [each for each in found if each.partition in self._subscription.assignment]

    def caught_up(self) -> frozenset[TopicPartition]:
        """Return the partitions that are read to their end, as far as the brokers said not long ago."""
        now_s, assigned = self._monotonic_s(), self._subscription.assignment
        return frozenset(
            partition
            for partition, state in list(assigned.items())
            if state.highwater is not None
            and state.position is not None
            and state.position.offset >= state.highwater
            and now_s - self._heard_s.get(partition, -HEARD_S) < HEARD_S
        )

    def stable_end(self, partition: TopicPartition) -> int | None:
        """Return the last stable offset of a partition, as the brokers said it last; None if they did not yet.

        Transactions that are still open begin there: nothing above it can be read.
        """
        state = self._subscription.assignment.get(partition)
        if state is None or state.highwater is None:
            return None
        return min(state.highwater, self._stable.get(partition, state.highwater))

    def is_read_to_stable_end(self, partition: TopicPartition) -> bool:
        """Return whether everything up to `stable_end` was read, the markers of transactions included."""
        end, state = self.stable_end(partition), self._subscription.assignment.get(partition)
        return end is not None and state.position is not None and state.position.offset >= end

    def _parsed(self, completed: Any) -> Any:
        """Parse an answer as the library does, but read a partition without the position from its beginning."""
        partition = completed.topic_partition
        if completed.partition_data.last_stable_offset >= 0:
            self._stable[partition] = completed.partition_data.last_stable_offset
        if completed.partition_data.error_code == OffsetOutOfRangeError.errno and self._is_current(completed):
            self._subscription.move_partition_to_end(partition)
            # A follower may not be as far as its leader, which is asked next (KIP-392).
            if self._subscription.assignment[partition].clear_preferred_read_replica() is None:
                self._gone[partition] = completed.fetched_offset
                self._subscription.request_offset_reset(partition, OffsetResetStrategy.EARLIEST)
            return None
        return self._parse(completed)

    def _was_reset(self, partition: TopicPartition, timestamp: object, offset: int) -> None:
        """Note where a partition is read instead of the position that is gone; on the client's own thread."""
        is_due = self._subscription.is_assigned(partition) and self._subscription.is_offset_reset_needed(partition)
        self._reset(partition, timestamp, offset)
        gone = self._gone.pop(partition, offset)
        if is_due and gone != offset:
            self._moved.append(Moved(partition, gone, offset))

    def _is_current(self, completed: Any) -> bool:
        partition = completed.topic_partition
        if not self._subscription.is_fetchable(partition):
            return False
        position = self._subscription.assignment[partition].position
        return position is not None and position.offset == completed.fetched_offset

    def _handled(self, node_id: object, fetch_offsets: dict[TopicPartition, int], sent_s: float, answer: Any) -> None:
        """Note which partitions an answer is about: also those that it leaves out, because nothing is new in them."""
        self._handle(node_id, fetch_offsets, sent_s, answer)
        if answer.error_code:
            return
        failed = {
            TopicPartition(topic.topic, partition.partition_index)
            for topic in answer.responses
            for partition in topic.partitions
            if partition.error_code
        }
        self._heard_s.update(dict.fromkeys(fetch_offsets.keys() - failed, self._monotonic_s()))
