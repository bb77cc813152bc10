"""K19: whatever bytes a fetch brings, of any format and codec, reading them ends in records or in one error.

Batches are broken at random, before and after they are compressed; the seed is fixed.
"""

import gzip
import random
import struct
import time
import tracemalloc
from collections.abc import Callable

import lz4.frame
import pytest
import snappy
from crc32c import crc32c
from kafka.errors import CorruptRecordError
from kafka.record import MemoryRecords

from tests.plugins.raw_batches import batch, old_message, record
from tests.workers.kafka.test_batches import LIMITS, PACKED, PLACE
from workers.kafka.fetching.batches import BoundedRecords, Fetched, Reading
from workers.kafka.fetching.codecs import Undecodable, decompress

VARIANTS = 150
COUNT = 20
READ_MAX_S = 2.0
"""Of CPU, for a variant of a kilobyte: a loop without an end takes all that there is."""

PEAK_BYTES_MAX = 8 * LIMITS.bytes_max
Pack = Callable[[bytes], bytes]
OLD_PACKED: dict[str, tuple[int, Pack]] = {
    "gzip": (1, gzip.compress),
    "snappy": (2, snappy.compress),
    "lz4": (3, lz4.frame.compress),
}


def _new(body: bytes, codec: int, pack: Pack) -> bytes:
    return batch(pack(body), COUNT, codec=codec)


def _old(body: bytes, codec: int, pack: Pack, magic: int) -> bytes:
    return old_message(pack(body), COUNT - 1, magic=magic, codec=codec, key=None)


def _as_it_is(body: bytes) -> bytes:
    return body


TEXT = b"what is a tide? " * 4
NEW_BODY = b"".join(record(TEXT, n, headers=[(b"h", b"1")]) for n in range(COUNT))
OLD_BODIES = {magic: b"".join(old_message(TEXT, n, magic=magic) for n in range(COUNT)) for magic in (0, 1)}
KINDS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "none": (NEW_BODY, lambda body: _new(body, 0, _as_it_is)),
    **{name: (NEW_BODY, lambda body, of=of: _new(body, *of)) for name, of in PACKED.items()},
    **{
        f"{name}, format {magic}": (OLD_BODIES[magic], lambda body, of=of, magic=magic: _old(body, *of, magic))
        for name, of in OLD_PACKED.items()
        for magic in (0, 1)
        if (name, magic) != ("lz4", 0)  # its frames had a wrong checksum of their own then
    },
    "old": (OLD_BODIES[1], _as_it_is),
}


def _broken(chance: random.Random, raw: bytes) -> bytes:
    """Some bytes changed, taken out, put in or cut off; often where lengths stand."""
    found = bytearray(raw)
    for _ in range(chance.choice((1, 1, 1, 2, 5))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(6):
            case 0:
                found[at : at + 1] = bytes([chance.choice((0, 1, 0x7F, 0x80, 0xFF))])
            case 1:
                found[at : at + 1] = chance.randbytes(1)
            case 2:
                del found[at:]
            case 3:
                found[at : at + 4] = struct.pack(">i", chance.choice((0, -1, -12, -(2**31), 2**31 - 1, len(raw))))
            case 4:
                del found[at : at + chance.randrange(1, 9)]
            case _:
                found[at:at] = chance.randbytes(chance.randrange(1, 9))
    return bytes(found)


def _framed(raw: bytes) -> bytes:
    """The batch with a right length and, in the present format, a right checksum: brokers refuse any other."""
    found = bytearray(raw)
    if len(found) >= 21:
        struct.pack_into(">i", found, 8, len(found) - 12)
        if found[16] == 2:
            struct.pack_into(">I", found, 17, crc32c(bytes(found[21:])))
    return bytes(found)


def _read(raw: bytes) -> list[Fetched]:
    """What a fetch brings; the second and third look are at the same bytes, as a wrong checksum asks for."""
    reading = Reading(LIMITS)
    found: list[Fetched] = []
    for _ in range(3):
        reading.begin()
        found = BoundedRecords(reading, 0, PLACE, MemoryRecords(raw)).take(10**9)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_whole_batches_of_every_format_and_codec_are_read(kind: str) -> None:
    body, pack = KINDS[kind]
    found = _read(pack(body))
    assert [(each.offset, each.value, each.unreadable) for each in found] == [(n, TEXT, "") for n in range(COUNT)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_batch_ends_in_records_or_in_one_error(kind: str) -> None:
    body, pack = KINDS[kind]
    chance, unread = random.Random(kind), 0
    for number in range(VARIANTS):
        raw = pack(_broken(chance, body)) if number % 2 else _broken(chance, pack(body))
        raw = _framed(raw) if number % 8 and kind != "old" else raw
        began_s = time.process_time()
        try:
            unread += any(each.unreadable for each in _read(raw + batch(record(b"next"), 1, base=COUNT)))
        except CorruptRecordError:
            unread += 1
        assert time.process_time() - began_s < READ_MAX_S, raw.hex()
    assert unread > VARIANTS // 10, "hardly any variant was broken"


@pytest.mark.parametrize("kind", PACKED)
def test_broken_compressed_bytes_give_no_more_than_allowed_and_one_error(kind: str) -> None:
    codec, pack = PACKED[kind]
    chance, packed, refused = random.Random(kind), pack(NEW_BODY), 0
    for _ in range(VARIANTS):
        try:
            assert len(decompress(codec, _broken(chance, packed), len(NEW_BODY))) <= len(NEW_BODY)
        except Undecodable:
            refused += 1
    assert refused > VARIANTS // 10


BOMBS: dict[str, bytes] = {
    "format 0": _old(old_message(bytes(64 << 20), magic=0), 1, gzip.compress, 0),
    "format 1": _old(old_message(bytes(64 << 20)), 1, gzip.compress, 1),
    "many records of format 1": _old(old_message(b"") * (LIMITS.records_max + 1), 1, gzip.compress, 1),
    "a format of another time": batch(gzip.compress(bytes(64 << 20)), 1, codec=1)[:16] + b"\x05" + bytes(80),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_of_an_old_format_takes_no_memory_and_is_one_record(kind: str) -> None:
    raw = _framed(BOMBS[kind])
    tracemalloc.start()
    try:
        (found,) = _read(raw)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.unreadable
    assert peak_bytes < PEAK_BYTES_MAX


def test_a_negative_length_in_an_old_batch_is_no_loop() -> None:
    entry = bytearray(old_message(b"a"))
    struct.pack_into(">i", entry, 8, -12)
    (found,) = _read(_old(bytes(entry), 1, gzip.compress, 1))
    assert "a length is wrong" in found.unreadable
