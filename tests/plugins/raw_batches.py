"""Batches made by hand, as anybody who may write a topic can send them, and the request that sends one."""

import socket
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from crc32c import crc32c
from kafka.record.default_records import DefaultRecordBatch  # pyright: ignore[reportMissingTypeStubs]
from kafka.record.util import encode_varint

from tests.plugins.patience import PATIENCE_S

NAMED_HEADER = (b"h", b"1")
NAMELESS_HEADER = (b"\xff\xfe", b"1")


def varint(value: int) -> bytes:
    out = bytearray()
    encode_varint(value, out.append)
    return bytes(out)


def record(
    value: bytes | None, delta: int = 0, key: bytes | None = b"key", headers: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    body = b"\0" + varint(0) + varint(delta) + _sized(key) + _sized(value) + varint(len(headers))
    body += b"".join(_sized(name) + _sized(content) for name, content in headers)
    return varint(len(body)) + body


def batch(records: bytes, count: int, codec: int = 0, base: int = 0) -> bytes:
    """A batch of `count` records from offset `base` on, with a right checksum."""
    stamp = 1_700_000_000_000
    body = struct.pack(">hiqqqhii", codec, count - 1, stamp, stamp, -1, -1, -1, count) + records
    rest = struct.pack(">iBI", 0, 2, crc32c(body)) + body
    return struct.pack(">qi", base, len(rest)) + rest


def old_message(
    value: bytes | None, offset: int = 0, *, magic: int = 1, codec: int = 0, key: bytes | None = b"key"
) -> bytes:
    """A message in a format from before Kafka 0.11; with a codec, `value` is compressed messages."""
    rest = struct.pack(">bb", magic, codec) + (struct.pack(">q", 1_700_000_000_000) if magic else b"")
    rest += b"".join(
        struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part for part in (key, value)
    )
    return struct.pack(">qiI", offset, 4 + len(rest), zlib.crc32(rest)) + rest


def parsed(raw: bytes) -> Any:
    return DefaultRecordBatch(raw)


def produce(bootstrap: str, topic: str, raw: bytes) -> int:
    """Send a batch to partition 0; returns its offset."""
    name = topic.encode()
    request = struct.pack(">hhih", 0, 3, 7, 4) + b"test" + struct.pack(">hhi", -1, -1, 30_000)
    request += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, 0, len(raw)) + raw
    host, port = bootstrap.split(",", maxsplit=1)[0].rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE_S) as connection, connection.makefile("rb") as answers:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", answers.read(4))
        answer = answers.read(size)
    error, offset = struct.unpack_from(">hq", answer, 4 + 4 + 2 + len(name) + 4 + 4)
    assert error == 0, f"the broker's error code {error}"
    return offset


def _sized(content: bytes | None) -> bytes:
    return varint(-1) if content is None else varint(len(content)) + content
