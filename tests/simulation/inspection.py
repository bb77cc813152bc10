"""What must hold of a worker's memory whenever it polls.

I8: what was delivered and is not done is listed as incomplete. I9: what is held is bounded. I5: a round is of the
membership that its windows were read under.
"""

from typing import TYPE_CHECKING, Any

from tests.simulation.scheduling import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

FETCH_MAX = 12
"""Records of one partition in one fetch."""


def check_process(world: "World", process: Process, tracker: Any) -> None:
    fail, limits = world.scheduler.fail, world.limits
    stats = tracker.stats()
    if stats.held_count > limits.queue_events_max + FETCH_MAX * len(world.census.inputs):
        fail(f"I9: {stats.held_count} records are held")
    taken = tracker._rounds._round
    if taken is not None and any(token.member_id != taken.ownership.member_id for token in taken.tokens):
        fail("I5: a round holds windows of another membership")
    ownership = tracker.ownership
    if ownership is None or ownership.generation != world.broker.group.generation:
        return
    for window in stats.partitions:
        if window.incomplete_count > limits.window_events_max:
            fail(f"I9: {window.incomplete_count} records are in a window")
        if world.broker.group.owner_of(window.partition) == ownership.member_id:
            position = tracker._windows["in", window.partition].position
            if world.broker.committed[window.partition] == (position.offset, position.metadata):
                _check_window(world, window)


def _check_window(world: "World", window: Any) -> None:
    """The owner holds all that is below what it reads next and has no answer; nothing of it is between the two."""
    target = world.census.inputs[window.partition]
    if not target.vanished and world.broker.is_decided(window.partition):
        held_count = window.incomplete_count + window.backlog_count
        open_count = target.open_below(window.unread_from)
        if held_count != open_count:
            world.scheduler.fail(f"I8: {held_count} of {window.partition} are held, {open_count} have no answer")
