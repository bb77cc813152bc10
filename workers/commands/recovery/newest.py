"""The newest of many letters, and how many there were of each reason: in bounded memory."""

import heapq
from collections import Counter

from workers.commands.recovery.letters import Letter


class Newest:
    """Keeps the `letters_max` newest letters of all that it was shown."""

    def __init__(self, letters_max: int) -> None:
        self._letters_max = letters_max
        self._kept: list[tuple[tuple[int, int, int], Letter]] = []
        self.by_reason: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many it was shown."""
        return self.by_reason.total()

    def add(self, letter: Letter) -> None:
        """Count a letter, and keep it while it is among the newest."""
        self.by_reason[letter.reason] += 1
        # No two letters have the same partition and offset: letters themselves are never compared.
        entry = ((letter.timestamp_ms, letter.partition, letter.offset), letter)
        if len(self._kept) < self._letters_max:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def letters(self) -> list[Letter]:
        """What was kept, the newest last."""
        return [letter for _, letter in sorted(self._kept, key=lambda entry: entry[0])]
