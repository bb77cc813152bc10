"""What must hold of every transaction of a redrive or a replay.

R1 unique: each letter is put back once, each record of a range copied once and in order. R2 atomic: what is marked as
done is exactly what is visible. R3 complete: what is said to be done is, and at the end nothing is left.
"""

from collections.abc import Callable, Mapping, Sequence

from tests.simulation.census import Place
from tests.simulation.coordinator import Position
from workers.commands.recovery.redriven_marks import SEGMENT_LETTERS, Marks
from workers.kafka.reader import Span, Spans

LETTERS, EVENTS, COPIES = "letters", "events", "copies"
"""Topics: dead letters are put back from the first to the second, and replayed from the second to the third."""

GroupPartition = tuple[str, str, int]
"""Group, topic and partition."""


class RecoveryCensus:
    """`fail` is called with what is wrong."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self.letters: dict[Place, bool] = {}
        """All dead letters; whether one may be put back."""
        self.put_back: set[Place] = set()
        self.events: dict[int, list[int]] = {}
        """Offsets on the input, by partition."""
        self.jobs: list[Spans] = []
        """Ranges that are to be replayed, one after the other."""
        self.job_index = 0
        """Of the replay that nobody has seen the end of yet."""
        self._copied: list[dict[int, list[int]]] = []
        """Offsets by partition, for each job so far."""

    @property
    def is_redriven(self) -> bool:
        """Return whether everything that may be put back was."""
        return len(self.put_back) == sum(self.letters.values())

    @property
    def is_replayed(self) -> bool:
        """Return whether every replay has said that it is done."""
        return self.job_index == len(self.jobs)

    def finish(self, index: int) -> None:
        """Take note that a replay says that it is done."""
        if index != self.job_index:
            return
        for partition, span in self.jobs[index].items():
            wanted = [each for each in self.events[partition] if span.start <= each < span.end]
            if self._copies(index).get(partition, []) != wanted:
                self._fail(
                    f"R3: {partition} is said to be replayed, and {self._copies(index).get(partition)} are copied"
                )
        self.job_index += 1

    def commit(self, written: Sequence[tuple[str, Place]], offsets: Mapping[GroupPartition, Position]) -> None:
        """Check a transaction that became visible."""
        progress = {at[2]: position for at, position in offsets.items() if at[1] == EVENTS}
        for topic, place in written:
            if topic == COPIES:
                self._copy(place)
            else:
                self._put_back(place)
        if progress:
            self._check_progress(progress, is_written=bool(written))
        for (group, topic, partition), (_, text) in offsets.items():
            if topic == LETTERS:
                self._check_marks((partition, int(group.rpartition(".")[2])), text)
        marked = {(topic, partition) for _, topic, partition in offsets}
        for topic, (partition, offset) in written:
            source = EVENTS if topic == COPIES else LETTERS
            if (source, partition) not in marked:
                self._fail(f"R2: {partition}@{offset} of {source} is visible, and not that it is")

    def _put_back(self, place: Place) -> None:
        if not self.letters[place]:
            self._fail(f"R1: {place} was put back, and must not be")
        if place in self.put_back:
            self._fail(f"R1: {place} was put back twice")
        self.put_back.add(place)

    def _check_marks(self, segment: tuple[int, int], text: str) -> None:
        marks = Marks()
        marks.load(segment, text)
        for place in self.letters:
            if (place[0], place[1] // SEGMENT_LETTERS) == segment and marks.holds(*place) != (place in self.put_back):
                self._fail(f"R2: {place} is {'not ' if place in self.put_back else ''}marked as put back")

    def _copies(self, index: int) -> dict[int, list[int]]:
        while len(self._copied) <= index:
            self._copied.append({})
        return self._copied[index]

    def _copy(self, place: Place) -> None:
        partition, offset = place
        if self.is_replayed:
            self._fail(f"R1: {partition}@{offset} was copied, and all is done")
        copied = self._copies(self.job_index).setdefault(partition, [])
        if copied and copied[-1] >= offset:
            self._fail(f"R1: {partition}@{offset} was copied after {copied[-1]}")
        copied.append(offset)

    def _check_progress(self, progress: Mapping[int, Position], *, is_written: bool) -> None:
        """The progress is that of the replay under way; one that is done may be said to be once more."""
        index = self.job_index
        if not is_written and index and all(self._is_end(index - 1, at, to) for at, to in progress.items()):
            return
        for partition, (offset, note) in progress.items():
            span = self._span(index, partition)
            if note != _note(span):
                self._fail(f"R2: the progress of {partition} is {note}, not of {span}")
            copied = self._copies(index).get(partition, [])
            if copied != [each for each in self.events[partition] if span.start <= each < min(offset, span.end)]:
                self._fail(f"R2: {partition} is replayed up to {offset}, and {copied} are copied")

    def _is_end(self, index: int, partition: int, position: Position) -> bool:
        span = self._span(index, partition)
        return position == (span.end, _note(span))

    def _span(self, index: int, partition: int) -> Span:
        """Return the range of a partition in a replay: empty at 0 if it is not part of it."""
        wanted = self.jobs[index] if index < len(self.jobs) else {}
        return wanted.get(partition, Span(start=0, end=0))


def _note(span: Span) -> str:
    return f"r1:{span.start}:{span.end}"
