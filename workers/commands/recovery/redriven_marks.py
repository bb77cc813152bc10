"""The marks of letters that were put back, as text for the metadata of committed offsets.

    text     = "" | "m1." base64(raw) | "n1." base64(deflate(raw))          whichever is shortest
    raw      = checksum bits
    bits     = bit i of the segment, lowest bit of the first byte first, without zero bytes at the end
    checksum = 4 bytes, big endian: CRC-32 of partition and segment as 8 bytes each, and of the bits

Letters of a partition are marked in segments of SEGMENT_LETTERS, each in its own consumer group: the metadata of one
group has room for one. A full segment has 4 + 2048 bytes, which is 2736 characters of base64, 2739 with the prefix:
less than the 4096 that brokers accept.
"""

import binascii
import zlib
from base64 import b64decode, b64encode

from topology.contract.errors import SluicegateError

SEGMENT_LETTERS = 16_384
_SEGMENT_BYTES = SEGMENT_LETTERS // 8
_PLAIN, _DEFLATED = "m1.", "n1."
_CHECKSUM_BYTES = 4


class UnreadableMarks(SluicegateError):
    """The marks cannot be read, so nothing is put back. `args` is (group, partition)."""

    def __init__(self, group: str, partition: int) -> None:
        super().__init__(group, partition)
        self.group = group
        self.partition = partition

    def __str__(self) -> str:
        where = f"group {self.group}, partition {self.partition}"
        return f"{where}: the committed metadata was not written by a redrive; nothing is put back"


Segment = tuple[int, int]
"""Partition, and number of the segment in it."""


def segment_of(partition: int, offset: int) -> Segment:
    """Return the segment that a letter is marked in."""
    return partition, offset // SEGMENT_LETTERS


class Marks:
    """The marked letters. Pure: the caller loads and commits them."""

    def __init__(self) -> None:
        self._bits: dict[Segment, bytearray] = {}

    def holds(self, partition: int, offset: int) -> bool:
        """Return whether the letter is marked."""
        bits = self._bits.get(segment_of(partition, offset))
        index, mask = _bit(offset)
        return bits is not None and bool(bits[index] & mask)

    def add(self, partition: int, offset: int) -> Segment:
        """Mark a letter and return the segment whose text has changed."""
        segment = segment_of(partition, offset)
        index, mask = _bit(offset)
        self._bits.setdefault(segment, bytearray(_SEGMENT_BYTES))[index] |= mask
        return segment

    def segments(self) -> frozenset[Segment]:
        """Return the segments that hold a mark."""
        return frozenset(segment for segment, bits in self._bits.items() if any(bits))

    def next_offset(self, segment: Segment) -> int:
        """Return the offset after the highest mark of a segment; its first offset if nothing is marked."""
        bits = bytes(self._bits.get(segment, b"")).rstrip(b"\0")
        highest = 8 * (len(bits) - 1) + bits[-1].bit_length() if bits else 0
        return segment[1] * SEGMENT_LETTERS + highest

    def text(self, segment: Segment) -> str:
        """Return the metadata to commit for a segment; empty if nothing is marked."""
        bits = bytes(self._bits.get(segment, b"")).rstrip(b"\0")
        if not bits:
            return ""
        raw = _checksum(segment, bits) + bits
        plain = _PLAIN + b64encode(raw).decode()
        deflated = _DEFLATED + b64encode(zlib.compress(raw, 9)).decode()
        return min(plain, deflated, key=len)

    def load(self, segment: Segment, text: str) -> None:
        """Load the committed metadata of a segment. Raises ValueError if `text` did not write it."""
        bits = _bits_of(segment, text)
        self._bits[segment] = bytearray(bits.ljust(_SEGMENT_BYTES, b"\0"))


def _bit(offset: int) -> tuple[int, int]:
    index = offset % SEGMENT_LETTERS
    return index // 8, 1 << index % 8


def _checksum(segment: Segment, bits: bytes) -> bytes:
    named = b"".join(number.to_bytes(8, "big") for number in segment)
    return zlib.crc32(named + bits).to_bytes(_CHECKSUM_BYTES, "big")


def _bits_of(segment: Segment, text: str) -> bytes:
    if not text:
        return b""
    prefix, coded = text[: len(_PLAIN)], text[len(_PLAIN) :]
    try:
        raw = b64decode(coded, validate=True)
        if prefix == _DEFLATED:
            raw = _inflated(raw)
    except (binascii.Error, zlib.error) as exc:
        raise ValueError("not the text of marks") from exc
    checksum, bits = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
    if prefix not in {_PLAIN, _DEFLATED} or len(bits) > _SEGMENT_BYTES or checksum != _checksum(segment, bits):
        raise ValueError("not the text of marks")
    return bits


def _inflated(raw: bytes) -> bytes:
    """Inflate at most a segment's bytes, whatever the input claims. Raises ValueError and zlib.error."""
    inflating = zlib.decompressobj()
    found = inflating.decompress(raw, _CHECKSUM_BYTES + _SEGMENT_BYTES + 1)
    if not inflating.eof or inflating.unused_data:
        raise ValueError("not the text of marks")
    return found
