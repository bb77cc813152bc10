"""A request and who asks, as the event that goes to Kafka."""

import uuid
from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from topology.contract.codec import RecordLimits, canonical_json, decode_event, encode
from topology.contract.errors import DeadLetter
from topology.contract.events import Candidate, ContentPart, ConversationEvent, Message, Role
from topology.contract.names import CONTENT_TYPE_JSON, Header, OnBlocked, SchemaName
from topology.contract.records import Headers, Record
from workers.door.asking import Question
from workers.door.callers import OVERRIDES, Caller, overrides_of, user_of
from workers.door.identity import Digests
from workers.door.refusals import Refusal, bad_field
from workers.door.requests import Asked

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
IDEMPOTENCY_CHARACTERS_MAX: Final = 256

_EVENT_HEADERS: Final = (
    (Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),
    (Header.SCHEMA.value, f"{SchemaName.CONVERSATION_EVENT.value}/1".encode()),
)


class Call(Struct, frozen=True, kw_only=True):
    """One HTTP request: its path, its body, and those of its headers that the door reads."""

    path: str
    body: bytes
    headers: Mapping[str, str]


def question_of(
    call: Call,
    asked: Asked,
    name: str,
    caller: Caller,
    digests: Digests,
    limits: RecordLimits,
    trace: Headers,
    *,
    streams: bool = False,
) -> Question:
    """Return the event of a request, to be sent. Raises Refusal for whatever a worker would not take.

    `trace` are the headers of its trace context. With `streams` a request for a stream is an event for one.
    """
    said = overrides_of(caller, call.headers)
    user = user_of(caller, said, asked.subject)
    event_id = _event_id(call, name, digests)
    overrides = {each: call.headers[each] for each in OVERRIDES if call.headers.get(each)}
    if asked.answer:
        conversation_id = digests.lone_conversation_id(event_id)
    elif said.conversation_id:
        conversation_id = said.conversation_id
    elif user.subject:
        conversation_id = digests.conversation_id(name, user.subject, _first_message(asked.messages))
    else:
        conversation_id = digests.lone_conversation_id(event_id)
    try:
        event = ConversationEvent(
            event_id=event_id,
            conversation_id=conversation_id,
            tenant_id=caller.tenant,
            messages=asked.messages,
            candidate=_only_judged(asked.answer),
            user=user,
            generation=asked.generation,
            stream=streams and asked.is_stream,
        )
    except ValueError as exc:  # its text holds counts alone
        raise bad_field("messages", str(exc)) from None
    digest = digests.request(name, call.path, call.body, overrides)
    headers = (*_EVENT_HEADERS, (Header.REQUEST_DIGEST.value, digest.encode()), *trace)
    _require_decodable(event, headers, limits)
    return Question(
        event=(caller.tenant, event_id),
        conversation_id=conversation_id,
        digest=digest,
        value=lambda deadline_ms: encode(replace(event, deadline_ms=deadline_ms)),
        headers=headers,
    )


def _only_judged(answer: tuple[ContentPart, ...]) -> Candidate | None:
    """Return an answer that is judged and no more; None if there is none to be judged."""
    return Candidate(parts=answer, on_blocked=OnBlocked.TEMPLATE, is_turn=False) if answer else None


def _event_id(call: Call, name: str, digests: Digests) -> str:
    """Return the event id: of the request's own key if it has one, else one that no other request can have."""
    key = call.headers.get(IDEMPOTENCY_HEADER, "")
    if not key:
        return f"door-{uuid.uuid4()}"
    if len(key) > IDEMPOTENCY_CHARACTERS_MAX or not key.isascii() or not key.isprintable():
        raise bad_field(IDEMPOTENCY_HEADER, f"at most {IDEMPOTENCY_CHARACTERS_MAX} printable ASCII characters")
    return digests.event_id(name, key)


def _first_message(messages: tuple[Message, ...]) -> bytes:
    """Return the first message of the user in one spelling; an empty one if there is none."""
    first = next((message for message in messages if message.role is Role.USER), None)
    return b"" if first is None else canonical_json(first.parts)


def _require_decodable(event: ConversationEvent, headers: Headers, limits: RecordLimits) -> None:
    """Raise Refusal for an event that would end as a dead letter: too long, too large, or out of some bound."""
    try:
        value = encode(event)
    except UnicodeEncodeError:
        raise Refusal(400, "invalid_value", "a text is not valid Unicode", "messages") from None
    key = event.conversation_id.encode()
    record = Record(topic="", partition=0, offset=0, timestamp_ms=0, key=key, value=value, headers=headers)
    try:
        decode_event(record, limits)
    except DeadLetter as exc:
        refusal = Refusal(400, "invalid_value", f"{exc.reason.value}: {exc.detail}", "messages")
    else:
        return
    raise refusal
