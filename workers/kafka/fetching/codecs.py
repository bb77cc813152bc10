"""Decompression of batches, with a bound on what comes out: a batch of 250 kB may hold 250 MB of zeros.

kafka-python decompresses without a bound. Its encoders and formats are the same: gzip, snappy (plain, or in blocks as
Java's client writes it), lz4 frames, zstd frames.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import snappy
import zstandard

from topology.contract.errors import SluicegateError

NONE = 0
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
"""Names by their number in a batch's attributes."""

CHUNK_BYTES = 1 << 18
"""What one step may bring; the bound is looked at between two steps."""

ZSTD_WINDOW_MAX = 1 << 27
"""The largest window that zstd's encoders choose, at level 22."""

_BLOCKS_HEADER = b"\x82SNAPPY\x00"
_BLOCKS_HEADER_BYTES = 16
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


class Undecodable(SluicegateError):
    """Compressed bytes that cannot be read. `args` is (what is wrong with them)."""

    def __init__(self, fault: str) -> None:
        super().__init__(fault)
        self.fault = fault


def decompress(codec: int, packed: bytes, bytes_max: int) -> bytes:
    """Return what `packed` holds. Raises Undecodable if it holds more than `bytes_max` bytes, or is broken."""
    decode = _DECODERS.get(codec)
    if decode is None:
        raise Undecodable(f"codec {codec} is unknown")
    try:
        return decode(packed, bytes_max)
    except (zlib.error, zstandard.ZstdError, snappy.UncompressError, RuntimeError, EOFError, ValueError) as exc:
        raise Undecodable(f"{CODECS[codec]} cannot be decompressed: {type(exc).__name__}") from exc
    except (struct.error, IndexError) as exc:
        raise Undecodable(f"{CODECS[codec]} ends early") from exc


class _Bounded(io.BytesIO):
    """Bytes that may become no more than a bound."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__()
        self._left_bytes = bytes_max

    def add(self, chunk: bytes) -> None:
        """Keep a chunk. Raises Undecodable if it is one too many."""
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise Undecodable("larger than allowed once decompressed")
        self.write(chunk)


def _gzip(packed: bytes, bytes_max: int) -> bytes:
    out = _Bounded(bytes_max)
    while packed:
        member = zlib.decompressobj(_GZIP_OR_ZLIB)
        while not member.eof:
            chunk = member.decompress(packed, CHUNK_BYTES)
            packed = member.unconsumed_tail
            if not (chunk or packed or member.eof):
                raise EOFError
            out.add(chunk)
        packed = member.unused_data
    return out.getvalue()


def _snappy(packed: bytes, bytes_max: int) -> bytes:
    out = _Bounded(bytes_max)
    if not packed.startswith(_BLOCKS_HEADER):
        _add_snappy(out, packed, bytes_max)
        return out.getvalue()
    at = _BLOCKS_HEADER_BYTES
    while at < len(packed):
        (length,) = struct.unpack_from("!i", packed, at)
        at += 4
        if not 0 < length <= len(packed) - at:
            raise EOFError
        _add_snappy(out, packed[at : at + length], bytes_max)
        at += length
    return out.getvalue()


def _add_snappy(out: _Bounded, block: bytes, bytes_max: int) -> None:
    """Add a block, whose decompressed length comes first (a varint): it is looked at before any memory is taken."""
    length, shift = 0, 0
    for byte in block[:5]:
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if length > bytes_max:
        raise Undecodable("larger than allowed once decompressed")
    unpack: Callable[[bytes], bytes] = snappy.decompress  # pyright: ignore[reportAssignmentType] - typed for text too
    out.add(unpack(block))


def _lz4(packed: bytes, bytes_max: int) -> bytes:
    frame: Any = lz4.frame.LZ4FrameDecompressor()
    out = _Bounded(bytes_max)
    given = packed
    while not frame.eof:
        chunk: bytes = frame.decompress(given, max_length=CHUNK_BYTES)
        given = b""
        if not chunk and frame.needs_input:
            raise EOFError
        out.add(chunk)
    return out.getvalue()


def _zstd(packed: bytes, bytes_max: int) -> bytes:
    out = _Bounded(bytes_max)
    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX)
    with decompressor.stream_reader(packed, read_across_frames=True) as reader:
        while chunk := reader.read(CHUNK_BYTES):
            out.add(chunk)
    return out.getvalue()


_DECODERS: dict[int, Callable[[bytes, int], bytes]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}
