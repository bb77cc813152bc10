"""The names that someone outside reads: topics, headers, schemas, stages, reasons. They are spelt only here."""

from enum import StrEnum


class Topic(StrEnum):
    """The default topic names; settings may rename each."""

    EVENTS = "conversations.events"
    AUDITED = "conversations.audited"
    AUDIT = "sluicegate.audit"
    REVIEW = "sluicegate.review"
    STATE = "sluicegate.state"
    CANARY = "sluicegate.canary"
    USAGE = "sluicegate.usage"
    POLICY = "sluicegate.policy"
    STREAM = "conversations.stream"
    DEAD_LETTERS = "sluicegate.dlq"
    CANCEL = "sluicegate.cancel"


CANARY_TENANT = "sluicegate-canary"
"""The reserved tenant; an event that names it without the platform's signature is dead-lettered."""

CONTENT_TYPE_JSON = "application/json"
CONTENT_TYPE_MSGPACK = "application/msgpack"


class Header(StrEnum):
    """Kafka record headers."""

    CONTENT_TYPE = "content-type"
    SCHEMA = "sluicegate-schema"
    EVENT_ID = "sluicegate-event-id"
    REQUEST_DIGEST = "sluicegate-request-digest"
    CORRELATION_ID = "x-correlation-id"
    TRACEPARENT = "traceparent"
    TRACESTATE = "tracestate"
    BAGGAGE = "baggage"
    REASON = "x-reason"
    STAGE = "x-stage"
    DETAIL = "x-detail"
    ORIGINAL_TOPIC = "x-original-topic"
    ORIGINAL_PARTITION = "x-original-partition"
    ORIGINAL_OFFSET = "x-original-offset"
    ORIGINAL_TIMESTAMP = "x-original-timestamp"
    ORIGINAL_LENGTH = "x-original-length"
    ORIGINAL_SHA256 = "x-original-sha256"
    ORIGINAL_NULL = "x-original-null"
    ORIGINAL_HEADERS_DROPPED = "x-original-headers-dropped"
    SOURCE_TOPIC = "x-source-topic"
    SOURCE_PARTITION = "x-source-partition"
    SOURCE_OFFSET = "x-source-offset"
    SOURCE_TIMESTAMP = "x-source-timestamp"
    REDRIVEN = "x-redriven"
    REDRIVEN_FROM = "x-redriven-from"
    REPLAYED_FROM = "x-replayed-from"
    CE_ID = "ce_id"
    CE_SOURCE = "ce_source"
    CE_SPECVERSION = "ce_specversion"
    CE_TYPE = "ce_type"
    CE_TIME = "ce_time"
    CE_SUBJECT = "ce_subject"


class SchemaName(StrEnum):
    """Schema names as `sluicegate-schema` carries them, followed by `/<version>`."""

    CONVERSATION_EVENT = "conversation-event"
    AUDITED_RESPONSE = "audited-response"
    AUDIT_RECORD = "audit-record"
    REVIEW_ITEM = "review-item"
    CONVERSATION_STATE = "conversation-state"
    USAGE_RECORD = "usage-record"
    CANCELLATION = "cancellation"
    STREAM_RECORD = "stream-record"


class StageName(StrEnum):
    """Stages, as metrics, spans, audit records and dead letters spell them."""

    DECODE = "decode"
    ASSESS = "assess"
    CLASSIFICATION = "classification"
    BIAS = "bias"
    LOGGING = "logging"
    GUARD_LLM = "guard_llm"
    JUDGE = "judge"


SERVICE = "sluicegate"
LOGGER = "sluicegate"


class DraftSource(StrEnum):
    """The source of an answer's text; `template`: the policy's own words, `none`: there was no draft."""

    GENERATOR = "generator"
    CANDIDATE = "candidate"
    REDACTION = "redaction"
    TEMPLATE = "template"
    NONE = "none"


class OnBlocked(StrEnum):
    """What follows when an answer made upstream does not pass: the policy's own text, or a new answer of the model."""

    TEMPLATE = "template"
    REGENERATE = "regenerate"


class ActionReason(StrEnum):
    """The coarse reason for an action; the audit record has the reason codes."""

    VERDICT = "verdict"
    GUARD_FAILED = "guard_failed"
    ESCALATED = "escalated"
    DEADLINE = "deadline"
    OVERLOADED = "overloaded"
    """It waited for its turn until it could no longer be answered in time; the same event may be sent again."""
    PROCESSING_FAILED = "processing_failed"
    DUPLICATE = "duplicate"
    RATE_LIMITED = "rate_limited"
    UNSEEN = "unseen"
    """Its question is images alone, which are neither fetched nor judged."""
    CLIENT_GONE = "client_gone"
    """Nobody waited for its answer any more; the same event may be sent again."""
    INVALID = "invalid"
    """The record names its ids, but is no valid event; it is rejected."""


class ShadowOutcome(StrEnum):
    """A candidate policy's decision compared with the one taken; `failed`: the candidate raised an exception."""

    SAME = "same"
    LOOSER = "looser"
    STRICTER = "stricter"
    OTHER = "other"
    FAILED = "failed"


class CommitReason(StrEnum):
    """The reason why a transaction did not commit."""

    OWNERSHIP_LOST = "ownership_lost"
    FENCED = "fenced"
    DELIVERY = "delivery"
    TIMEOUT = "timeout"
    BROKER = "broker"


class LlmRole(StrEnum):
    """The role in which a language model was asked."""

    GENERATOR = "generator"
    JUDGE = "judge"
    LABELER = "labeler"
