"""The records of fetched batches: within bounds, and with one record in place of whatever cannot be read.

kafka-python raises an error for a record that it cannot read, and again at every further poll: the partition stands
still. It also takes whatever memory a batch asks for. Here such a record, or such a batch as a whole, becomes one
record that says why; the pipeline makes a dead letter of it, and the next record is read.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import (  # pyright: ignore[reportMissingImports] - newer than the stubs
    IsolationLevel,
)
from kafka.record.util import decode_varint
from kafka.structs import TopicPartition
from msgspec import Struct

from workers.kafka.fetching.codecs import CODECS, NONE, Undecodable, decompress

CHECKSUM_TRIES_MAX = 3
"""A batch whose checksum is wrong is fetched again, in case that the connection broke it, this many times in all."""

_LOG_APPEND_TIME = 1
_CODEC_BITS = 0b111
_APPEND_TIME_BIT = 0b1000
_OLD_PREFIX = struct.Struct(">qiIbb")
"""Of a message of an old format: offset, length of what follows it, checksum, format, attributes."""

_MAGIC_AT = 16
_OLD_OVERHEAD = 12
"""The bytes of offset and length."""

_LibraryRecords: Any = Fetcher.PartitionRecords  # pyright: ignore[reportAttributeAccessIssue] - its stubs leave it out


class BatchLimits(Struct, frozen=True, kw_only=True):
    """Bounds on one batch, and on what one poll reads before it leaves the rest for the next one."""

    bytes_max: int
    records_max: int


class Fetched(NamedTuple):
    """A record, or what stands for `record_count` records that cannot be read because of `unreadable`.

    In the second case `offset` is the last one of them, so that whoever starts behind it does not meet them again.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    unreadable: str = ""
    record_count: int = 1


class Reading:
    """What the polls of one consumer may read. `begin` gives it anew."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self.checksum_tries: dict[tuple[TopicPartition, int], int] = {}
        self._left_bytes = limits.bytes_max
        self._left_records = limits.records_max

    def begin(self) -> None:
        """Begin a poll."""
        self._left_bytes, self._left_records = self.limits.bytes_max, self.limits.records_max

    def spend(self, bytes_count: int, record_count: int) -> None:
        """Count a batch."""
        self._left_bytes -= bytes_count
        self._left_records -= record_count

    @property
    def is_over(self) -> bool:
        """Return whether this poll has read enough; the first batch may exceed the bounds of a poll."""
        return self._left_bytes <= 0 or self._left_records <= 0


class BoundedRecords(_LibraryRecords):  # pyright: ignore[reportUntypedBaseClass] - as above
    """The records of one partition in one fetch, in place of the library's."""

    # Attributes of the library that are used here; its stubs do not know them.
    fetch_offset: int
    next_fetch_offset: int
    topic_partition: TopicPartition
    check_crcs: bool

    def __init__(self, reading: Reading, *arguments: Any, **named: Any) -> None:
        self._reading = reading
        super().__init__(*arguments, **named)

    def _unpack_records(self, tp: TopicPartition, records: Any, *_: object) -> Iterator[Fetched]:
        """Yield what the batches hold, as the library does. The rest is fetched again once a poll has read enough."""
        while (batch := _next_batch(records)) is not None:
            is_whole = not self.check_crcs or batch.validate_crc()
            if self._reading.is_over or not (is_whole or self._is_given_up(batch)):
                break
            self.leader_epoch = batch.leader_epoch if batch.magic == 2 else -1
            if batch.magic != 2:
                yield from self._legacy(tp, batch) if is_whole else (_old_stand_in(tp, batch, "its checksum is wrong"),)
            elif not is_whole:
                yield _stand_in(tp, batch, batch.base_offset, "its checksum is wrong", _raw(batch))
            elif not self._is_skipped(batch):
                yield from self._batch(tp, batch)
            # The last offset of a batch stays where compaction removes its last record.
            self.next_fetch_offset = batch.next_offset if batch.magic == 2 else batch.base_offset + 1
        self.drain()

    def _is_given_up(self, batch: Any) -> bool:
        """Return whether the checksum of the batch was wrong as often as it may be."""
        place, tries = (self.topic_partition, batch.base_offset), self._reading.checksum_tries
        tries[place] = tries.get(place, 0) + 1
        return tries[place] >= CHECKSUM_TRIES_MAX and bool(tries.pop(place))

    def _is_skipped(self, batch: Any) -> bool:
        """Return whether readers of committed records see nothing of the batch."""
        if self.isolation_level == IsolationLevel.READ_COMMITTED and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return True
        return batch.is_control_batch

    def _batch(self, tp: TopicPartition, batch: Any) -> Iterator[Fetched]:
        raw, limits = _raw(batch), self._reading.limits
        body = raw[batch.HEADER_STRUCT.size :]
        try:
            _check_count(batch, limits)
            if batch.compression_type != NONE:
                body = decompress(batch.compression_type, body, limits.bytes_max)
        except Undecodable as exc:
            self._reading.spend(len(raw), 1)
            yield _stand_in(tp, batch, batch.base_offset, exc.fault, raw)
            return
        self._reading.spend(len(body), batch.records_count)
        yield from _records(tp, batch, body)

    def _legacy(self, tp: TopicPartition, batch: Any) -> Iterator[Fetched]:
        """Yield the records of a batch in a format from before Kafka 0.11; its offset is that of its last record.

        The library decompresses such a batch without a bound, and a negative length in it is a loop without an end.
        """
        try:
            yield from _old_records(tp, _raw(batch), self._reading)
        except (Undecodable, ValueError, struct.error) as exc:
            yield _old_stand_in(tp, batch, exc.fault if isinstance(exc, Undecodable) else "a length is wrong")


def _next_batch(records: Any) -> Any:
    """Return the next whole batch; None if there is none. Raises CorruptRecordError if it is too short to be one."""
    try:
        return records.next_batch()
    except struct.error as exc:
        raise CorruptRecordError("a batch is shorter than its header") from exc


def _old_records(tp: TopicPartition, raw: bytes, reading: Reading) -> Iterator[Fetched]:
    """Yield the records of a message of an old format, which holds them compressed or is one itself.

    Raises Undecodable, ValueError or struct.error if it is broken.
    """
    outer, codec, body, end = _old_record(tp, raw, 0)
    if end != len(raw):
        raise Undecodable("a length is wrong")
    if codec == NONE:
        reading.spend(len(raw), 1)
        yield outer
        return
    body = decompress(codec, body or b"", reading.limits.bytes_max)
    found: list[Fetched] = []
    at = 0
    while at < len(body):
        record, inner_codec, _, at = _old_record(tp, body, at)
        found.append(record)
        if inner_codec != NONE:
            raise Undecodable("compressed twice")
        if len(found) > reading.limits.records_max:
            raise Undecodable(f"more than the {reading.limits.records_max} records that are allowed")
    reading.spend(len(body), len(found))
    last = -1
    is_relative, is_appended = raw[_MAGIC_AT] > 0, bool(raw[_MAGIC_AT + 1] & _APPEND_TIME_BIT)
    for record in found:
        offset = outer.offset - found[-1].offset + record.offset if is_relative else record.offset
        if not last < offset <= outer.offset:
            raise Undecodable("an offset is wrong")
        last = offset
        yield record._replace(offset=offset, timestamp=outer.timestamp if is_appended else record.timestamp)


def _old_record(tp: TopicPartition, raw: bytes, at: int) -> tuple[Fetched, int, bytes | None, int]:
    """Return the message at `at`, its codec, its value, and where it ends. Raises as `_old_records` does."""
    offset, length, _, magic, attributes = _OLD_PREFIX.unpack_from(raw, at)
    start, end = at + _OLD_PREFIX.size, at + _OLD_OVERHEAD + length
    if magic not in {0, 1}:
        raise Undecodable(f"format {magic} is unknown")
    if not start <= end <= len(raw):
        raise Undecodable("a length is wrong")
    timestamp = 0
    if magic:
        (timestamp,) = struct.unpack_from(">q", raw, start)
        start += 8
    key, start = _old_bytes(raw, start, end)
    value, start = _old_bytes(raw, start, end)
    if start != end:
        raise Undecodable("a length is wrong")
    record = Fetched(tp.topic, tp.partition, offset, timestamp, key, value, [])
    return record, attributes & _CODEC_BITS, value, end


def _old_bytes(raw: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    """Return the bytes at `at`, None for a null, and where they end, `end` at most. Raises as `_old_records` does."""
    (length,) = struct.unpack_from(">i", raw, at)
    at += 4
    if length == -1:
        return None, at
    if not 0 <= length <= end - at:
        raise Undecodable("a length is wrong")
    return raw[at : at + length], at + length


def _old_stand_in(tp: TopicPartition, batch: Any, fault: str) -> Fetched:
    """Return the record that stands for a batch of an old format."""
    why = f"offset {batch.base_offset}: a batch of an old format: {fault}"
    return Fetched(tp.topic, tp.partition, batch.base_offset, 0, None, _raw(batch), [], why)


def _raw(batch: Any) -> bytes:
    return bytes(batch._buffer)  # noqa: SLF001 - the library has no accessor


def _check_count(batch: Any, limits: BatchLimits) -> None:
    if not 0 <= batch.records_count <= limits.records_max:
        raise Undecodable(f"more than the {limits.records_max} records that are allowed")


def _records(tp: TopicPartition, batch: Any, body: bytes) -> Iterator[Fetched]:
    """Yield the records of a decompressed batch; from the first one that is broken on, one that stands for the rest."""
    at, last = 0, batch.base_offset - 1
    for _ in range(batch.records_count):
        try:
            record, end = _record(tp, batch, body, at, range(last + 1, batch.next_offset))
        except (ValueError, IndexError):
            if last < batch.last_offset:
                yield _stand_in(tp, batch, last + 1, "a record is broken", body[at:])
            return
        yield record
        at, last = end, record.offset


def _record(tp: TopicPartition, batch: Any, body: bytes, at: int, offsets: range) -> tuple[Fetched, int]:
    """Return the record at `at`, and where it ends. Raises ValueError or IndexError if it is broken.

    Its offset is one of `offsets`.
    """
    length, start = decode_varint(body, at)
    time_delta, at = decode_varint(body, start + 1)  # after the attributes, one byte
    offset_delta, at = decode_varint(body, at)
    key, at = _bytes(body, at)
    value, at = _bytes(body, at)
    header_count, at = decode_varint(body, at)
    headers: list[tuple[str, bytes | None]] = []
    is_readable = True
    for _ in range(header_count):
        name, at = _bytes(body, at)
        content, at = _bytes(body, at)
        try:
            headers.append(((name or b"").decode(), content))
        except UnicodeDecodeError:
            is_readable = False
            headers.append(((name or b"").decode("utf-8", "backslashreplace"), content))
    if header_count < 0 or at - start != length or batch.base_offset + offset_delta not in offsets:
        raise ValueError("a length or an offset is wrong")
    is_appended = batch.timestamp_type == _LOG_APPEND_TIME
    return (
        Fetched(
            topic=tp.topic,
            partition=tp.partition,
            offset=batch.base_offset + offset_delta,
            timestamp=batch.max_timestamp if is_appended else batch.first_timestamp + time_delta,
            key=key,
            value=value,
            headers=headers,
            unreadable="" if is_readable else "the name of a header is not UTF-8",
        ),
        at,
    )


def _bytes(body: bytes, at: int) -> tuple[bytes | None, int]:
    """Return the bytes at `at`, None for a null, and where they end. Raises ValueError if they end too late."""
    length, at = decode_varint(body, at)
    if length < 0:
        return None, at
    if at + length > len(body):
        raise ValueError("a length is wrong")
    return body[at : at + length], at + length


def _stand_in(tp: TopicPartition, batch: Any, first: int, fault: str, raw: bytes) -> Fetched:
    """Return the record that stands for all of the batch from offset `first` on."""
    count, codec = batch.last_offset - first + 1, batch.compression_type
    named = CODECS[codec] if codec < len(CODECS) else str(codec)
    why = f"offsets {first} to {batch.last_offset} (codec {named}, {batch.size_in_bytes} bytes): {fault}"
    stamp = batch.max_timestamp
    return Fetched(tp.topic, tp.partition, batch.last_offset, stamp, None, raw, [], why, count)
