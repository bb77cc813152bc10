"""What the workers noted about their work: which records each process started and finished, and when."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from tests.chaos.fleet import Drained, Returned

LEARNS_S = 5.0
"""Until a process that went on again has heard that it is out: the heartbeat's answer, and the next poll."""

Place = tuple[int, int]
"""Partition and offset."""


class Repeat(Struct, frozen=True, kw_only=True):
    """A record that a drained process had finished, and that another one started after that one's end."""

    partition: int
    offset: int
    finished_by: int
    finished_s: float
    drained_s: float
    started_by: int
    started_s: float


class Work(Struct, frozen=True, kw_only=True):
    """Everything noted. `starts` and `finishes` hold (incarnation, Unix time) by record."""

    starts: dict[Place, list[tuple[int, float]]]
    finishes: dict[Place, list[tuple[int, float]]]

    @property
    def started_count(self) -> int:
        """Executions, those of records that were started before among them."""
        return sum(map(len, self.starts.values()))

    @property
    def repeated_count(self) -> int:
        """Executions beyond a record's first."""
        return self.started_count - len(self.starts)


def read_marks(directory: Path) -> Work:
    """The notes of all processes; a line that a kill cut off is left out."""
    starts: dict[Place, list[tuple[int, float]]] = defaultdict(list)
    finishes: dict[Place, list[tuple[int, float]]] = defaultdict(list)
    for path in sorted(directory.iterdir()):
        who = int(path.name)
        for line in path.read_text().split("\n")[:-1]:
            what, partition, offset, at_s = line.split(" ")
            notes = starts if what == "s" else finishes
            notes[int(partition), int(offset)].append((who, float(at_s)))
    return Work(starts=starts, finishes=finishes)


def repeated_after_drain(work: Work, drained: Iterable[Drained], returned: Sequence[Returned] = ()) -> list[Repeat]:
    """Finished work of drained processes that was done again after their end, but of those that were given up.

    What a process that came back had held is not done again for anybody: it has LEARNS_S to find out.
    """
    ends = {one.incarnation: one.ended_s for one in drained if not one.was_given_up}
    found: list[Repeat] = []
    for place, finishes in work.finishes.items():
        starts = work.starts[place]
        for who, finished_s in finishes if len(starts) > 1 else ():
            if (drained_s := ends.get(who)) is None:
                continue
            later = [
                (other, at_s)
                for other, at_s in starts
                if other != who
                and at_s > drained_s
                and not any(one.incarnation == other and 0 <= at_s - one.resumed_s <= LEARNS_S for one in returned)
            ]
            found.extend(
                Repeat(
                    partition=place[0],
                    offset=place[1],
                    finished_by=who,
                    finished_s=finished_s,
                    drained_s=drained_s,
                    started_by=other,
                    started_s=at_s,
                )
                for other, at_s in later
            )
    return found
