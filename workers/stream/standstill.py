"""How long each partition has stood still: a gauge that nothing clears, so that an alert on it cannot go silent.

A partition moves when something of it is committed, and while there is nothing to do: everything is read, and the
brokers said so not long ago. Whatever keeps it from that counts: no membership, a position that is not found, states
that are not read, a map that cannot be, fetches without an answer, an event that does not end, commits that fail.
"""

from collections.abc import Collection, Iterable

from topology.contract.records import PartitionId
from topology.delivery.partition_window import PartitionStats
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric


class Standstill:
    """The partitions that this worker owns, or owned last while it has no membership."""

    def __init__(self, metrics: Instruments) -> None:
        self._metrics = metrics
        self._moved_s: dict[PartitionId, float] = {}
        self._marks: dict[PartitionId, tuple[int, str]] = {}

    def look(
        self,
        now_s: float,
        assigned: Collection[PartitionId] | None,
        windows: Iterable[PartitionStats],
        caught_up: Collection[PartitionId],
    ) -> None:
        """Set the gauge of every partition. `assigned` is None without a membership: then none of them moves.

        A partition that went to another member is shown as 0 from then on: that one counts for it.
        """
        if assigned is not None:
            for partition in self._moved_s.keys() - set(assigned):
                del self._moved_s[partition]
                self._marks.pop(partition, None)
                self._show(partition, 0.0)
            for partition in assigned:
                self._moved_s.setdefault(partition, now_s)
            for window in windows:
                if self._is_moving(window, caught_up):
                    self._moved_s[window.topic, window.partition] = now_s
        for partition, moved_s in self._moved_s.items():
            self._show(partition, now_s - moved_s)

    def _is_moving(self, window: PartitionStats, caught_up: Collection[PartitionId]) -> bool:
        partition = (window.topic, window.partition)
        mark = (window.committed_offset, window.committed_map)
        is_committed = self._marks.get(partition) != mark
        self._marks[partition] = mark
        is_empty = not (window.incomplete_count or window.backlog_count)
        return is_committed or (is_empty and partition in caught_up)

    def _show(self, partition: PartitionId, seconds: float) -> None:
        topic, number = partition
        self._metrics.gauge_set(Metric.STANDSTILL_SECONDS, seconds, topic=topic, partition=str(number))
