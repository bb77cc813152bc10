"""What the tracker's tests are written in: short records, results and memberships, and a worker's few steps."""

from collections.abc import Iterable

from topology.contract.records import OutRecord, Ownership, PartitionOffset, Record, Result
from topology.delivery.offset_map import decode
from topology.delivery.tracker import Round, Tracker, TrackerLimits, WorkItem

TOPIC = "in"
WIDE = TrackerLimits(count_max=10_000, bytes_max=1 << 30)


def record(offset: int, key: bytes | None = b"k", *, partition: int = 0, value: bytes = b"vv") -> Record:
    return Record(topic=TOPIC, partition=partition, offset=offset, timestamp_ms=1000 + offset, key=key, value=value)


def result(of: Record | WorkItem, *, size: int = 1) -> Result:
    """An answer that says what it answers; `size` pads it."""
    read = of.record if isinstance(of, WorkItem) else of
    out = OutRecord(topic="out", key=read.key, value=f"{read.partition}:{read.offset}".encode().ljust(size))
    return Result(topic=TOPIC, partition=read.partition, offset=read.offset, records=(out,))


def member(generation: int = 1, member_id: str = "m1") -> Ownership:
    return Ownership(generation=generation, member_id=member_id, group_id="g", instance_id="g.0")


def position(offset: int, metadata: str = "", *, partition: int = 0) -> PartitionOffset:
    return PartitionOffset(topic=TOPIC, partition=partition, offset=offset, metadata=metadata)


def owning(
    *partitions: int, limits: TrackerLimits = WIDE, ownership: Ownership | None = None, start: int = 0
) -> Tracker:
    """A tracker that owns `partitions`, each committed at `start`."""
    tracker = Tracker(limits)
    for _, number in tracker.assign(ownership or member(), [(TOPIC, number) for number in partitions]):
        tracker.restore(position(start, partition=number))
    return tracker


def start_all(tracker: Tracker, count_max: int = 10_000) -> dict[tuple[int, int], WorkItem]:
    """Everything that may run now, by partition and offset."""
    items = tracker.next_to_start(count_max)
    return {(item.record.partition, item.record.offset): item for item in items}


def offsets(items: Iterable[WorkItem]) -> list[int]:
    return [item.record.offset for item in items]


def finish(tracker: Tracker, *items: WorkItem) -> None:
    for item in items:
        assert tracker.finish(item, result(item))


def answered(taken: Round | None) -> list[tuple[int, int]]:
    """(partition, offset) of what a round answers, in its order."""
    return [(one.partition, one.offset) for one in taken.results] if taken else []


def take(tracker: Tracker, ownership: Ownership | None = None, count_max: int = 1000) -> Round:
    taken = tracker.take(ownership or member(), count_max, 1 << 20)
    assert taken is not None
    return taken


def done_above(at: PartitionOffset) -> list[int]:
    """The offsets above the base that the map says are done."""
    found = decode(at.metadata, at.offset)
    return [offset for offset in range(at.offset, found.next) if offset not in found.incomplete]
