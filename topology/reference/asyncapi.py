"""The AsyncAPI 3.0 document: every topic with its messages, and every header."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from topology.contract.headers import SCHEMA_VERSION
from topology.contract.names import CONTENT_TYPE_JSON, Header, SchemaName, Topic

KAFKA_BINDING = "0.5.0"
SCHEMA_FORMAT = "application/schema+json;version=2020-12"

_COMMON = (
    Header.CONTENT_TYPE,
    Header.SCHEMA,
    Header.TRACEPARENT,
    Header.TRACESTATE,
    Header.BAGGAGE,
    Header.CE_ID,
    Header.CE_SOURCE,
    Header.CE_SPECVERSION,
    Header.CE_TYPE,
    Header.CE_TIME,
    Header.CE_SUBJECT,
)
_DEAD_LETTER = (
    Header.REASON,
    Header.STAGE,
    Header.DETAIL,
    Header.ORIGINAL_TOPIC,
    Header.ORIGINAL_PARTITION,
    Header.ORIGINAL_OFFSET,
    Header.ORIGINAL_TIMESTAMP,
    Header.ORIGINAL_LENGTH,
    Header.ORIGINAL_SHA256,
    Header.SOURCE_TOPIC,
    Header.SOURCE_PARTITION,
    Header.SOURCE_OFFSET,
    Header.SOURCE_TIMESTAMP,
    Header.ORIGINAL_NULL,
    Header.ORIGINAL_HEADERS_DROPPED,
    Header.REDRIVEN,
    Header.REDRIVEN_FROM,
    Header.REPLAYED_FROM,
)
_SOMETIMES = frozenset(
    {
        Header.ORIGINAL_NULL,
        Header.ORIGINAL_HEADERS_DROPPED,
        Header.REDRIVEN,
        Header.REDRIVEN_FROM,
        Header.REPLAYED_FROM,
    }
)
"""The headers that only some dead letters carry."""

_ALWAYS_WRITTEN = (
    Header.CONTENT_TYPE,
    Header.SCHEMA,
    Header.CE_SOURCE,
    Header.CE_SPECVERSION,
    Header.CE_TYPE,
    Header.CE_TIME,
    Header.CE_SUBJECT,
)

_REQUIRED: Mapping[SchemaName, tuple[Header, ...]] = {
    SchemaName.CONVERSATION_EVENT: (),
    SchemaName.CANCELLATION: (Header.CONTENT_TYPE, Header.SCHEMA),
}
"""The headers that are required of what is not written by workers."""

_COPIED = (Header.CORRELATION_ID, Header.REQUEST_DIGEST)

HEADER_TEXTS = {
    Header.CONTENT_TYPE: "How the value is written: application/json, application/msgpack; on events also "
    "application/cloudevents+json. Absent means JSON.",
    Header.SCHEMA: "Schema name and version of the value. Absent means version 1.",
    Header.EVENT_ID: "The event id of the request that this answers.",
    Header.CORRELATION_ID: "The sender's, repeated on the answer: printable ASCII, at most 256 characters.",
    Header.REQUEST_DIGEST: "Of the request, repeated on the answer: printable ASCII, at most 128 characters.",
    Header.TRACEPARENT: "W3C trace context.",
    Header.TRACESTATE: "W3C trace context, at most 512 characters.",
    Header.BAGGAGE: "W3C baggage, at most 8192 characters.",
    Header.REASON: "Why this record is a dead letter.",
    Header.STAGE: "The stage that gave up on it.",
    Header.DETAIL: "A field's path and its bound, or the kind of failure; never user text. At most 512 characters.",
    Header.ORIGINAL_TOPIC: "Topic of the very first copy, as the record's own headers claim; else as x-source-topic.",
    Header.ORIGINAL_PARTITION: "Partition of the very first copy, decimal.",
    Header.ORIGINAL_OFFSET: "Offset of the very first copy, decimal.",
    Header.ORIGINAL_TIMESTAMP: "Time of the very first copy, Unix epoch milliseconds, decimal.",
    Header.ORIGINAL_LENGTH: "Bytes of the original value, decimal; more than the dead letter's own if that was cut.",
    Header.ORIGINAL_SHA256: "SHA-256 of the original value, hex.",
    Header.ORIGINAL_NULL: "1 if the original value was null.",
    Header.ORIGINAL_HEADERS_DROPPED: "Number of the original's headers that did not fit, decimal; absent if all did.",
    Header.SOURCE_TOPIC: "Topic that the record was read from.",
    Header.SOURCE_PARTITION: "Partition that the record was read from, decimal.",
    Header.SOURCE_OFFSET: "Offset that the record was read at, decimal.",
    Header.SOURCE_TIMESTAMP: "Time of the record that was read, Unix epoch milliseconds, decimal.",
    Header.REDRIVEN: "Number of times that the record was put back, decimal, as its own headers claim.",
    Header.REDRIVEN_FROM: "The dead letter that it was last put back from: topic:partition:offset.",
    Header.REPLAYED_FROM: "The record that this one is a replayed copy of: topic:partition:offset.",
    Header.CE_ID: "CloudEvents id, unique under its source.",
    Header.CE_SOURCE: "CloudEvents source.",
    Header.CE_SPECVERSION: "CloudEvents version: 1.0.",
    Header.CE_TYPE: "CloudEvents type, sluicegate.<schema>.v<version>.",
    Header.CE_TIME: "When the value was made, RFC 3339.",
    Header.CE_SUBJECT: "The conversation id; the tenant's id in a usage record.",
}


POLICY_PUBLICATION = "policy-publication"
DEAD_LETTER = "dead-letter"


class _Channel(Struct, frozen=True):
    """A topic, what it carries, and what a worker does with it, in words for each."""

    topic: Topic
    description: str
    message: str
    actions: Mapping[str, str]


_CHANNELS = (
    _Channel(
        Topic.EVENTS,
        "Requests for an answer. The record's key is the conversation id.",
        SchemaName.CONVERSATION_EVENT,
        {"receive": "Read the requests that chat services wrote."},
    ),
    _Channel(
        Topic.AUDITED,
        "Exactly one answer to every record that can be read as an event, and `rejected` for one that is invalid but "
        "names its ids. The exceptions end as a dead letter alone: an event whose answer or audit record is too "
        "large for its topic (`result_too_large`), and a record that keeps ending its worker before it is known to "
        "be an event (`poison`).",
        SchemaName.AUDITED_RESPONSE,
        {"send": "Answer an event."},
    ),
    _Channel(
        Topic.STREAM,
        "Segments of answers that are not whole yet, for events that ask by `stream: true`; docs/contract.md has the "
        "reader's rule. Only the answer itself ends a stream.",
        SchemaName.STREAM_RECORD,
        {
            "send": "Open a run of an event, or release a segment that was judged with everything before it.",
            "receive": "Read back what earlier runs of an event have released.",
        },
    ),
    _Channel(
        Topic.AUDIT,
        "One record for every answer, probes' included.",
        SchemaName.AUDIT_RECORD,
        {"send": "Write down how an event was decided."},
    ),
    _Channel(
        Topic.REVIEW,
        "Events that a person must look at.",
        SchemaName.REVIEW_ITEM,
        {"send": "Ask a person to look at an event."},
    ),
    _Channel(
        Topic.DEAD_LETTERS,
        "Records that could not be processed, as they were.",
        DEAD_LETTER,
        {"send": "Set a record aside."},
    ),
    _Channel(
        Topic.CANARY,
        "Answers to probes, which never appear among the answers to users.",
        SchemaName.AUDITED_RESPONSE,
        {"send": "Answer a probe."},
    ),
    _Channel(
        Topic.STATE,
        "The state of each conversation, compacted.",
        SchemaName.CONVERSATION_STATE,
        {
            "send": "Write down the state of a conversation after a turn.",
            "receive": "Read the states of a partition when a worker takes it over.",
        },
    ),
    _Channel(
        Topic.USAGE,
        "What each tenant used, by partition and day, compacted.",
        SchemaName.USAGE_RECORD,
        {
            "send": "Write down what a tenant used.",
            "receive": "Read what tenants used when a worker takes a partition over.",
        },
    ),
    _Channel(
        Topic.CANCEL,
        "Events whose answer nobody waits for any more; only doors write them. The partition's number is the one of "
        "the event's record.",
        SchemaName.CANCELLATION,
        {"receive": "End an event early, as `client_gone`, unless it is decided already."},
    ),
    _Channel(
        Topic.POLICY,
        "Signed policy bundles, overlays, shadows and budgets, compacted; read if `policy.source` is `topic`.",
        POLICY_PUBLICATION,
        {"receive": "Take a publication over, if its signature holds. `sluicegate policy publish` writes them."},
    ),
)

_KEYS: Mapping[str, str] = {
    SchemaName.CANCELLATION: "The event id.",
    SchemaName.STREAM_RECORD: "The audit id of the answer.",
    SchemaName.USAGE_RECORD: "<tenant>/<topic>/<partition>/<day_ms>.",
    POLICY_PUBLICATION: "<kind>/<id>/<issued_ms>/<first 12 hex digits of the content's SHA-256>.",
}
"""The keys that are no conversation id."""


def asyncapi_document() -> dict[str, object]:
    """Return the document; it refers to payloads as files beside it."""
    schemes = ("plain", "scramSha256", "scramSha512", "X509")
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in schemes]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sluicegate",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "Conversation events in, audited answers out. Topic names are the defaults.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE_JSON,
        "servers": {
            "plaintext": {"host": "localhost:9092", "protocol": "kafka"},
            "secure": {"host": "kafka.example:9093", "protocol": "kafka-secure", "security": security},
        },
        "channels": {_camel(channel.topic.name): _channel(channel) for channel in _CHANNELS},
        "operations": dict(_operation(channel, action) for channel in _CHANNELS for action in channel.actions),
        "components": {
            "messages": {
                **{name.value: _message(name) for name in SchemaName},
                POLICY_PUBLICATION: _publication(),
                DEAD_LETTER: _dead_letter(),
            },
            "securitySchemes": {name: {"type": name} for name in schemes},
        },
    }


def _channel(channel: _Channel) -> dict[str, object]:
    message = channel.message
    return {
        "address": channel.topic.value,
        "description": channel.description,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {"kafka": {"topic": channel.topic.value, "bindingVersion": KAFKA_BINDING}},
    }


def _operation(channel: _Channel, action: str) -> tuple[str, dict[str, object]]:
    at = f"#/channels/{_camel(channel.topic.name)}"
    return f"{action}{_camel(channel.topic.name, is_first_upper=True)}", {
        "action": action,
        "channel": {"$ref": at},
        "summary": channel.actions[action],
        "messages": [{"$ref": f"{at}/messages/{channel.message}"}],
    }


def _message(name: SchemaName) -> dict[str, object]:
    required = _REQUIRED.get(name, _ALWAYS_WRITTEN)
    also: tuple[Header, ...] = _COPIED if name is SchemaName.CONVERSATION_EVENT else ()
    if name is SchemaName.AUDITED_RESPONSE:
        also, required = (Header.EVENT_ID, *_COPIED), (*required, Header.EVENT_ID)
    return {
        "name": name.value,
        "contentType": CONTENT_TYPE_JSON,
        "headers": _headers((*_COMMON, *also), required),
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"./{name.value}.json"}},
        "bindings": _key(_KEYS.get(name, "The conversation id.")),
    }


def _publication() -> dict[str, object]:
    return {
        "name": POLICY_PUBLICATION,
        "contentType": CONTENT_TYPE_JSON,
        "headers": _headers((Header.CONTENT_TYPE,), ()),
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": f"./{POLICY_PUBLICATION}.json"}},
        "bindings": _key(_KEYS[POLICY_PUBLICATION]),
    }


def _dead_letter() -> dict[str, object]:
    required = tuple(header for header in _DEAD_LETTER if header not in _SOMETIMES)
    return {
        "name": DEAD_LETTER,
        "contentType": "application/octet-stream",
        "description": "The original bytes. The original's headers are kept as far as they fit.",
        "headers": _headers((*_COMMON, *_DEAD_LETTER), required),
        "bindings": _key("The original key."),
    }


def _headers(names: Iterable[Header], required: Iterable[Header]) -> dict[str, object]:
    properties = {name.value: {"type": "string", "description": HEADER_TEXTS[name]} for name in names}
    return {"type": "object", "properties": properties, "required": [name.value for name in required]}


def _key(description: str) -> dict[str, object]:
    return {"kafka": {"key": {"type": "string", "description": description}, "bindingVersion": KAFKA_BINDING}}


def _camel(name: str, *, is_first_upper: bool = False) -> str:
    words = name.lower().split("_")
    rest = "".join(word.capitalize() for word in words[1:])
    return (words[0].capitalize() if is_first_upper else words[0]) + rest
