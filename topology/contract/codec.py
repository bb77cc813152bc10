"""Bytes to structs and back: JSON and MessagePack, with bounds and one reason for each kind of failure.

Error details name a field's path and its bound, never its value.
"""

import functools
import re
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from topology.contract.conversation import ConversationState, read_state
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import ConversationEvent, Id
from topology.contract.headers import CE_SPECVERSION, SCHEMA_VERSION, Wire, header_text, last_headers
from topology.contract.measures.nesting import is_json_too_deep, is_msgpack_too_deep
from topology.contract.names import (
    CANARY_TENANT,
    CONTENT_TYPE_JSON,
    CONTENT_TYPE_MSGPACK,
    Header,
    SchemaName,
    StageName,
)
from topology.contract.records import Headers, Record

DETAIL_CHARACTERS_MAX = 512

CONTENT_TYPE_CLOUDEVENT = "application/cloudevents+json"
"""A CloudEvent in structured mode: the event is its `data`."""

_MSGPACK_TYPES = frozenset({CONTENT_TYPE_MSGPACK, "application/vnd.msgpack", "application/x-msgpack"})
_STATE_SCHEMA = f"{SchemaName.CONVERSATION_STATE.value}/{SCHEMA_VERSION}"
_CONTENT_TYPE, _SCHEMA, _SPECVERSION = Header.CONTENT_TYPE.value, Header.SCHEMA.value, Header.CE_SPECVERSION.value
_EVENT_SCHEMA = f"{SchemaName.CONVERSATION_EVENT.value}/{SCHEMA_VERSION}"


class RecordLimits(Struct, frozen=True, kw_only=True):
    """Bounds on one record: bytes of its value, bytes that a dead letter keeps of a longer one, depth of nesting."""

    event_bytes_max: int = 1 << 20
    dead_letter_bytes_max: int = 64 << 10
    nesting_depth_max: int = 64


class _CloudEvent(Struct, frozen=True, kw_only=True):
    specversion: str
    data: msgspec.Raw
    datacontenttype: str = CONTENT_TYPE_JSON


class EventIds(Struct, frozen=True, kw_only=True):
    """The ids that a record names, whatever else is wrong with it. `canary` is None if it has no mark of a probe."""

    event_id: Id
    conversation_id: Id
    tenant_id: Id
    canary: Any = None


class _CloudEventOfIds(Struct, frozen=True):
    data: EventIds


class _OfTenant(Struct, frozen=True):
    tenant_id: Id = ""


class _CloudEventOfTenant(Struct, frozen=True):
    data: _OfTenant = _OfTenant()


_TENANT_JSON = msgspec.json.Decoder(_OfTenant)
_TENANT_MSGPACK = msgspec.msgpack.Decoder(_OfTenant)
_TENANT_CLOUD_EVENT = msgspec.json.Decoder(_CloudEventOfTenant)
_IDS_JSON = msgspec.json.Decoder(EventIds)
_IDS_MSGPACK = msgspec.msgpack.Decoder(EventIds)
_IDS_CLOUD_EVENT = msgspec.json.Decoder(_CloudEventOfIds)
_EVENT_JSON = msgspec.json.Decoder(ConversationEvent)
_EVENT_MSGPACK = msgspec.msgpack.Decoder(ConversationEvent)
_ANY_JSON = msgspec.json.Decoder(Any)
_ANY_MSGPACK = msgspec.msgpack.Decoder(Any)
_STATE_JSON = msgspec.json.Decoder(dict[str, Any])
_STATE_MSGPACK = msgspec.msgpack.Decoder(dict[str, Any])
_CLOUD_EVENT = msgspec.json.Decoder(_CloudEvent)
_CANONICAL = msgspec.json.Encoder(order="sorted")
_JSON = msgspec.json.Encoder(order="deterministic")
_MSGPACK = msgspec.msgpack.Encoder(order="deterministic")

_T = TypeVar("_T")
_Decoder = msgspec.json.Decoder[_T] | msgspec.msgpack.Decoder[_T]

RESPELT_MAX = 16
"""Numbers and nulls in one event that are put right; with more of them it is no event."""

OPTIONAL_OBJECTS = (["user"], ["generation"])
"""The steps to objects of an event that may be left out; so may each of their fields."""


def canonical_json(obj: object) -> bytes:
    """Return the one spelling that is hashed and signed: sorted keys, no whitespace, UTF-8. A NaN becomes null."""
    return _CANONICAL.encode(obj)


def encode(value: Struct, wire: Wire = Wire.JSON) -> bytes:
    """Return a struct as it is written to a topic; the same value gives the same bytes.

    Raises UnicodeEncodeError on half a surrogate pair, which no decoder of this module lets in.
    """
    return _MSGPACK.encode(value) if wire is Wire.MSGPACK else _JSON.encode(value)


def decode_event(record: Record, limits: RecordLimits) -> ConversationEvent:
    """Return the event that a record of the input topic holds.

    Raises DeadLetter, and nothing else, with stage `decode`, the reason, and a detail free of user text.
    """
    if record.unreadable:
        raise _failure(DeadLetterReason.UNREADABLE, record.unreadable)
    value = _checked_value(record, limits)
    headers = last_headers(record.headers)
    wire, is_wrapped = _wire(headers.get(_CONTENT_TYPE))
    _check_version(_SCHEMA, headers.get(_SCHEMA), _EVENT_SCHEMA)
    _check_version(_SPECVERSION, headers.get(_SPECVERSION), CE_SPECVERSION)
    if wire is Wire.MSGPACK:
        event = _decoded(_EVENT_MSGPACK, _ANY_MSGPACK, _checked_depth(value, wire, limits))
    else:
        _check_utf8(value)
        _checked_depth(value, wire, limits)
        event = _decoded(_EVENT_JSON, _ANY_JSON, _unwrapped(value) if is_wrapped else value)
    if record.key != event.conversation_id.encode():
        raise _failure(DeadLetterReason.KEY_MISMATCH, "the record's key is not conversation_id")
    if (event.tenant_id == CANARY_TENANT) != (event.canary is not None):
        raise _failure(DeadLetterReason.RESERVED_TENANT, f"{CANARY_TENANT} and a canary's mark require each other")
    return event


def answerable_ids(record: Record, failure: DeadLetter) -> EventIds | None:
    """Return the ids of a record that `decode_event` refused with `failure`; None if it must not be answered.

    Only an `invalid` record is answered, whose key is the conversation id that it names, so that nobody can write
    into a conversation by naming it. One that claims to be a probe gets no answer.
    """
    if failure.reason is not DeadLetterReason.INVALID or not record.value:
        return None
    try:
        wire, is_wrapped = _wire(last_headers(record.headers).get(_CONTENT_TYPE))
        if wire is Wire.MSGPACK:
            ids = _decode(_IDS_MSGPACK, record.value)
        elif is_wrapped:
            ids = _decode(_IDS_CLOUD_EVENT, record.value).data
        else:
            ids = _decode(_IDS_JSON, record.value)
    except DeadLetter:
        return None
    is_probe = ids.canary is not None or ids.tenant_id == CANARY_TENANT
    return None if is_probe or record.key != ids.conversation_id.encode() else ids


def tenant_of(record: Record, limits: RecordLimits) -> str:
    """Return the tenant that a record of the input topic names, before it is decoded; empty if that cannot be told.

    Only the order of processing may depend on it: a record that names a tenant here may still be no event.
    """
    try:
        value = _checked_value(record, limits)
        wire, is_wrapped = _wire(last_headers(record.headers).get(_CONTENT_TYPE))
        if wire is Wire.MSGPACK:
            return _decode(_TENANT_MSGPACK, value).tenant_id
        if is_wrapped:
            return _decode(_TENANT_CLOUD_EVENT, value).data.tenant_id
        return _decode(_TENANT_JSON, value).tenant_id
    except DeadLetter:
        return ""


def state_wire(headers: Headers) -> Wire:
    """Return how the value of a record of the state topic is encoded. Raises ValueError if its schema is unknown."""
    stated = last_headers(headers)
    schema = header_text(stated.get(Header.SCHEMA))
    if schema != _STATE_SCHEMA:
        raise ValueError(f"{Header.SCHEMA.value}: known is {_STATE_SCHEMA}")
    is_packed = header_text(stated.get(Header.CONTENT_TYPE)) == CONTENT_TYPE_MSGPACK
    return Wire.MSGPACK if is_packed else Wire.JSON


def decode_state(value: bytes, wire: Wire) -> ConversationState:
    """Decode the state of a conversation. Raises ValueError, whose message holds nothing of the value."""
    try:
        return read_state((_STATE_MSGPACK if wire is Wire.MSGPACK else _STATE_JSON).decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # A ValidationError is a DecodeError too; only its message may name a field.
        detail = _without_input(str(error)) if isinstance(error, msgspec.DecodeError) else "a string is not UTF-8"
    except (AttributeError, TypeError, ValueError):
        detail = "a field has another shape"
    raise ValueError(detail)


def _failure(reason: DeadLetterReason, detail: str) -> DeadLetter:
    return DeadLetter(reason, StageName.DECODE.value, detail[:DETAIL_CHARACTERS_MAX])


def _checked_value(record: Record, limits: RecordLimits) -> bytes:
    if not record.value:
        raise _failure(DeadLetterReason.EMPTY_VALUE, "null" if record.value is None else "no bytes")
    if len(record.value) > limits.event_bytes_max:
        detail = f"{len(record.value)} bytes, at most {limits.event_bytes_max}"
        raise _failure(DeadLetterReason.TOO_LARGE, detail)
    if not record.key:
        raise _failure(DeadLetterReason.MISSING_KEY, "the key must be conversation_id")
    return record.value


@functools.lru_cache(maxsize=16)  # the senders to a topic use a few spellings
def _wire(header: bytes | None) -> tuple[Wire, bool]:
    """Return how a value of this content type is encoded, and whether a CloudEvent is wrapped around the event."""
    stated = header_text(header)
    essence = CONTENT_TYPE_JSON if stated is None else stated.partition(";")[0].strip().lower()
    if essence == CONTENT_TYPE_CLOUDEVENT:
        return Wire.JSON, True
    if essence == CONTENT_TYPE_JSON:
        return Wire.JSON, False
    if essence in _MSGPACK_TYPES:
        return Wire.MSGPACK, False
    known = ", ".join((CONTENT_TYPE_JSON, CONTENT_TYPE_MSGPACK, CONTENT_TYPE_CLOUDEVENT))
    raise _failure(DeadLetterReason.UNKNOWN_CONTENT_TYPE, f"{Header.CONTENT_TYPE.value}: known are {known}")


@functools.lru_cache(maxsize=16)  # as above
def _check_version(name: str, header: bytes | None, known: str) -> None:
    stated = header_text(header)
    if stated is not None and stated != known:
        raise _failure(DeadLetterReason.UNKNOWN_VERSION, f"{name}: known is {known}")


def _check_utf8(value: bytes) -> None:
    # msgspec skips unknown fields without looking at their bytes.
    try:
        value.decode()
    except UnicodeDecodeError as error:
        failure = _failure(DeadLetterReason.NOT_UTF8, f"byte {error.start}")
    else:
        return
    raise failure


def _checked_depth(value: bytes, wire: Wire, limits: RecordLimits) -> bytes:
    is_too_deep = is_msgpack_too_deep if wire is Wire.MSGPACK else is_json_too_deep
    if is_too_deep(value, limits.nesting_depth_max):
        raise _failure(DeadLetterReason.TOO_DEEP, f"nested deeper than {limits.nesting_depth_max}")
    return value


def _unwrapped(value: bytes) -> bytes:
    wrapped = _decode(_CLOUD_EVENT, value)
    if wrapped.specversion != CE_SPECVERSION:
        raise _failure(DeadLetterReason.UNKNOWN_VERSION, f"specversion: known is {CE_SPECVERSION}")
    if wrapped.datacontenttype.partition(";")[0].strip().lower() != CONTENT_TYPE_JSON:
        raise _failure(DeadLetterReason.UNKNOWN_CONTENT_TYPE, f"datacontenttype: known is {CONTENT_TYPE_JSON}")
    return bytes(wrapped.data)


def _decoded(decoder: _Decoder[ConversationEvent], untyped: _Decoder[Any], value: bytes) -> ConversationEvent:
    """Return an event; if its types do not fit, with the spellings that mean the same put right (`_respell`).

    `decoder` stops at the first misfit, so `untyped` is the first to read what stands behind it. Raises DeadLetter.
    """
    try:
        return _decode(decoder, value)
    except DeadLetter as exc:
        if exc.reason is not DeadLetterReason.INVALID or _RESPELLABLE.search(exc.detail) is None:
            raise
        failure = exc
    parsed = _decode(untyped, value)
    for _ in range(RESPELT_MAX):
        if not _respell(parsed, failure.detail):
            break
        try:
            return msgspec.convert(parsed, ConversationEvent)
        except msgspec.ValidationError as error:
            failure = _failure(DeadLetterReason.INVALID, _without_input(str(error)))
    raise failure


def _respell(parsed: object, detail: str) -> bool:
    """Put one place of a document right, which `detail` names; return False if there is nothing to put right.

    JSON Schema takes 5.0 for an integer, and programs write null for an object that is not there, or in one that may be
    left out for a field that is not set.
    """
    path, _, expected = detail.partition(": ")
    *steps, last = [int(step) if step.isdigit() else step for step in _STEP.findall(path)]
    at: Any = parsed
    try:
        for step in steps:
            at = at[step]
        value = at[last]
    except (KeyError, IndexError, TypeError):
        return False
    if isinstance(value, float) and value.is_integer() and "`int" in expected:
        at[last] = int(value)
        return True
    is_optional = expected.startswith("Expected `object`") or steps in OPTIONAL_OBJECTS
    if value is None and is_optional and isinstance(at, dict):
        del at[last]
        return True
    return False


def _decode(decoder: _Decoder[_T], value: bytes) -> _T:
    # Raised outside the except block: the library's message may quote the value and must not become a context.
    try:
        return decoder.decode(value)
    except RecursionError:
        failure = _failure(DeadLetterReason.TOO_DEEP, "nested deeper than the decoder can read")
    except UnicodeDecodeError:
        failure = _failure(DeadLetterReason.NOT_UTF8, "a string is not UTF-8")
    except msgspec.ValidationError as error:
        failure = _failure(DeadLetterReason.INVALID, _without_input(str(error)))
    except msgspec.DecodeError as error:
        failure = _failure(DeadLetterReason.MALFORMED, _without_input(str(error)))
    raise failure


_RESPELLABLE = re.compile(r"`int.*got `float`|got `(null|None)`")
_STEP = re.compile(r"[A-Za-z_]\w*|\d+")
_PATH = re.compile(r" - at (?:`key` in )?`(\$[\w.\[\]]*)`$")
_QUOTE = re.compile(r"['\"]")


def _without_input(message: str) -> str:
    """Return a msgspec message as `path: expectation`, cut at the first quotation mark: input comes only after one."""
    path = _PATH.search(message)
    head = message[: path.start()] if path else message
    expected = _QUOTE.split(head, maxsplit=1)[0].rstrip()
    if path and expected == "Invalid enum value" and (names := _choices().get(path.group(1).rpartition(".")[2])):
        expected = "must be one of " + ", ".join(names)
    return f"{path.group(1)}: {expected}" if path else expected


@functools.lru_cache(maxsize=1)
def _choices() -> dict[str, list[str]]:
    """Return the values of each field of an event that has few of them, by the field's name."""
    _, components = msgspec.json.schema_components((ConversationEvent,))
    fields = {name: field for part in components.values() for name, field in part.get("properties", {}).items()}
    names = {name: str(field.get("$ref", "")).rpartition("/")[2] for name, field in fields.items()}
    return {
        name: sorted(components[part]["enum"]) for name, part in names.items() if "enum" in components.get(part, {})
    }
