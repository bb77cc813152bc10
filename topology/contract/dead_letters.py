"""The dead letter of a record that cannot be processed: its own bytes, with headers that say why and from where."""

import hashlib

from topology.contract.codec import DETAIL_CHARACTERS_MAX, RecordLimits
from topology.contract.errors import DeadLetter
from topology.contract.lineage import POSITION_HEADERS, SOURCE_HEADERS, letter_headers
from topology.contract.names import Header
from topology.contract.records import Headers, OutRecord, Record

ORIGINAL_HEADERS_MAX = 64
ORIGINAL_HEADERS_BYTES_MAX = 32 << 10
"""Bounds on the original's headers that are kept: their number, and the bytes of their names and values together."""

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
"""The headers that only this module writes. They are dropped from the original even if the letter does not carry them:
a record that was put back must not pass on what an earlier letter said."""


def dead_letter(record: Record, error: DeadLetter, limits: RecordLimits, topic: str) -> OutRecord:
    """Return the dead letter of `record`, to be written to `topic`.

    Key and value are the original bytes. A value over `event_bytes_max` is cut to `dead_letter_bytes_max`, and so is a
    key over `dead_letter_bytes_max`; length and SHA-256 in the headers are always those of the original value. A null
    value becomes an empty one and a header, since a null would delete. The original's headers are kept as far as they
    fit, except for `LETTER_HEADERS`. For a record that was put back, `x-original-*` still names the very first copy
    (`lineage`).
    """
    value = record.value or b""
    if len(value) > limits.event_bytes_max:
        value = value[: limits.dead_letter_bytes_max]
    key = record.key[: limits.dead_letter_bytes_max] if record.key is not None else None
    own = _reason_headers(record, error)
    kept, dropped_count = _kept(record.headers, own)
    if dropped_count:
        own += ((Header.ORIGINAL_HEADERS_DROPPED.value, str(dropped_count).encode()),)
    return OutRecord(topic=topic, key=key, value=value, headers=kept + own)


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


def _kept(original: Headers, own: Headers) -> tuple[Headers, int]:
    """Return the original's headers that are kept, and the number of those that do not fit."""
    taken = {name for name, _ in own} | LETTER_HEADERS
    foreign = [(name, value) for name, value in original if name.lower() not in taken]
    kept: list[tuple[str, bytes]] = []
    bytes_left = ORIGINAL_HEADERS_BYTES_MAX
    for name, value in foreign:
        size = len(name.encode("utf-8", "replace")) + len(value or b"")
        if len(kept) == ORIGINAL_HEADERS_MAX or size > bytes_left:
            break
        kept.append((name, value))
        bytes_left -= size
    return tuple(kept), len(foreign) - len(kept)
