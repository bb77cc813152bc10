"""Record headers. On reading, the last of several with one name wins; on writing, each name occurs once.

Reading never raises: a header that is not text counts as absent or as unknown, whichever is stricter.
"""

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from topology.contract.names import CONTENT_TYPE_JSON, CONTENT_TYPE_MSGPACK, SERVICE, Header, SchemaName
from topology.contract.records import Headers

SCHEMA_VERSION = 1
CE_SPECVERSION = "1.0"
TRACE_HEADERS = (Header.TRACEPARENT, Header.TRACESTATE, Header.BAGGAGE)

# Plain strings: on Python 3.11 reading a member's `value` is a call.
_CE_ID, _CE_TIME, _CE_SUBJECT = Header.CE_ID.value, Header.CE_TIME.value, Header.CE_SUBJECT.value
_TRACE_NAMES = tuple(name.value for name in TRACE_HEADERS)
_TRACEPARENT_NAME, _TRACESTATE_NAME, _BAGGAGE_NAME = _TRACE_NAMES

TRACESTATE_CHARACTERS_MAX = 512
BAGGAGE_CHARACTERS_MAX = 8192
"""The lengths that W3C requires to be passed on (Trace Context 3.3.1.5, Baggage 3.3.2); longer values are left out."""

# Any flag byte is accepted; a version after 00 may carry more behind another hyphen.
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]{0,200})?"
)
COPIED_HEADERS = {Header.CORRELATION_ID: 256, Header.REQUEST_DIGEST: 128}
"""The headers of an event that its answer repeats, with the most characters of each; a longer value is left out."""

_COPIED = {name.value: characters_max for name, characters_max in COPIED_HEADERS.items()}
_PRINTABLE = re.compile(r"[\x20-\x7e]*")


class Wire(StrEnum):
    """The encoding of a value."""

    JSON = "json"
    MSGPACK = "msgpack"


_CONTENT_TYPE = {Wire.JSON: CONTENT_TYPE_JSON, Wire.MSGPACK: CONTENT_TYPE_MSGPACK}


def last_header(headers: Headers, name: str) -> str | None:
    """Return the text of the last value of `name`, in any case; None if there is none or it is empty."""
    return header_text(last_headers(headers).get(name))


def last_headers(headers: Headers) -> dict[str, bytes]:
    """Return the last value of each name, by the name in lower case."""
    return {name.lower(): value for name, value in headers}


def header_text(value: bytes | None) -> str | None:
    """Return a header's value as text; None if there is none or it is empty.

    Bytes that are not UTF-8 come out as U+FFFD, which no known value contains.
    """
    return value.decode("utf-8", "replace").strip() or None if value else None


def trace_carrier(headers: Headers) -> dict[str, str]:
    """Return the W3C trace context of a record, ready to be extracted or to be sent on as HTTP headers.

    Of several values the last valid one counts. Without a valid `traceparent` there is no `tracestate`. A value that is
    too long, or holds anything but printable ASCII, is left out, so that none can break a header line.
    """
    carrier: dict[str, str] = {}
    found = _trace_values(headers)
    for value in found.get(_TRACEPARENT_NAME, ()):
        if _TRACEPARENT.fullmatch(value) and (len(value) == 55 or not value.startswith("00-")):
            carrier[_TRACEPARENT_NAME] = value
            break
    bounds = ((_TRACESTATE_NAME, TRACESTATE_CHARACTERS_MAX), (_BAGGAGE_NAME, BAGGAGE_CHARACTERS_MAX))
    for name, characters_max in bounds if carrier else bounds[1:]:
        for value in found.get(name, ()):
            if 0 < len(value) <= characters_max and _PRINTABLE.fullmatch(value):
                carrier[name] = value
                break
    return carrier


def copied_headers(headers: Headers) -> Headers:
    """Return the headers of an event that its answer repeats: the last value of each, as long as it is fit to be sent.

    A value that is empty, too long, or anything but printable ASCII is left out, as if it were not there.
    """
    found: dict[str, bytes] = {}
    for name, value in headers:
        if (known := name.lower()) in _COPIED:
            found[known] = value
    return tuple([(name, value) for name, value in found.items() if _is_fit(value, _COPIED[name])])


def _is_fit(value: bytes | None, characters_max: int) -> bool:
    return bool(value) and len(value) <= characters_max and all(0x20 <= byte <= 0x7E for byte in value)


def response_headers(
    schema: SchemaName,
    wire: Wire,
    *,
    ce_id: str,
    subject: str,
    time_ms: int,
    source: str = f"/{SERVICE}",
    trace: Headers = (),
) -> Headers:
    """Return the headers of an output record: content type, schema, CloudEvents attributes, trace context.

    `ce_id` with `source` identifies the record for ever (use the audit id), `subject` is the conversation id,
    `time_ms` is Unix epoch milliseconds. `trace` is from `trace_headers`.
    """
    before, after = _same_for_all(schema, wire, source)
    return (
        *before,
        (_CE_ID, ce_id.encode("utf-8", "replace")),
        *after,
        (_CE_TIME, _rfc3339(time_ms)),
        (_CE_SUBJECT, subject.encode("utf-8", "replace")),
        *trace,
    )


@functools.cache  # a handful: schemas, encodings, and one source
def _same_for_all(schema: SchemaName, wire: Wire, source: str) -> tuple[Headers, Headers]:
    """Return the headers that all records of a schema share: those before the id and those after it."""
    before = {
        Header.CONTENT_TYPE: _CONTENT_TYPE[wire],
        Header.SCHEMA: f"{schema.value}/{SCHEMA_VERSION}",
        Header.CE_SPECVERSION: CE_SPECVERSION,
    }
    after = {Header.CE_SOURCE: source, Header.CE_TYPE: ce_type(schema)}
    return _as_headers(before), _as_headers(after)


def _as_headers(written: Mapping[Header, str]) -> Headers:
    return tuple((name.value, value.encode("utf-8", "replace")) for name, value in written.items())


def trace_headers(carrier: Mapping[str, str]) -> Headers:
    """Return the W3C entries of a trace carrier as record headers."""
    return tuple([(name, carrier[name].encode("utf-8", "replace")) for name in _TRACE_NAMES if name in carrier])


def ce_type(schema: SchemaName) -> str:
    """Return the CloudEvents type of records of `schema`."""
    return f"{SERVICE}.{schema.value}.v{SCHEMA_VERSION}"


def _trace_values(headers: Headers) -> dict[str, list[str]]:
    """Return the values of each W3C name, the last one first."""
    found: dict[str, list[str]] = {}
    for name, value in reversed(headers):
        if value and (known := name.lower()) in _TRACE_NAMES:
            found.setdefault(known, []).append(value.decode("utf-8", "replace").strip())
    return found


@functools.lru_cache(maxsize=16)  # the records of one event, and of its neighbours, are made in the same millisecond
def _rfc3339(time_ms: int) -> bytes:
    text = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z").encode()
