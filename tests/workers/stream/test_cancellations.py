"""What doors cancel reaches the records that run, for the partitions that are owned, within bounds."""

from collections.abc import Mapping, Sequence

import msgspec
import pytest

from topology.contract.lineage import Cancellation
from topology.contract.records import Ownership, PartitionOffset, Record
from topology.delivery.tracker import Tracker, TrackerLimits
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.following.follower import Start
from workers.stream.cancellations import Cancellations

EVENTS = "events"


class Followed:
    """A follower that delivers what a test hands it."""

    def __init__(self) -> None:
        self.partitions: set[int] = set()
        self.is_running = False

    def start(self) -> None:
        self.is_running = True

    def follow(self, partitions: Mapping[int, Start]) -> None:
        self.partitions = set(partitions)

    def stop(self) -> None:
        self.is_running = False


class World:
    """One worker's cancellations, of at most `most` records."""

    def __init__(self, most: int = 10) -> None:
        self.followed = Followed()
        self.metrics = Instruments.none()
        self.cancellations = Cancellations(lambda _: self.followed, EVENTS, most, self.metrics)
        self.cancellations.keep([(EVENTS, 0), (EVENTS, 1)])
        self.left: list[int] = []

    def cancel(self, offset: int, event_id: str = "e", *, partition: int = 0, said: int | None = None) -> None:
        named = Cancellation(partition=partition if said is None else said, offset=offset, event_id=event_id)
        self.deliver(partition, [record(partition, offset, msgspec.json.encode(named))])

    def deliver(self, partition: int, read: Sequence[Record]) -> None:
        self.cancellations.take(partition, read)

    def watch(self, offset: int, event_id: str = "e", partition: int = 0) -> None:
        self.cancellations.watch(record(partition, offset), event_id, lambda: self.left.append(offset))

    def known(self) -> float:
        self.cancellations.prune()
        return self.metrics.value(Metric.CANCELLATIONS_KNOWN)


def record(partition: int, offset: int, value: bytes = b"") -> Record:
    return Record(topic=EVENTS, partition=partition, offset=offset, timestamp_ms=0, key=None, value=value)


@pytest.mark.parametrize("is_running", [True, False])
def test_a_record_is_told_whether_it_runs_or_is_yet_to_begin(is_running: bool) -> None:
    world = World()
    if is_running:
        world.watch(5)
        world.cancel(5)
    else:
        world.cancel(5)
        world.watch(5)
    assert world.left == [5]


def test_no_other_record_is_told() -> None:
    world = World()
    for offset, event_id, partition in ((5, "other", 0), (6, "e", 0), (7, "e", 1)):
        world.watch(offset, event_id, partition)
    world.cancel(5)
    world.cancel(7)
    assert world.left == []


def test_a_record_that_names_another_partition_than_its_own_cancels_nothing() -> None:
    world = World()
    world.watch(5)
    world.cancel(5, partition=1, said=0)
    world.deliver(0, [record(0, 0, b"no cancellation")])
    assert (world.left, world.known()) == ([], 0)
    assert world.metrics.value(Metric.CANCELLATIONS, outcome="unreadable") == 2


def test_a_watch_that_has_ended_is_told_nothing() -> None:
    world = World()
    world.cancellations.watch(record(0, 5), "e", lambda: world.left.append(5))()
    world.cancel(5)
    assert world.left == []


def test_what_is_cancelled_is_bounded_and_the_oldest_are_dropped() -> None:
    world = World(most=2)
    for offset in (1, 2, 3):
        world.cancel(offset)
    for offset in (1, 2, 3):
        world.watch(offset)
    assert world.left == [2, 3]
    assert world.metrics.value(Metric.CANCELLATIONS, outcome="dropped") == 1


def test_a_partition_that_is_gone_is_forgotten_and_one_that_is_owned_is_followed() -> None:
    world = World()
    world.cancel(5)
    world.cancellations.keep([(EVENTS, 1)])
    assert (world.followed.partitions, world.known()) == ({1}, 0)


def test_a_finished_record_is_forgotten() -> None:
    """The tracker knows those below its position as done; of a partition that it does not hold, none."""
    tracker, world = Tracker(TrackerLimits(count_max=10, bytes_max=10_000)), World()
    world.cancellations.start(tracker.is_unfinished)
    for offset in (4, 5):
        world.cancel(offset)
    assert world.known() == 2
    tracker.assign(Ownership(generation=1, member_id="m", group_id="g"), [(EVENTS, 0)])
    tracker.restore(PartitionOffset(topic=EVENTS, partition=0, offset=5))
    assert world.known() == 1
    world.cancellations.close()
    assert not world.followed.is_running
