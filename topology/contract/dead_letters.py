"""The dead-letter record of a record that cannot be processed: its own bytes, and headers that say why and whence."""

import hashlib

from topology.contract.codec import DETAIL_CHARACTERS_MAX, RecordLimits
from topology.contract.errors import DeadLetter
from topology.contract.lineage import POSITION_HEADERS, SOURCE_HEADERS, letter_headers
from topology.contract.names import Header
from topology.contract.records import Headers, OutRecord, Record

ORIGINAL_HEADERS_MAX = 64
ORIGINAL_HEADERS_BYTES_MAX = 32 << 10
"""How many headers of the original are kept, and how many bytes of names and values together."""

LETTER_HEADERS = frozenset(
    name.value
    for name in (
        Header.REASON,
        Header.STAGE,
        Header.DETAIL,
        *POSITION_HEADERS,
        *SOURCE_HEADERS,
        Header.ORIGINAL_LENGTH,
        Header.ORIGINAL_SHA256,
        Header.ORIGINAL_NULL,
        Header.ORIGINAL_HEADERS_DROPPED,
        Header.REDRIVEN,
        Header.REDRIVEN_FROM,
        Header.REPLAYED_FROM,
    )
)
"""Ours alone, even where a letter does not carry them: one that is put back must not hand on what was said before."""


def dead_letter(record: Record, error: DeadLetter, limits: RecordLimits, topic: str) -> OutRecord:
    """The dead letter of `record`, to be written to `topic`.

    Key and value are the original bytes; a value over `event_bytes_max`, and a key over `dead_letter_bytes_max`, is
    cut to `dead_letter_bytes_max`; length and SHA-256 in the headers are always those of the original value. A null
    value becomes no bytes and a header, since a null would delete. The original's headers stay, as far as they fit;
    a name that only dead letters carry (`LETTER_HEADERS`) is written anew. Of a record that was put back,
    `x-original-*` still names the very first copy (`lineage`).
    """
    value = record.value or b""
    if len(value) > limits.event_bytes_max:
        value = value[: limits.dead_letter_bytes_max]
    key = record.key[: limits.dead_letter_bytes_max] if record.key is not None else None
    ours = _reason_headers(record, error)
    kept, dropped_count = _kept(record.headers, ours)
    if dropped_count:
        ours += ((Header.ORIGINAL_HEADERS_DROPPED.value, str(dropped_count).encode()),)
    return OutRecord(topic=topic, key=key, value=value, headers=kept + ours)


def _reason_headers(record: Record, error: DeadLetter) -> Headers:
    original = record.value or b""
    stated = {
        Header.REASON: error.reason.value,
        Header.STAGE: error.stage,
        Header.DETAIL: error.detail[:DETAIL_CHARACTERS_MAX],
        Header.ORIGINAL_LENGTH: str(len(original)),
        Header.ORIGINAL_SHA256: hashlib.sha256(original).hexdigest(),
    }
    if record.value is None:
        stated[Header.ORIGINAL_NULL] = "1"
    written = tuple((name.value, value.encode("utf-8", "replace")) for name, value in stated.items())
    return written + letter_headers(record)


def _kept(original: Headers, ours: Headers) -> tuple[Headers, int]:
    """The original's headers that stay, and how many do not fit."""
    taken = {name for name, _ in ours} | LETTER_HEADERS
    theirs = [(name, value) for name, value in original if name.lower() not in taken]
    kept: list[tuple[str, bytes]] = []
    bytes_left = ORIGINAL_HEADERS_BYTES_MAX
    for name, value in theirs:
        size = len(name.encode("utf-8", "replace")) + len(value or b"")
        if len(kept) == ORIGINAL_HEADERS_MAX or size > bytes_left:
            break
        kept.append((name, value))
        bytes_left -= size
    return tuple(kept), len(theirs) - len(kept)
