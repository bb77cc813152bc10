"""The dead-letter record of a record that cannot be processed: its own bytes, and headers that say why and whence."""

import hashlib
from collections.abc import Mapping

from topology.codec import DETAIL_CHARACTERS_MAX, RecordLimits
from topology.errors import DeadLetter
from topology.headers import trace_headers
from topology.names import Header
from topology.ports import Headers, OutRecord, Record

ORIGINAL_HEADERS_MAX = 64
ORIGINAL_HEADERS_BYTES_MAX = 32 << 10
"""How many headers of the original are kept, and how many bytes of names and values together."""


def dead_letter(
    record: Record,
    error: DeadLetter,
    limits: RecordLimits,
    carrier: Mapping[str, str],
    topic: str,
) -> OutRecord:
    """The dead letter of `record`, to be written to `topic`.

    Key and value are the original bytes; a value over `event_bytes_max`, and a key over `dead_letter_bytes_max`, is
    cut to `dead_letter_bytes_max`; length and SHA-256 in the headers are always those of the original value. A null
    value becomes no bytes and a header, since a null would delete. The original's headers stay, as far as they fit;
    where a name is ours, or `carrier` (the trace context of now; empty keeps the original's) has it, ours stands.
    """
    value = record.value or b""
    if len(value) > limits.event_bytes_max:
        value = value[: limits.dead_letter_bytes_max]
    key = record.key[: limits.dead_letter_bytes_max] if record.key is not None else None
    ours = _reason_headers(record, error) + trace_headers(carrier)
    return OutRecord(topic=topic, key=key, value=value, headers=_kept(record.headers, ours) + ours)


def _reason_headers(record: Record, error: DeadLetter) -> Headers:
    original = record.value or b""
    stated = {
        Header.REASON: error.reason.value,
        Header.STAGE: error.stage,
        Header.DETAIL: error.detail[:DETAIL_CHARACTERS_MAX],
        Header.ORIGINAL_TOPIC: record.topic,
        Header.ORIGINAL_PARTITION: str(record.partition),
        Header.ORIGINAL_OFFSET: str(record.offset),
        Header.ORIGINAL_TIMESTAMP: str(record.timestamp_ms),
        Header.ORIGINAL_LENGTH: str(len(original)),
        Header.ORIGINAL_SHA256: hashlib.sha256(original).hexdigest(),
    }
    if record.value is None:
        stated[Header.ORIGINAL_NULL] = "1"
    return tuple((name.value, value.encode("utf-8", "replace")) for name, value in stated.items())


def _kept(original: Headers, ours: Headers) -> Headers:
    # x-original-null is ours even where we do not write it: a dead letter put back must not carry an old one.
    taken = {name for name, _ in ours} | {Header.ORIGINAL_NULL.value}
    kept: list[tuple[str, bytes]] = []
    bytes_left = ORIGINAL_HEADERS_BYTES_MAX
    for name, value in original:
        size = len(name.encode("utf-8", "replace")) + len(value or b"")
        if len(kept) == ORIGINAL_HEADERS_MAX or size > bytes_left:
            break
        if name.lower() not in taken:
            kept.append((name, value))
            bytes_left -= size
    return tuple(kept)
