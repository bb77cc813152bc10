"""The ownership of partitions, as runs of events see it."""

from collections.abc import Collection

from topology.contract.records import Ownership, PartitionId, PartitionOffset
from workers.streaming.places import Place, Places

ONE, TWO = ("events", 1), ("events", 2)


def test_every_change_gives_another_place() -> None:
    kept: list[Collection[PartitionId]] = []
    closed: list[bool] = []
    places = Places(kept.append, lambda: closed.append(True))
    generation = 4
    places.watch(lambda: Ownership(generation=generation, member_id="m", group_id="g"))
    assert places.of(ONE) is None
    places.keep([ONE])
    first = places.of(ONE)
    assert first == Place(4, 1)
    places.keep([ONE, TWO])  # within one generation
    assert places.of(ONE) == Place(4, 2)
    places.keep([TWO])
    generation = 6
    places.keep([ONE])
    assert (places.of(ONE), places.of(TWO)) == (Place(6, 4), None)
    assert kept == [[ONE], [ONE, TWO], [TWO], [ONE]]
    places.close()
    assert places.of(ONE) is None
    assert closed == [True]


def test_nothing_waits_and_without_a_membership_nothing_is_owned() -> None:
    places = Places(lambda _: None)
    assert places.is_restored(PartitionOffset(topic="events", partition=1, offset=5))
    places.keep([ONE])
    assert places.of(ONE) is None
