"""Ranges of the input copied onto another topic, each record once.

A replay commits its progress with its copies, as offsets of a consumer group without members; their metadata names the
ranges, so that only a replay of the same ranges continues. Every partition of the topic is committed at the start, so
that all offsets belong to one replay.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from topology.contract.records import OutRecord, PartitionOffset, Record
from workers.commands.console.progress import Pace
from workers.commands.console.times import Moment
from workers.commands.console.usage_error import WrongUse
from workers.commands.recovery.copies import replayed
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.reader import RangeReader, Span, Spans, committed
from workers.settings import KafkaSettings

TRANSACTION_BYTES_MAX = 8 << 20
NOTHING = Span(start=0, end=0)
_NOTE = re.compile(r"r1:([0-9]{1,19}):([0-9]{1,19})")


class Job:
    """A replay's ranges, and the next offset to copy of each."""

    def __init__(self, spans: Spans, next_offsets: Mapping[int, int]) -> None:
        self.spans = {partition: span for partition, span in spans.items() if span.start < span.end}
        self.next_offsets = {partition: next_offsets[partition] for partition in self.spans}

    @property
    def is_done(self) -> bool:
        """Return whether nothing is left to copy."""
        return not self.left()

    def left(self) -> dict[int, Span]:
        """Return the ranges that are still to be copied."""
        left = {p: Span(start=self.next_offsets[p], end=span.end) for p, span in self.spans.items()}
        return {partition: span for partition, span in left.items() if span.start < span.end}


def group_of(kafka: KafkaSettings, into: str) -> str:
    """Return the group whose offsets are the progress of a replay into a topic."""
    return f"{kafka.group_id}.replay.{into}"


def transactional_id(kafka: KafkaSettings, into: str) -> str:
    """Return the transactional id of a replay into a topic, which one process at a time can hold."""
    return f"{kafka.group_id}.{kafka.cluster_name}.replay.{into}"


def resolved(reader: RangeReader, start: Moment, end: Moment | None, partitions: frozenset[int]) -> dict[int, Span]:
    """Return the ranges that --from, --to and --partitions name, empty ones too. Raises WrongUse.

    `end` None: the present end; `partitions` empty: all. Offsets that retention has removed stay as they were given.
    """
    held = reader.bounds()
    if unknown := partitions - held.keys():
        raise WrongUse("--partitions", _numbers(unknown), f"{reader.topic} has partitions {_numbers(held)}")
    named = partitions or frozenset(held)
    for option, moment in (("--from", start), ("--to", end)):
        if isinstance(moment, Mapping):
            _check(option, moment, held)
            named &= frozenset(moment)
    starts = _offsets(reader, start, held)
    ends = {p: span.end for p, span in held.items()} if end is None else _offsets(reader, end, held)
    are_times = isinstance(start, int) and not isinstance(end, Mapping)
    for partition in sorted(named):
        if starts[partition] > ends[partition] and not are_times:
            raise WrongUse("--to", f"{partition}:{ends[partition]}", f"before --from, {partition}:{starts[partition]}")
    return {p: Span(start=starts[p], end=max(starts[p], ends[p])) for p in sorted(named)}


def _offsets(reader: RangeReader, moment: Moment, held: Spans) -> dict[int, int]:
    if isinstance(moment, Mapping):
        return {p: moment.get(p, span.end) for p, span in held.items()}
    found = reader.offsets_at(moment)
    return {p: span.end if (at := found.get(p)) is None else min(at, span.end) for p, span in held.items()}


def _check(option: str, moment: Mapping[int, int], held: Spans) -> None:
    for partition, offset in moment.items():
        given = f"{partition}:{offset}"
        if partition not in held:
            raise WrongUse(option, given, f"the topic has partitions {_numbers(held)}")
        if offset > held[partition].end:
            raise WrongUse(option, given, f"partition {partition} ends at {partition}:{held[partition].end}")


def _numbers(partitions: Iterable[int]) -> str:
    return ",".join(map(str, sorted(partitions)))


def spelt(offsets: Mapping[int, int]) -> str:
    """Return offsets by partition in the form of --from and --to."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


def command(spans: Spans, into: str) -> str:
    """Return the options that name exactly these ranges."""
    starts, ends = {p: s.start for p, s in spans.items()}, {p: s.end for p, s in spans.items()}
    return f"--from {spelt(starts)} --to {spelt(ends)} --into {into}"


def last_job(kafka: KafkaSettings, topic: str, into: str, partitions: tuple[int, ...]) -> Job | None:
    """Return the last replay into a topic, done or not; None if the brokers have none."""
    found = committed(kafka, group_of(kafka, into), topic, partitions)
    spans: dict[int, Span] = {}
    for partition, (_, metadata) in found.items():
        if note := _NOTE.fullmatch(metadata):
            spans[partition] = Span(start=int(note[1]), end=int(note[2]))
    job = Job(spans, {partition: found[partition][0] for partition in spans})
    return job if job.spans else None


def agreed(wanted: Spans, last: Job | None, into: str, *, again: bool) -> Job:
    """Return the replay to do: the wanted one, from its start or from where it stopped. Raises WrongUse."""
    fresh = Job(wanted, {partition: span.start for partition, span in wanted.items()})
    if last is None or again:
        return fresh
    if last.spans == fresh.spans:
        return last
    if not last.is_done:
        allowed = f"an earlier replay is not finished: `{command(last.spans, into)}` finishes it, --again drops it"
        raise WrongUse("--into", into, allowed)
    return fresh


class Replay:
    """One replay of the ranges `wanted` into a topic with `partition_count` partitions."""

    def __init__(
        self,
        kafka: KafkaSettings,
        reader: RangeReader,
        wanted: Spans,
        into: str,
        partition_count: int,
        *,
        again: bool = False,
    ) -> None:
        self._kafka = kafka
        self._group = group_of(kafka, into)
        self._reader = reader
        self._wanted = wanted
        self._into = into
        self._again = again
        # With as many partitions, a record keeps its own, whatever partitioner its producer used.
        self._is_alike = partition_count == len(reader.partitions)
        self.left_out_count = 0
        """Records that cannot be read: the worker that met them has made letters of them."""

    def job(self) -> Job:
        """Return what there is to do, from the beginning or from where an earlier run stopped. Raises WrongUse."""
        last = last_job(self._kafka, self._reader.topic, self._into, self._reader.partitions)
        return agreed(self._wanted, last, self._into, again=self._again)

    def write(self, writer: CopyWriter, pace: Pace, records_per_transaction: int) -> Iterator[int]:
        """Copy what is left; yield how many, after each transaction. Raises WrongUse."""
        # Asked by the holder of the transactional id: nobody else can replay into this topic after this.
        job = self.job()
        at = {p: job.next_offsets.get(p, 0) for p in self._reader.partitions}
        writer.write((), {self._group: self._progress(job, at)})
        size = pace.pieces_max(records_per_transaction)
        for records in self._reader.read(job.left()):
            readable = [record for record in records if not record.unreadable]
            self.left_out_count += len(records) - len(readable)
            for batch in _batches(readable, size):
                changed = {record.partition: record.offset + 1 for record in batch}
                writer.write([self._copy(record) for record in batch], {self._group: self._progress(job, changed)})
                pace.after(len(batch))
                yield len(batch)
        ends = {partition: span.end for partition, span in job.spans.items()}
        writer.write((), {self._group: self._progress(job, ends)})

    def _copy(self, record: Record) -> OutRecord:
        return replayed(record, self._into, record.partition if self._is_alike else None)

    def _progress(self, job: Job, offsets: Mapping[int, int]) -> list[PartitionOffset]:
        return [self._at(job, partition, offset) for partition, offset in sorted(offsets.items())]

    def _at(self, job: Job, partition: int, offset: int) -> PartitionOffset:
        span = job.spans.get(partition, NOTHING)
        note = f"r1:{span.start}:{span.end}"
        return PartitionOffset(topic=self._reader.topic, partition=partition, offset=offset, metadata=note)


def _batches(records: Sequence[Record], count_max: int) -> Iterator[list[Record]]:
    batch: list[Record] = []
    batch_bytes = 0
    for record in records:
        batch.append(record)
        batch_bytes += len(record.value or b"")
        if len(batch) >= count_max or batch_bytes >= TRANSACTION_BYTES_MAX:
            yield batch
            batch, batch_bytes = [], 0
    if batch:
        yield batch
