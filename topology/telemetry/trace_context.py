"""W3C trace context for spans: contexts from carriers, and carriers from contexts."""

import hashlib
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from opentelemetry.trace import SpanContext, TraceFlags, TraceState, format_span_id, format_trace_id

from topology.contract.headers import trace_carrier
from topology.contract.names import Header
from topology.contract.records import Result

HASH_CHARACTERS: Final = 16
_TRACEPARENT: Final = Header.TRACEPARENT.value
_TRACEPARENT_BYTES: Final = 55
_UNSAMPLED: Final = b"-00"
_HEADER_SAFE: Final = re.compile(r"[A-Za-z0-9_.:~-]*")


def conversation_hash(conversation_id: str) -> str:
    """Return the name of a conversation in spans and logs: 16 hexadecimal digits of SHA-256, the same everywhere."""
    return hashlib.sha256(b"conversation:" + conversation_id.encode("utf-8", "replace")).hexdigest()[:HASH_CHARACTERS]


def carrier(context: SpanContext) -> dict[str, str]:
    """Return W3C `traceparent` and, if there is one, `tracestate`; nothing for an invalid context."""
    if not context.is_valid:
        return {}
    ids = f"{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}"
    headers = {Header.TRACEPARENT.value: f"00-{ids}-{context.trace_flags:02x}"}
    if context.trace_state:
        headers[Header.TRACESTATE.value] = context.trace_state.to_header()
    return headers


def span_context(headers: Mapping[str, str]) -> SpanContext | None:
    """Return the upstream span of a carrier, valid because `trace_carrier` made it; None if there is none."""
    parent = headers.get(Header.TRACEPARENT.value)
    if parent is None:
        return None
    state = headers.get(Header.TRACESTATE.value)
    return SpanContext(
        trace_id=int(parent[3:35], 16),
        span_id=int(parent[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(parent[53:55], 16)),
        trace_state=TraceState.from_header([state]) if state else None,
    )


def sent_context(result: Result) -> SpanContext | None:
    """Return the sampled context that a result's records carry; None if the event was not sampled."""
    for record in result.records:
        if record.headers and _is_left_out(*record.headers[-1]):
            continue
        context = span_context(trace_carrier(record.headers))
        if context is not None and context.trace_flags.sampled:
            return context
    return None


def _is_left_out(name: str, value: bytes) -> bool:
    """Return whether a record's last header is the `traceparent` of an unsampled event; most are."""
    return name == _TRACEPARENT and len(value) == _TRACEPARENT_BYTES and value.endswith(_UNSAMPLED)


def header_safe(text: str) -> str:
    """Return `text` as an HTTP header can hold it: percent-encoded unless it is plain ASCII."""
    return text if _HEADER_SAFE.fullmatch(text) else quote(text, safe=":~")
