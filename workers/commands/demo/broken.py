"""Records that are broken on purpose, each in one way, and the reason for which each must be dead-lettered."""

from collections.abc import Callable

import msgspec

from topology.contract.errors import DeadLetterReason
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.names import CANARY_TENANT, CONTENT_TYPE_JSON, CONTENT_TYPE_MSGPACK, Header, SchemaName
from topology.contract.records import Headers

OVERSIZE_BYTES = (1 << 20) + 1
"""One byte above the default bound on an event."""

NESTING_DEPTH = 10_000

BrokenRecord = tuple[str, DeadLetterReason, bytes | None, bytes | None, Headers]
"""Name, expected reason, key, value, headers."""

ANSWERED = frozenset({"wrong_type", "no_messages", "unknown_role", "out_of_range"})
"""The names of the records that are answered `rejected`: their ids can be read."""

_Parts = tuple[bytes | None, bytes | None, Headers]
_Breaker = Callable[[bytes, bytes], _Parts]


def broken_records(seed: int) -> list[BrokenRecord]:
    """Return one record of each kind, with ids made from `seed`. Each is a valid event except for its one fault."""
    records: list[BrokenRecord] = []
    for number, (name, (reason, breaker)) in enumerate(_FAULTS.items(), 1):
        event = _event(f"demo-{seed}-broken-{number:02d}")
        records.append((name, reason, *breaker(event.conversation_id.encode(), msgspec.json.encode(event))))
    return records


def awaited_id(record: BrokenRecord) -> str:
    """Return the event id that the record's answer must name; empty if it must have none."""
    name, _, key, _, _ = record
    return f"{(key or b'').decode()}-1" if name in ANSWERED else ""


def _event(conversation_id: str) -> ConversationEvent:
    return ConversationEvent(
        event_id=f"{conversation_id}-1",
        conversation_id=conversation_id,
        tenant_id="open-chat",
        messages=(Message(role=Role.USER, parts=(TextPart(text="Is anybody there?"),)),),
    )


def _headers(content_type: str = CONTENT_TYPE_JSON, version: str = "1") -> Headers:
    schema = f"{SchemaName.CONVERSATION_EVENT.value}/{version}"
    return ((Header.CONTENT_TYPE.value, content_type.encode()), (Header.SCHEMA.value, schema.encode()))


def _value(change: Callable[[bytes], bytes | None], headers: Headers | None = None) -> _Breaker:
    """Return a breaker of the value alone."""
    return lambda key, good: (key, change(good), _headers() if headers is None else headers)


def _field(name: bytes, raw: bytes) -> Callable[[bytes], bytes]:
    """Return a change that adds a field, or repeats one: the last one counts."""
    return lambda good: good[:-1] + b',"' + name + b'":' + raw + b"}"


def _oversize(good: bytes) -> bytes:
    return good[:-1] + b" " * (OVERSIZE_BYTES - len(good)) + b"}"


_REASON = DeadLetterReason
_FAULTS: dict[str, tuple[DeadLetterReason, _Breaker]] = {
    "broken_json": (_REASON.MALFORMED, _value(lambda good: good[:-9])),
    "not_a_number": (_REASON.MALFORMED, _value(_field(b"generation", b'{"temperature":NaN}'))),
    "half_surrogate": (_REASON.MALFORMED, _value(_field(b"event_id", rb'"\ud800"'))),
    "too_deep": (_REASON.TOO_DEEP, _value(_field(b"more", b"[" * NESTING_DEPTH + b"]" * NESTING_DEPTH))),
    "wrong_type": (_REASON.INVALID, _value(_field(b"messages", b'"just text"'))),
    "not_an_object": (_REASON.INVALID, _value(lambda _: b"[1,2,3]")),
    "no_messages": (_REASON.INVALID, _value(_field(b"messages", b"[]"))),
    "unknown_role": (_REASON.INVALID, _value(lambda good: good.replace(b'"role":"user"', b'"role":"wizard"'))),
    "out_of_range": (_REASON.INVALID, _value(_field(b"generation", b'{"temperature":3}'))),
    "invalid_utf8": (_REASON.NOT_UTF8, _value(lambda good: good.replace(b"anybody", b"any\xffbody"))),
    "empty_value": (_REASON.EMPTY_VALUE, _value(lambda _: b"")),
    "null_value": (_REASON.EMPTY_VALUE, _value(lambda _: None)),
    "missing_key": (_REASON.MISSING_KEY, lambda _, good: (None, good, _headers())),
    "key_mismatch": (_REASON.KEY_MISMATCH, lambda key, good: (key + b"-other", good, _headers())),
    "oversize": (_REASON.TOO_LARGE, _value(_oversize)),
    "unknown_version": (_REASON.UNKNOWN_VERSION, _value(lambda good: good, _headers(version="99"))),
    "unknown_content_type": (_REASON.UNKNOWN_CONTENT_TYPE, _value(lambda good: good, _headers("text/csv"))),
    "json_as_msgpack": (_REASON.INVALID, _value(lambda good: good, _headers(CONTENT_TYPE_MSGPACK))),
    "reserved_tenant": (_REASON.RESERVED_TENANT, _value(_field(b"tenant_id", f'"{CANARY_TENANT}"'.encode()))),
}
