"""How much of one kind of work may have begun at once: more while it is fast, less as soon as it is slow. Pure.

Additive increase, multiplicative decrease, as congestion control has it (RFC 5681): a limit that is in use grows by one
with each round of work that was fast, and shrinks by a tenth with one that was slow, refused or late.
"""

from msgspec import Struct

DECREASE = 0.9
"""The factor of a decrease; 0.5, as for networks, empties a queue that a single slow text filled."""

DECREASE_REFUSED = 0.5
"""The factor after work that was refused or late: it has already gone wrong."""

IN_USE = 0.5
"""The share of the limit that must have begun for a fast one to say anything about more."""

FORGETTING = 0.02
"""The weight of one slower piece of work in what counts as fast: some fifty of them make it the new measure."""


class LimiterBounds(Struct, frozen=True, kw_only=True):
    """The bounds of a limit, and the duration beyond which work counts as slow."""

    least: int = 1
    most: int
    slow_s: float


class Limiter:
    """A limit on work that has begun. It starts low and doubles with every round until the first slow one."""

    def __init__(self, bounds: LimiterBounds, start: int = 8) -> None:
        self._bounds = bounds
        self._limit = float(min(bounds.most, max(bounds.least, start)))
        self._is_starting = True
        self._decreased_s = float("-inf")
        self.fastest_s = 0.0
        """The duration of fast work, of late: what begins now takes that long at least. 0 until something has ended."""

    @property
    def limit(self) -> int:
        """Return how much may have begun at once."""
        return int(self._limit)

    def ended(
        self, began_s: float, ended_s: float, begun_count: int, *, pieces: int = 1, is_refused: bool = False
    ) -> None:
        """Note the end of work that began together; `begun_count` pieces had begun, these included, when it ended.

        Work that began before the last decrease says nothing about the limit since.
        """
        took_s = ended_s - began_s
        if not is_refused:
            self._note_duration(took_s / pieces)
        if is_refused or took_s > self._bounds.slow_s:
            self._is_starting = False
            if began_s >= self._decreased_s:
                self._decreased_s = ended_s
                self._limit = max(self._bounds.least, self._limit * (DECREASE_REFUSED if is_refused else DECREASE))
        elif begun_count >= self._limit * IN_USE:
            step = pieces if self._is_starting else pieces / self._limit
            self._limit = min(self._bounds.most, self._limit + step)

    def _note_duration(self, took_s: float) -> None:
        fastest_s = self.fastest_s or took_s
        self.fastest_s = min(took_s, fastest_s + (took_s - fastest_s) * FORGETTING)
