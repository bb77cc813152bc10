"""What must hold of everything that was ever committed: checked with each transaction, in full at the end.

I1 atomic: outputs and the position that marks their inputs done are one transaction. I2 complete, I3 unique, I4 in key
order, I6 the map fits, I7 the committed base never goes back.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence

from topology.contract.errors import UnreadableMap
from topology.delivery.offset_map import decode

Place = tuple[int, int]
"""Partition and offset of an input record."""

Answered = Mapping[tuple[int, bytes], Sequence[Place]]
"""Of each partition and key: position in the output log and input offset, in the order of positions."""

STATE = "state"
"""How the topics of states begin."""

Written = tuple[int, str, Place]
"""Position in the output log, topic, and which input it answers."""


class Input:
    """One input partition: every offset ever written, with its key."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.keys: dict[int, bytes | None] = {}
        self.vanished: set[int] = set()
        """Compacted away; need no answer."""
        self.answered: set[int] = set()

    def count_below(self, offset: int) -> int:
        """Records ever written below `offset`."""
        return bisect_left(self.offsets, offset)

    def open_below(self, offset: int) -> int:
        """Records below `offset` that are not answered. All answered ones must be below."""
        return self.count_below(offset) - len(self.answered)


class Census:
    """`fail` is called with what is wrong, `on_state` with a state's topic and all answers up to its transaction."""

    def __init__(
        self,
        partition_count: int,
        map_chars_max: int,
        fail: Callable[[str], None],
        on_state: Callable[[str, Answered], None],
    ) -> None:
        self.inputs = [Input() for _ in range(partition_count)]
        self.audited: set[Place] = set()
        self.written_count = 0
        self.answered_count = 0
        self._map_chars_max = map_chars_max
        self._fail = fail
        self._on_state = on_state
        self._of_key: dict[tuple[int, bytes], list[Place]] = {}
        """Of each key: position in the output log and input offset, in the order of positions."""

    def write(self, partition: int, offset: int, key: bytes | None) -> None:
        """An input record came."""
        target = self.inputs[partition]
        target.offsets.append(offset)
        target.keys[offset] = key
        self.written_count += 1

    def commit(self, written: Sequence[Written], offsets: Mapping[int, tuple[int, str]], before: list[int]) -> None:
        """A transaction became visible; `before` holds the committed bases until now."""
        for position, topic, place in written:
            if topic == "audit":
                if place in self.audited:
                    self._fail(f"I3: {place} was audited twice")
                self.audited.add(place)
            elif not topic.startswith(STATE):
                self._answer(position, place)
        for _, topic, _ in written:
            if topic.startswith(STATE):
                self._on_state(topic, self._of_key)
        for partition, (base, text) in offsets.items():
            self._check_position(partition, base, text, before[partition])
        for _, _, (partition, offset) in written:
            if partition not in offsets:
                self._fail(f"I1: {partition}@{offset} was answered, its position not committed")

    def check_all(self) -> None:
        """Everything was answered, and with each answer its audit record."""
        for partition, target in enumerate(self.inputs):
            left = [o for o in target.offsets if o not in target.answered and o not in target.vanished]
            if left:
                self._fail(f"I2: {partition}@{left[:5]} has no answer")
            answered = {(partition, offset) for offset in target.answered}
            if answered != {place for place in self.audited if place[0] == partition}:
                self._fail(f"I1: answers and audit records of {partition} differ")

    @property
    def open_count(self) -> int:
        """Inputs without an answer that need one."""
        return (
            self.written_count - self.answered_count - sum(len(each.vanished - each.answered) for each in self.inputs)
        )

    def _answer(self, position: int, place: Place) -> None:
        partition, offset = place
        target = self.inputs[partition]
        if offset in target.answered:
            self._fail(f"I3: {partition}@{offset} was answered twice")
        target.answered.add(offset)
        self.answered_count += 1
        key = target.keys[offset]
        if key is None:
            return
        line = self._of_key.setdefault((partition, key), [])
        insort(line, (position, offset))
        at = bisect_left(line, (position, offset))
        if (at and line[at - 1][1] > offset) or (at + 1 < len(line) and line[at + 1][1] < offset):
            self._fail(f"I4: {partition}@{offset} is out of its key's order")

    def _check_position(self, partition: int, base: int, text: str, before: int) -> None:
        """What the position marks done is what was answered, no more and no less."""
        target = self.inputs[partition]
        if base < before:
            self._fail(f"I7: {partition} went back from {before} to {base}")
        if len(text) > self._map_chars_max:
            self._fail(f"I6: a map of {len(text)} characters")
        try:
            done = decode(text, base)
        except UnreadableMap as exc:
            self._fail(f"I6: {partition} has an unreadable map: {exc.fault}")
            raise
        listed = target.answered.intersection(done.incomplete)
        if listed:
            self._fail(f"I1: {partition}@{min(listed)} is answered and listed as incomplete")
        listed_count = sum(offset in target.keys for offset in done.incomplete)
        excused = sum(o < done.next and o not in done.incomplete for o in target.vanished - target.answered)
        marked = target.count_below(done.next) - listed_count - excused
        if marked != len(target.answered):
            self._fail(f"I1: {partition} marks {marked} done and {len(target.answered)} are answered, next {done.next}")
