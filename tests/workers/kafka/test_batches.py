"""K19: whatever stands in a batch, its readable records are read, and something stands for the others."""

import gzip
import struct
from collections.abc import Callable
from typing import Any

import lz4.frame
import pytest
import snappy
import zstandard
from kafka import KafkaConsumer
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords
from kafka.structs import TopicPartition

from tests.contracts.delivery import read
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.raw_batches import NAMED_HEADER, NAMELESS_HEADER, batch, old_message, produce, record
from workers.kafka.client import consumer_options
from workers.kafka.fetching.batches import CHECKSUM_TRIES_MAX, BatchLimits, BoundedRecords, Fetched, Reading
from workers.kafka.fetching.codecs import Undecodable, decompress
from workers.kafka.source import KafkaSource

LIMITS = BatchLimits(bytes_max=1 << 20, records_max=100)
PLACE = TopicPartition("topic", 0)
TEXT = b"what is a tide? " * 4096


def _blocks(text: bytes) -> bytes:
    """Snappy as Java's client writes it."""
    pieces = [snappy.compress(text[at : at + 1000]) for at in range(0, len(text), 1000)]
    return b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01" + b"".join(struct.pack("!i", len(p)) + p for p in pieces)


PACKED: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, gzip.compress),
    "snappy": (2, snappy.compress),
    "snappy in blocks": (2, _blocks),
    "lz4": (3, lz4.frame.compress),
    "zstd": (4, zstandard.ZstdCompressor().compress),
}


def _read(*batches: bytes, reading: Reading | None = None, fetch_offset: int = 0) -> tuple[list[Fetched], Any]:
    """What a fetch of these batches brings, and the library's state after it."""
    records = MemoryRecords(b"".join(batches))
    part: Any = BoundedRecords(reading or Reading(LIMITS), fetch_offset, PLACE, records)
    return part.take(10**9), part


@pytest.mark.parametrize("kind", PACKED)
def test_each_codec_gives_back_what_was_packed_and_no_more_than_allowed(kind: str) -> None:
    codec, pack = PACKED[kind]
    packed = pack(TEXT)
    assert decompress(codec, packed, len(TEXT)) == TEXT
    with pytest.raises(Undecodable, match="larger than allowed"):
        decompress(codec, packed, len(TEXT) - 1)


@pytest.mark.parametrize("kind", PACKED)
def test_bytes_that_were_never_packed_are_refused(kind: str) -> None:
    with pytest.raises(Undecodable):
        decompress(PACKED[kind][0], b"\xff" * 40, 1 << 20)


def test_a_bomb_takes_no_memory() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    with pytest.raises(Undecodable, match="larger than allowed"):
        decompress(1, bomb, 1 << 20)


def test_records_are_read_with_null_keys_and_values_and_headers() -> None:
    raw = batch(record(b"a", headers=[NAMED_HEADER]) + record(None, 1, None), 2, base=7)
    (first, second), part = _read(raw)
    assert (first.offset, first.key, first.value, first.headers) == (7, b"key", b"a", [("h", b"1")])
    assert (second.offset, second.key, second.value, second.headers) == (8, None, None, [])
    assert not first.unreadable
    assert part.next_fetch_offset == 9
    assert not part


def test_a_fetch_that_begins_inside_a_batch_brings_the_rest_of_it() -> None:
    raw = batch(b"".join(record(b"%d" % n, n) for n in range(5)), 5)
    found, _ = _read(raw, fetch_offset=3)
    assert [each.offset for each in found] == [3, 4]


def test_a_header_whose_name_is_not_utf8_costs_its_record_alone() -> None:
    parts = record(b"a") + record(b"b", 1, headers=[NAMELESS_HEADER]) + record(b"c", 2)
    found, _ = _read(batch(parts, 3))
    assert [each.unreadable for each in found] == ["", "the name of a header is not UTF-8", ""]
    assert found[1].value == b"b"
    assert found[1].headers == [("\\xff\\xfe", b"1")]


BROKEN: dict[str, tuple[bytes, int, str]] = {
    "too many records": (batch(record(b"a") * 101, 101), 101, "more than the 100 records"),
    "too large": (batch(gzip.compress(bytes(2 << 20)), 3, codec=1), 3, "larger than allowed"),
    "not compressed": (batch(b"\xff" * 50, 3, codec=4), 3, "cannot be decompressed"),
    "codec of another time": (batch(b"", 3, codec=6), 3, "codec 6 is unknown"),
    "no records": (batch(b"", 3), 3, "a record is broken"),
    "a length too long": (batch(b"\x7f\x00\x00\x00\x01", 3), 3, "a record is broken"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_batch_that_cannot_be_read_is_one_record_that_says_why(fault: str) -> None:
    raw, count, why = BROKEN[fault]
    (found, after), part = _read(raw, batch(record(b"next"), 1, base=count))
    assert why in found.unreadable
    assert f"offsets 0 to {count - 1} " in found.unreadable
    assert (found.offset, found.record_count, found.key) == (count - 1, count, None)
    assert found.value is not None
    assert raw.endswith(found.value)
    assert (after.value, part.next_fetch_offset) == (b"next", count + 1)


def test_what_is_readable_before_a_broken_record_is_read() -> None:
    found, _ = _read(batch(record(b"a") + record(b"b", 1) + b"\x7f\x00", 4))
    assert [each.value for each in found[:2]] == [b"a", b"b"]
    assert (found[2].offset, found[2].record_count) == (3, 2)
    assert "offsets 2 to 3 " in found[2].unreadable


@pytest.mark.parametrize("delta", [0, 9])
def test_an_offset_that_cannot_be_is_a_broken_record(delta: int) -> None:
    found, _ = _read(batch(record(b"a") + record(b"b", delta), 2))
    assert [bool(each.unreadable) for each in found] == [False, True]


@pytest.mark.parametrize(
    "written", [batch(record(b"abcdef"), 1), old_message(b"abcdef"), old_message(b"abcdef", magic=0)]
)
def test_a_wrong_checksum_is_fetched_again_before_it_is_believed(written: bytes) -> None:
    raw, reading = bytearray(written), Reading(LIMITS)
    raw[-3] ^= 1
    for _ in range(CHECKSUM_TRIES_MAX - 1):
        found, part = _read(bytes(raw), reading=reading)
        assert (found, part.next_fetch_offset) == ([], 0)
    (found,), part = _read(bytes(raw), reading=reading)
    assert "its checksum is wrong" in found.unreadable
    assert part.next_fetch_offset == 1


def test_a_poll_reads_no_more_than_the_bounds_and_the_next_one_the_rest() -> None:
    batches = [batch(b"".join(record(b"x", n) for n in range(60)), 60, base=60 * k) for k in range(3)]
    reading = Reading(LIMITS)
    found, part = _read(*batches, reading=reading)
    assert (len(found), part.next_fetch_offset) == (120, 120)
    assert _read(*batches, reading=reading)[0] == [], "another partition of the same poll"
    reading.begin()
    found, _ = _read(*batches[2:], reading=reading, fetch_offset=120)
    assert len(found) == 60


@pytest.mark.kafka
def test_the_library_stops_at_a_header_whose_name_is_not_utf8(kafka: Kafka) -> None:
    """When this fails, the rule can go for headers; the bounds stay."""
    topic = kafka.topic()
    produce(kafka.bootstrap, topic, batch(record(b"a", headers=[NAMELESS_HEADER]), 1))
    consumer: Any = KafkaConsumer(**consumer_options(kafka.settings()))
    try:
        consumer.assign([PLACE._replace(topic=topic)])
        consumer.seek_to_beginning()
        with pytest.raises(CorruptRecordError):
            wait_until(lambda: bool(consumer.poll(timeout_ms=100)))
    finally:
        consumer.close()


@pytest.mark.kafka
def test_what_stands_behind_hostile_batches_is_read(kafka: Kafka) -> None:
    topic = kafka.topic()
    tiny = gzip.compress(b"".join(record(None, n, None) for n in range(300)))
    hostile = [
        batch(record(b"a", headers=[NAMELESS_HEADER]), 1),
        batch(gzip.compress(record(bytes(8 << 20))), 1, codec=1),
        batch(tiny, 300, codec=1),
    ]
    for raw in hostile:
        produce(kafka.bootstrap, topic, raw)
        kafka.send(topic, b"good", key=b"key")
    settings = kafka.settings(batch_decompressed_bytes_max=1 << 20, batch_records_max=100)
    source = KafkaSource(settings, topic, 0)
    try:
        found = read(source, 6)
    finally:
        source.close()
    assert [(each.offset, each.value == b"good", bool(each.unreadable)) for each in found] == [
        (0, False, True),
        (1, True, False),
        (2, False, True),
        (3, True, False),
        (303, False, True),
        (304, True, False),
    ]
