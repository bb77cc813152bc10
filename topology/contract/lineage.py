"""Who a record is: the headers that name its position and that of its first copy, and what names it to be cancelled.

`x-source-*` on a dead letter is the position at which a worker read the record; nothing on the input can change it.
`x-original-*` is the position of the very first copy. It is copied from the record's own headers if they have it,
so it is only a claim: whoever may write the input may write headers. Only the shape of a claim is checked, and a claim
is used for nothing but headers.
"""

import re
from collections.abc import Sequence

from msgspec import Struct

from topology.contract.events import Id, Position
from topology.contract.headers import last_header
from topology.contract.names import Header
from topology.contract.records import Headers, Record

COUNT_MAX = 9_999
"""The highest `x-redriven` that is believed."""

POSITION_HEADERS = (
    Header.ORIGINAL_TOPIC,
    Header.ORIGINAL_PARTITION,
    Header.ORIGINAL_OFFSET,
    Header.ORIGINAL_TIMESTAMP,
)
SOURCE_HEADERS = (Header.SOURCE_TOPIC, Header.SOURCE_PARTITION, Header.SOURCE_OFFSET, Header.SOURCE_TIMESTAMP)

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_NUMBER = re.compile(r"[0-9]{1,19}")
_PLACE = re.compile(rf"({_TOPIC.pattern}):([0-9]{{1,10}}):({_NUMBER.pattern})")
_LARGEST = (2**31 - 1, 2**63 - 1, 2**63 - 1)
"""The largest partition, offset and time of Kafka's protocol."""


class Cancellation(Struct, frozen=True, kw_only=True):
    """A record whose answer nobody waits for any more. Its partition's number is that of the record that says so."""

    partition: int
    offset: int
    event_id: Id


def position_of(record: Record) -> Position:
    """Return the position at which `record` was read."""
    return Position(
        topic=record.topic, partition=record.partition, offset=record.offset, timestamp_ms=record.timestamp_ms
    )


def origin_of(headers: Headers) -> Position | None:
    """Return the position of the first copy as the headers claim it; None if the claim is missing or malformed."""
    return _position(headers, POSITION_HEADERS)


def source_of(headers: Headers) -> Position | None:
    """Return the position of the record that a dead letter was written for; None if this is no dead letter.

    Letters from before `x-source-*` existed have it in `x-original-*`.
    """
    return _position(headers, SOURCE_HEADERS) or origin_of(headers)


def redriven_count(headers: Headers) -> int:
    """Return how often the record was put back, as the headers claim; 0 if the claim is missing or malformed."""
    text = last_header(headers, Header.REDRIVEN) or ""
    return int(text) if _NUMBER.fullmatch(text) and int(text) <= COUNT_MAX else 0


def place(topic: str, partition: int, offset: int) -> str:
    """Return a position as one header's value: `topic:partition:offset`."""
    return f"{topic}:{partition}:{offset}"


def place_in(headers: Headers, name: Header) -> str | None:
    """Return the position that header `name` claims, as `place` writes it; None if it is missing or malformed."""
    text = last_header(headers, name) or ""
    return text if _PLACE.fullmatch(text) else None


def origin_headers(position: Position) -> Headers:
    """Return a position as `x-original-*`."""
    return _headers(POSITION_HEADERS, position)


def letter_headers(record: Record) -> Headers:
    """Return what a dead letter of `record` says of its origin: the first copy, this copy, how it was put back."""
    own = position_of(record)
    origin = origin_of(record.headers)
    found = _headers(POSITION_HEADERS, origin or own) + _headers(SOURCE_HEADERS, own)
    if origin is None:
        return found
    if count := redriven_count(record.headers):
        found += ((Header.REDRIVEN.value, str(count).encode()),)
    for name in (Header.REDRIVEN_FROM, Header.REPLAYED_FROM):
        if claimed := place_in(record.headers, name):
            found += ((name.value, claimed.encode()),)
    return found


def _headers(names: Sequence[Header], position: Position) -> Headers:
    values = (position.topic, position.partition, position.offset, position.timestamp_ms)
    return tuple((name.value, str(value).encode()) for name, value in zip(names, values, strict=True))


def _position(headers: Headers, names: Sequence[Header]) -> Position | None:
    topic, *numbers = (last_header(headers, name) or "" for name in names)
    if not _TOPIC.fullmatch(topic) or not all(_NUMBER.fullmatch(number) for number in numbers):
        return None
    partition, offset, timestamp_ms = map(int, numbers)
    if any(value > bound for value, bound in zip((partition, offset, timestamp_ms), _LARGEST, strict=True)):
        return None
    return Position(topic=topic, partition=partition, offset=offset, timestamp_ms=timestamp_ms)
