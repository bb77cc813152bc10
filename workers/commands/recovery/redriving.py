"""Dead letters put back on the input: the choice of letters, and each of them once.

A letter is marked as put back in the same transaction that writes its copy, so a redrive that was interrupted anywhere
continues where it stopped. The marks are metadata of offsets that consumer groups without members have committed
(`redriven_marks`); like all such offsets, brokers drop them `offsets.retention.minutes` (a week) after the last commit.
Every redrive commits all marks of its range again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum

from msgspec import Struct, field

from topology.contract.codec import RecordLimits
from topology.contract.errors import DeadLetterReason
from topology.contract.names import StageName
from topology.contract.records import OutRecord, PartitionOffset, Record
from workers.commands.console.progress import Pace
from workers.commands.recovery.copies import put_back
from workers.commands.recovery.letters import Letter, Wholeness, letter_of
from workers.commands.recovery.redriven_marks import SEGMENT_LETTERS, Marks, Segment, UnreadableMarks
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.errors import KafkaRefused
from workers.kafka.reader import RangeReader, Span, Spans, committed
from workers.settings import KafkaSettings

TRANSACTION_BYTES_MAX = 8 << 20


class Refusal(StrEnum):
    """The reason why a selected letter is not put back."""

    CUT = "cut"
    ALTERED = "altered"
    FOREIGN = "foreign"
    REDRIVEN = "redriven"
    POISON = "poison"
    ANSWERED = "answered"


class Selection(Struct, frozen=True, kw_only=True):
    """A choice of letters. Empty sets and None exclude nothing; times are the letters' own."""

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    positions: frozenset[tuple[int, int]] = frozenset()

    def holds(self, letter: Letter) -> bool:
        """Return whether this letter is selected."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or letter.timestamp_ms < self.until_ms)
            and (not self.positions or (letter.partition, letter.offset) in self.positions)
        )


class Consent(Struct, frozen=True, kw_only=True):
    """Letters that are put back only if an option names them."""

    poison: bool = False
    answered: bool = False
    again: bool = False


class Plan(Struct, kw_only=True):
    """The counts of a redrive. `problems`: reasons why chosen letters would be dead letters again."""

    chosen: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[Refusal] = field(default_factory=Counter[Refusal])
    problems: Counter[str] = field(default_factory=Counter[str])
    late_count: int = 0
    found: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    """Positions that were named one by one and hold a letter."""


def refusal_of(letter: Letter, consent: Consent, *, is_marked: bool) -> Refusal | None:
    """Return why the letter is not put back; None if it is."""
    if letter.wholeness is not Wholeness.WHOLE:
        return Refusal(letter.wholeness.value)
    if is_marked and not consent.again:
        return Refusal.REDRIVEN
    if letter.reason == DeadLetterReason.POISON.value and not consent.poison:
        return Refusal.POISON
    if _is_answered(letter) and not consent.answered:
        return Refusal.ANSWERED
    return None


def _is_answered(letter: Letter) -> bool:
    """Return whether a response `withheld` was written with the letter, as for every event that was decoded."""
    if letter.reason == DeadLetterReason.POISON.value:
        return letter.stage != StageName.DECODE.value
    return letter.reason == DeadLetterReason.PROCESSING_FAILED.value


def group_of(kafka: KafkaSettings, number: int) -> str:
    """Return the group whose offsets carry the marks of one segment of every partition."""
    return f"{kafka.group_id}.redrive.{number}"


def transactional_id(kafka: KafkaSettings) -> str:
    """Return the transactional id of a redrive, which one process at a time can hold."""
    return f"{kafka.group_id}.{kafka.cluster_name}.redrive"


def load_marks(kafka: KafkaSettings, topic: str, spans: Spans) -> Marks:
    """Load the marks of `spans`. Raises UnreadableMarks, KafkaUnavailable and KafkaRefused."""
    marks = Marks()
    partitions: dict[int, list[int]] = {}
    for partition, span in spans.items():
        for number in range(span.start // SEGMENT_LETTERS, -(-span.end // SEGMENT_LETTERS)):
            partitions.setdefault(number, []).append(partition)
    for number, of_segment in partitions.items():
        for partition, (_, text) in committed(kafka, group_of(kafka, number), topic, tuple(of_segment)).items():
            try:
                marks.load((partition, number), text)
            except ValueError as exc:
                raise UnreadableMarks(group_of(kafka, number), partition) from exc
    return marks


def marks_if_allowed(kafka: KafkaSettings, topic: str, spans: Spans) -> Marks | None:
    """Load the marks; return None if these credentials may not read them."""
    try:
        return load_marks(kafka, topic, spans)
    except KafkaRefused:
        return None


def spans_of(reader: RangeReader, selection: Selection) -> dict[int, Span]:
    """Return the ranges that can hold selected letters, up to the present end."""
    spans = reader.bounds()
    if selection.since_ms is not None:
        spans = since(reader, spans, selection.since_ms)
    if selection.positions:
        spans = {p: _around(span, [o for q, o in selection.positions if q == p]) for p, span in spans.items()}
    return {partition: span for partition, span in spans.items() if span.start < span.end}


def since(reader: RangeReader, spans: Spans, time_ms: int) -> dict[int, Span]:
    """Return the spans without records older than `time_ms`; a span is empty if all are older."""
    first = reader.offsets_at(time_ms)
    found: dict[int, Span] = {}
    for partition, span in spans.items():
        at = first.get(partition)
        found[partition] = Span(start=span.end if at is None else min(max(span.start, at), span.end), end=span.end)
    return found


def _around(span: Span, offsets: Sequence[int]) -> Span:
    inside = [offset for offset in offsets if span.start <= offset < span.end]
    return Span(start=min(inside), end=max(inside) + 1) if inside else Span(start=span.end, end=span.end)


class Terms(Struct, frozen=True, kw_only=True):
    """The bounds under which workers decode at present, and the topic that they read."""

    limits: RecordLimits
    input_topic: str


def letters(reader: RangeReader, spans: Spans, selection: Selection, terms: Terms) -> Iterator[tuple[Record, Letter]]:
    """Yield the selected letters, partition by partition in offset order: the same order every time."""
    for partition, span in sorted(spans.items()):
        for records in reader.read({partition: span}):
            for record in records:
                letter = letter_of(record, terms.limits, terms.input_topic)
                if selection.holds(letter):
                    yield record, letter


Chosen = tuple[tuple[int, int], OutRecord]
"""Partition and offset of a letter, and the record that is written for it."""


class Redrive:
    """One redrive over a fixed range: `plan` counts and `write` puts back; both choose the same letters."""

    def __init__(
        self,
        reader: RangeReader,
        spans: Spans,
        selection: Selection,
        consent: Consent,
        terms: Terms,
        *,
        letters_max: int = 0,
    ) -> None:
        """Create a redrive that chooses at most `letters_max` letters; 0: no limit."""
        self._reader = reader
        self._spans = spans
        self._selection = selection
        self._consent = consent
        self._terms = terms
        self._letters_max = letters_max

    def plan(self, marks: Marks, now_ms: int, looked_at: Callable[[int], object]) -> Plan:
        """Return what `write` would do; `looked_at` is called with how many letters were read."""
        plan = Plan()
        for count, (record, letter, refusal) in enumerate(self._judged(marks), 1):
            looked_at(count)
            if self._selection.positions:
                plan.found.add((record.partition, record.offset))
            if refusal is not None:
                plan.refused[refusal] += 1
                continue
            plan.chosen[letter.reason] += 1
            if letter.problem:
                plan.problems[letter.problem] += 1
            plan.late_count += letter.deadline_ms is not None and letter.deadline_ms <= now_ms
        return plan

    def write(
        self,
        kafka: KafkaSettings,
        writer: CopyWriter,
        target: "Target",
        pace: Pace,
        letters_per_transaction: int,
    ) -> Iterator[int]:
        """Put the chosen letters back; yield how many, after each transaction."""
        # Loaded by the holder of the transactional id: nobody else can add a mark after this.
        marks = load_marks(kafka, self._reader.topic, self._spans)
        batches = self._batches(marks, target, pace.pieces_max(letters_per_transaction))
        segments = set(marks.segments())
        for batch in batches:
            segments |= {marks.add(partition, offset) for (partition, offset), _ in batch}
            writer.write([copy for _, copy in batch], _progress(kafka, self._reader.topic, marks, segments))
            segments.clear()
            pace.after(len(batch))
            yield len(batch)

    def _batches(self, marks: Marks, target: "Target", count_max: int) -> Iterator[list[Chosen]]:
        batch: list[Chosen] = []
        batch_bytes = 0
        for record, letter, refusal in self._judged(marks):
            if refusal is not None:
                continue
            batch.append(((record.partition, record.offset), target.copy(record, letter)))
            batch_bytes += letter.value_bytes
            if len(batch) >= count_max or batch_bytes >= TRANSACTION_BYTES_MAX:
                yield batch
                batch, batch_bytes = [], 0
        if batch:
            yield batch

    def _judged(self, marks: Marks) -> Iterator[tuple[Record, Letter, Refusal | None]]:
        """Yield every selected letter with its refusal, until `letters_max` were chosen."""
        chosen = 0
        for record, letter in letters(self._reader, self._spans, self._selection, self._terms):
            is_marked = marks.holds(record.partition, record.offset)
            refusal = refusal_of(letter, self._consent, is_marked=is_marked)
            yield record, letter, refusal
            chosen += refusal is None
            if self._letters_max and chosen == self._letters_max:
                return


class Target(Struct, frozen=True, kw_only=True):
    """The topic that letters are put back on."""

    topic: str
    partition_count: int

    def copy(self, record: Record, letter: Letter) -> OutRecord:
        """Return the record for a letter, for the partition it was read from if that is of this topic, else by key."""
        source = letter.source
        is_home = source is not None and source.topic == self.topic and source.partition < self.partition_count
        return put_back(record, self.topic, source.partition if is_home and source is not None else None)


def _progress(
    kafka: KafkaSettings, topic: str, marks: Marks, segments: set[Segment]
) -> dict[str, list[PartitionOffset]]:
    found: dict[str, list[PartitionOffset]] = {}
    for segment in sorted(segments):
        partition, number = segment
        at = PartitionOffset(
            topic=topic, partition=partition, offset=marks.next_offset(segment), metadata=marks.text(segment)
        )
        found.setdefault(group_of(kafka, number), []).append(at)
    return found
