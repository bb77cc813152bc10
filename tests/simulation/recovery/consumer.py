"""A KafkaConsumer without a membership in virtual time, as far as `reader.py` uses it."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from kafka import errors
from kafka.structs import OffsetAndMetadata, TopicPartition

from tests.simulation.recovery.broker import Message
from tests.simulation.scheduling import Process

if TYPE_CHECKING:
    from tests.simulation.recovery.world import RecoveryWorld

BACKOFF_S = 0.03
BOOTSTRAP_S = 0.1


class ReadingConsumer:
    def __init__(self, world: "RecoveryWorld", process: Process, **options: Any) -> None:
        self._world = world
        self._process = process
        self._scheduler = world.scheduler
        self._broker = world.broker
        self._group_id: str = options.get("group_id", "")
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        world.point("connect", process)
        if self._broker.is_down:
            self._scheduler.sleep(BOOTSTRAP_S)
            raise errors.KafkaTimeoutError

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self._broker.partitions(topic)

    def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self._broker.bounds(partition)[0] for partition in partitions}

    def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: self._broker.bounds(partition)[1] for partition in partitions}

    def assign(self, partitions: Collection[TopicPartition]) -> None:
        self._positions = {partition: self._broker.bounds(partition)[0] for partition in partitions}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    def position(self, partition: TopicPartition, timeout_ms: int) -> int:
        return self._positions[partition]

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[Message]]:
        self._world.point("read", self._process)
        if self._broker.is_down:
            self._scheduler.sleep(timeout_ms / 1000)
            return {}
        fetched: dict[TopicPartition, list[Message]] = {}
        for partition, position in list(self._positions.items()):
            if partition in self._paused:
                continue
            messages = self._broker.read(partition, position, self._world.fetch_count())
            if messages:
                fetched[partition] = messages
                self._positions[partition] = messages[-1].offset + 1
            else:  # over the markers at the end
                self._positions[partition] = max(position, self._broker.bounds(partition)[1])
        return fetched

    def committed(self, partition: TopicPartition, *, metadata: bool, timeout_ms: int) -> OffsetAndMetadata | None:
        assert metadata
        deadline_s = self._scheduler.now_s + timeout_ms / 1000
        key = self._broker.key_of(self._group_id, partition)
        self._world.point("committed", self._process)
        while True:
            if not self._broker.is_down:
                try:
                    found = self._broker.position(key)
                    break
                except errors.UnstableOffsetCommitError:  # pyright: ignore[reportAttributeAccessIssue] - newer
                    self._world.counts.unstable += 1
            if self._scheduler.now_s >= deadline_s:
                raise errors.KafkaTimeoutError
            self._scheduler.sleep(BACKOFF_S)
        self._world.point("committed_answer", self._process)
        return None if found is None else OffsetAndMetadata(found[0], found[1], -1)

    def close(self) -> None:
        return None
