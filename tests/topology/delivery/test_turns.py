"""Fair shares in the tracker: within a partition's window, and never against a key's order."""

from tests.topology.delivery.tracker_world import TOPIC, WIDE, finish, member, offsets, position, record
from topology.contract.records import Record
from topology.contract.tenants import Priority, Share
from topology.delivery.tracker import Tracker
from topology.delivery.turns import COST_UNIT_BYTES, FairTurns


def share_of(read: Record) -> Share:
    """The tenant is the value's first character; capital letters name the urgent ones."""
    name = chr((read.value or b"?")[0])
    return Share(tenant_id=name, priority=Priority.INTERACTIVE if name.isupper() else Priority.STANDARD)


def fair() -> Tracker:
    tracker = Tracker(WIDE, lambda: FairTurns(share_of))
    tracker.assign(member(), [(TOPIC, 0)])
    tracker.restore(position(0))
    return tracker


def of(tenant: bytes, offset: int, key: bytes | None = None) -> Record:
    return record(offset, key, value=tenant)


def test_a_flood_of_one_tenant_does_not_delay_another() -> None:
    tracker = fair()
    tracker.add([*(of(b"a", offset) for offset in range(100)), of(b"b", 100), of(b"b", 101)])
    assert offsets(tracker.next_to_start(4)) == [0, 100, 1, 101]


def test_an_urgent_tenant_starts_first() -> None:
    tracker = fair()
    tracker.add([of(b"a", 0), of(b"a", 1), of(b"B", 2)])
    assert offsets(tracker.next_to_start(2)) == [2, 0]


def test_an_urgent_record_waits_for_the_earlier_ones_of_its_key() -> None:
    tracker = fair()
    tracker.add([of(b"a", 0, b"k"), of(b"B", 1, b"k"), of(b"a", 2)])
    first = tracker.next_to_start(10)
    assert offsets(first) == [0, 2]
    finish(tracker, *first)
    assert offsets(tracker.next_to_start(10)) == [1]


def test_long_records_cost_more() -> None:
    tracker = fair()
    long = b"a" * (3 * COST_UNIT_BYTES)
    tracker.add([*(of(long, offset) for offset in range(3)), *(of(b"b", offset) for offset in range(3, 9))])
    started = offsets(tracker.next_to_start(6))
    assert [sum(offset < 3 for offset in started), sum(offset >= 3 for offset in started)] == [1, 5]
