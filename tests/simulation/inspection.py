"""What must hold of a worker's memory whenever it polls.

I8: what was delivered and is not done is listed as incomplete. I9: what is held is bounded. I5: a round is of the
membership that its windows were read under.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.simulation.scheduling import Process
from topology.contract.records import Ownership, PartitionOffset, Record

if TYPE_CHECKING:
    from tests.simulation.world import World

FETCH_MAX = 12
"""Records of one partition in one fetch."""


def check_process(world: "World", process: Process, tracker: Any) -> None:
    fail, limits = world.scheduler.fail, world.limits[process]
    stats = tracker.stats()
    if stats.held_count > limits.queue_events_max + FETCH_MAX * len(world.census.inputs):
        fail(f"I9: {stats.held_count} records are held")
    taken = tracker._rounds._round
    if taken is not None and any(token.member_id != taken.ownership.member_id for token in taken.tokens):
        fail("I5: a round holds windows of another membership")
    for window in stats.partitions:
        _check_growth(world, process, window, tracker._windows["in", window.partition])
    ownership = tracker.ownership
    if ownership is None or ownership.generation != world.broker.group.generation:
        return
    for window in stats.partitions:
        if world.broker.group.owner_of(window.partition) == ownership.member_id:
            held = tracker._windows["in", window.partition]
            committed = world.broker.committed[window.partition] or (0, "")
            if committed == (held.position.offset, held.position.metadata):
                _check_window(world, window)
            elif taken is None and held.hold.value != "limbo" and not world.misfortune.is_spoilt(window.partition):
                _check_position(world, window.partition)


def _check_growth(world: "World", process: Process, window: Any, held: Any) -> None:
    """A window may begin above its bound, where that was lowered, and not grow there; in limbo it takes nothing in.

    Its position never goes back.
    """
    key, is_limbo = (process, window.partition), held.hold.value == "limbo"
    token, count, unread_from, offset, was_limbo = world.seen.get(key, (None, 0, 0, 0, False))
    if token is not held.token:
        count = window.incomplete_count
    elif window.incomplete_count > max(count, world.limits[process].window_events_max):
        world.scheduler.fail(f"I9: {window.incomplete_count} records are in a window")
    elif is_limbo and was_limbo and window.unread_from > unread_from:
        world.scheduler.fail(f"I9: {window.partition} takes records in while it is in limbo")
    elif window.committed_offset < offset:
        world.scheduler.fail(f"I7: the position of {window.partition} went back in a window")
    world.seen[key] = held.token, window.incomplete_count, window.unread_from, window.committed_offset, is_limbo


def _check_position(world: "World", partition: int) -> None:
    if world.broker.is_decided(partition):
        world.scheduler.fail(f"I7: what its owner takes for the position of {partition} is not the committed one")


def _check_window(world: "World", window: Any) -> None:
    """The owner holds all that is below what it reads next and has no answer; nothing of it is between the two."""
    target = world.census.inputs[window.partition]
    if not target.vanished and world.broker.is_decided(window.partition):
        held_count = window.incomplete_count + window.backlog_count
        open_count = target.open_below(window.unread_from)
        if held_count != open_count:
            world.scheduler.fail(f"I8: {held_count} of {window.partition} are held, {open_count} have no answer")


class WatchedSource:
    """A source whose contract is looked at: what it delivers is of its ownership, and goes on from the position."""

    def __init__(self, world: "World", source: Any) -> None:
        self._world = world
        self._source = source
        self._ownership: Ownership | None = None
        self._records: Sequence[Record] = ()
        self._next: dict[int, int] = {}
        self.ownership = source.ownership
        self.assignment = source.assignment
        self.on_revoke = source.on_revoke
        self.hold_until = source.hold_until
        self.pause = source.pause
        self.end_offsets = source.end_offsets
        self.readable_ends = source.readable_ends
        self.caught_up = source.caught_up
        self.close = source.close

    def poll(self, timeout_s: float) -> Sequence[Record]:
        self._records = self._source.poll(timeout_s)
        ownership = self._source.ownership()
        if ownership != self._ownership:
            self._ownership = ownership
            self._next = {}
        return self._records

    def positions(self) -> Sequence[PartitionOffset]:
        found = self._source.positions()
        self._next.update({position.partition: position.offset for position in found})
        for record in self._records if self._world.is_strict else ():
            if self._ownership is None or record.partition not in self._next:
                self._world.scheduler.fail(f"source: {record.partition}@{record.offset} came without a position")
            between = self._world.broker.read(record.partition, self._next[record.partition], 1)
            if record.offset < self._next[record.partition] or (between and between[0].offset < record.offset):
                self._world.scheduler.fail(f"source: {record.partition}@{record.offset} is not the next one")
            self._next[record.partition] = record.offset + 1
        return found
