"""The encoding of spans as an OTLP request: the same message as the SDK's encoder makes, in a fraction of its time.

The SDK builds a message object for every attribute. Here the bytes of an attribute are cached, because most attributes
are the same in every event (docs/adr/0017-hand-written-hot-paths.md). Field numbers: release 1.8 of
opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import Final

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status

REMEMBERED_MAX: Final = 4096
"""Attributes whose bytes are cached; the least recently used is dropped first."""
REMEMBERED_CHARACTERS_MAX: Final = 256
"""Longer texts are captured content and are encoded each time."""

_BYTES, _FIXED_64, _FIXED_32, _VARINT = 2, 1, 5, 0
"""Wire types."""
_KINDS: Final = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200
_IDS: Final = Struct(">BBQQBBQ")
_TIMES: Final = Struct("<BQBQ")
_FIXED: Final = Struct("<Q")
_DOUBLE: Final = Struct("<d")
_FLAGS: Final = Struct("<I")
_TRACE_ID, _SPAN_ID = 16, 8

Pairs = Mapping[str, object] | None


def encode_spans(spans: Sequence[ReadableSpan]) -> bytes:
    """Encode an ExportTraceServiceRequest. Raises TypeError for an attribute of a type that nothing here sets."""
    by_resource: dict[Resource, dict[InstrumentationScope | None, list[bytes]]] = {}
    groups: dict[tuple[int, int], list[bytes]] = {}
    for span in spans:
        resource, scope = span.resource, span.instrumentation_scope
        group = groups.get((id(resource), id(scope)))
        if group is None:  # only once per group: hashing a resource hashes its JSON
            group = by_resource.setdefault(resource, {}).setdefault(scope, [])
            groups[id(resource), id(scope)] = group
        group.append(_field(2, _span(span)))
    return b"".join(_field(1, _resource_spans(resource, scopes)) for resource, scopes in by_resource.items())


def _resource_spans(resource: Resource, scopes: Mapping[InstrumentationScope | None, list[bytes]]) -> bytes:
    parts = [_field(1, _attributes(1, resource.attributes))]
    for scope, spans in scopes.items():
        url = scope.schema_url if scope is not None else None
        parts.append(_field(2, _field(1, _scope(scope)) + b"".join(spans) + _text(3, url)))
    return b"".join(parts) + _text(3, resource.schema_url)


def _scope(scope: InstrumentationScope | None) -> bytes:
    if scope is None:
        return b""
    return _text(1, scope.name) + _text(2, scope.version) + _attributes(3, scope.attributes)


def _span(span: ReadableSpan) -> bytes:
    context = span.context
    assert context is not None
    parts = [
        _identity(1, context),
        _state(context),
        b"\x22\x08" + span.parent.span_id.to_bytes(_SPAN_ID, "big") if span.parent is not None else b"",
        _text(5, span.name),
        bytes((6 << 3 | _VARINT, _KINDS[span.kind])),
        _TIMES.pack(7 << 3 | _FIXED_64, span.start_time or 0, 8 << 3 | _FIXED_64, span.end_time or 0),
        _attributes(9, span.attributes),
        _count(10, span.dropped_attributes),
    ]
    for event in span.events:
        time = bytes((1 << 3 | _FIXED_64,)) + _FIXED.pack(event.timestamp)
        parts.append(_field(11, time + _text(2, event.name) + _attributes(3, event.attributes)))
    parts.append(_count(12, span.dropped_events))
    for link in span.links:
        flags = _remote_flags(6, link.context)
        parts.append(_field(13, _identity(1, link.context) + _attributes(4, link.attributes) + flags))
    parts += [_count(14, span.dropped_links), _field(15, _status(span.status)), _remote_flags(16, span.parent)]
    return b"".join(parts)


def _identity(number: int, context: SpanContext) -> bytes:
    """Encode trace id and span id, in consecutive fields from `number`."""
    trace_key, span_key = number << 3 | _BYTES, (number + 1) << 3 | _BYTES
    high, low = divmod(context.trace_id, 1 << 64)
    return _IDS.pack(trace_key, _TRACE_ID, high, low, span_key, _SPAN_ID, context.span_id)


def _state(context: SpanContext) -> bytes:
    return _text(3, ",".join(f"{key}={value}" for key, value in context.trace_state.items()))


def _remote_flags(number: int, context: SpanContext | None) -> bytes:
    is_remote = context is not None and context.is_remote
    return _key(number, _FIXED_32) + _FLAGS.pack(_HAS_IS_REMOTE | (_IS_REMOTE if is_remote else 0))


@lru_cache(REMEMBERED_MAX)
def _status(status: Status) -> bytes:
    code = status.status_code.value
    return _text(2, status.description) + (bytes((3 << 3 | _VARINT, code)) if code else b"")


def _attributes(number: int, pairs: Pairs) -> bytes:
    if not pairs:
        return b""
    if isinstance(pairs, MappingProxyType | BoundedAttributes):  # iterating over these takes longer than all the rest
        pairs = pairs.copy()
    return b"".join(
        [
            (_pair if isinstance(value, str) and len(value) > REMEMBERED_CHARACTERS_MAX else _remembered_pair)(
                number, name, value
            )
            for name, value in pairs.items()
        ]
    )


def _pair(number: int, name: str, value: object) -> bytes:
    return _field(number, _text(1, name) + _field(2, _value(value)))


_remembered_pair = lru_cache(REMEMBERED_MAX, typed=True)(_pair)


def _value(value: object) -> bytes:
    match value:
        case str():
            return _field(1, value.encode("utf-8", "replace"))
        case bool():
            return bytes((2 << 3 | _VARINT, value))
        case int():
            return bytes((3 << 3 | _VARINT,)) + _varint(value & (1 << 64) - 1)
        case float():
            return bytes((4 << 3 | _FIXED_64,)) + _DOUBLE.pack(value)
        case tuple():
            return _field(5, b"".join(_field(1, _value(item)) for item in _items(value)))
        case _:
            raise TypeError(f"cannot encode an attribute of type {type(value).__name__}")


def _items(values: Iterable[object]) -> Iterable[object]:
    return values


def _text(number: int, text: str | None) -> bytes:
    return _field(number, text.encode("utf-8", "replace")) if text else b""


def _count(number: int, count: int) -> bytes:
    return _key(number, _VARINT) + _varint(count) if count else b""


def _field(number: int, content: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(content)) + content


@lru_cache(64)
def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SINGLE[value]
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


_SINGLE: Final = [bytes((value,)) for value in range(0x80)]
