"""How long readers were held back, sorted by what was going on meanwhile."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tests.chaos.faults import FaultKind
from tests.chaos.watch import Sight

EDGES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 16.0, 20.0)
"""Upper ends of the histogram's buckets; one more holds what is longer."""

UNDISTURBED = "no fault"
AFTERMATH_S = {
    FaultKind.KILL: 6.0,
    FaultKind.ABSENCE: 10.0,
    FaultKind.PRODUCER: 6.0,
    FaultKind.STOP: 18.0,
    FaultKind.HICCUP: 4.0,
    FaultKind.DRAIN: 6.0,
    FaultKind.BROKER: 10.0,
    FaultKind.FREEZE: 18.0,
    FaultKind.PARTITIONS: 12.0,
    FaultKind.GENERATION: 12.0,
}
"""How long after its end a fault may still be the reason. Of several reasons the first of `PRIORITY` is named."""

PRIORITY = (
    FaultKind.BROKER,
    FaultKind.FREEZE,
    FaultKind.STOP,
    FaultKind.ABSENCE,
    FaultKind.KILL,
    FaultKind.PRODUCER,
    FaultKind.GENERATION,
    FaultKind.PARTITIONS,
    FaultKind.HICCUP,
    FaultKind.DRAIN,
)


class Window(Struct, frozen=True, kw_only=True):
    """When a fault was going on (Unix times), its aftermath included."""

    kind: FaultKind
    from_s: float
    until_s: float


class HeldBack(Struct, kw_only=True):
    """Records by how long they waited below the high watermark before a read_committed reader had them."""

    buckets: list[int] = []
    longest_s: float = 0.0

    def add(self, waited_s: float) -> None:
        """Count one record."""
        if not self.buckets:
            self.buckets = [0] * (len(EDGES_S) + 1)
        self.buckets[bisect_left(EDGES_S, waited_s)] += 1
        self.longest_s = max(self.longest_s, waited_s)

    @property
    def count(self) -> int:
        """Records counted."""
        return sum(self.buckets)

    def share_below_s(self, share: float) -> float:
        """The upper end of the bucket below which `share` of the records lie; the longest where there is none."""
        wanted, found = share * self.count, 0
        for edge, number in zip(EDGES_S, self.buckets, strict=False):
            found += number
            if found >= wanted:
                return min(edge, self.longest_s)
        return self.longest_s


def add_sights(held: dict[str, HeldBack], sights: Iterable[Sight], windows: Sequence[Window]) -> None:
    """Sort `sights` into `held` by what was going on between append and sight."""
    for sight in sights:
        around = {w.kind for w in windows if w.from_s <= sight.seen_s and w.until_s >= sight.appended_s}
        name = next((kind.value for kind in PRIORITY if kind in around), UNDISTURBED)
        held.setdefault(name, HeldBack()).add(sight.held_back_s)
