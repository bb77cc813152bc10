"""How an event ended, as HTTP: status, body, headers, and the chunks of a stream. Nothing here waits or asks."""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from topology.contract.events import parts_text
from workers.door.reasons import Answered, End, end_of, in_words
from workers.door.refusals import FAILED, INVALID, LIMITED, NEVER_AGAIN, Refusal, retry_after
from workers.door.requests import Asked

RETRY_WAIT_MAX_S: Final = 60.0
"""OpenAI's clients wait no longer than this before they try again, whatever they are told; so they are told not to."""

_HEADER_SAFE: Final = "@#:,~/"
EVENT_HEADER: Final = "x-sluicegate-event-id"


class Reply(Struct, frozen=True, kw_only=True):
    """A response of the door. `chunks` is set for a stream: the lines of server-sent events, in order."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    chunks: tuple[bytes, ...] = ()


def refused(refusal: Refusal, told: dict[str, object] | None = None, headers: dict[str, str] | None = None) -> Reply:
    """Return the reply of a refusal, in OpenAI's error form; `told` becomes its `sluicegate` object."""
    error = refusal.error if told is None else {**refusal.error, "sluicegate": told}
    return Reply(
        status=refusal.status,
        body=msgspec.json.encode({"error": error}),
        headers={**(headers or {}), **refusal.headers},
    )


def completed(answered: Answered, created_s: int, asked: Asked) -> Reply:
    """Return the reply to a chat completion request. Whoever reads the same response gets the same bytes."""
    end = end_of(answered)
    if end not in {End.LET_OUT, End.WITHHELD}:
        return _not_completed(answered, end)
    reason = finish_reason(answered, end)
    if asked.is_stream:
        chunks = tuple(_chunks(answered, created_s, asked, reason))
        return Reply(status=200, headers=_headers(answered), chunks=chunks)
    message = {"role": "assistant", "content": parts_text(answered.parts), "refusal": None}
    body = {
        **_named(answered, created_s, asked, "chat.completion"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": usage_of(answered),
        "sluicegate": told_of(answered),
    }
    return Reply(status=200, body=msgspec.json.encode(body), headers=_headers(answered))


def judged(answered: Answered, created_s: int) -> Reply:
    """Return the reply to a request that had an answer judged."""
    end = end_of(answered)
    if end not in {End.LET_OUT, End.WITHHELD}:
        return _not_completed(answered, end)
    body = {
        "id": f"check-{answered.audit_id}",
        "object": "sluicegate.check",
        "created": created_s,
        "passed": answered.action == "published",
        "text": parts_text(answered.parts),
        "sluicegate": told_of(answered),
    }
    return Reply(status=200, body=msgspec.json.encode(body), headers=_headers(answered))


def told_of(answered: Answered) -> dict[str, object]:
    """Return the `sluicegate` object: what was decided, in words, and where it can be looked up."""
    return {
        "event_id": answered.event_id,
        "conversation_id": answered.conversation_id,
        "action": answered.action,
        "mode": answered.mode,
        "reasons": [{"code": code, "words": in_words(code)} for code in answered.reason_codes],
        "audit_id": answered.audit_id,
        "policy": answered.policy_ref,
    }


def late(event_id: str) -> Reply:
    """Return the reply to a request whose time is over: its event may still be answered, and audited."""
    message = "no answer came before the deadline; the event may still be answered on Kafka"
    refusal = Refusal(504, "deadline", message, None, FAILED, {**NEVER_AGAIN, EVENT_HEADER: event_id})
    return refused(refusal, {"event_id": event_id, "action": None, "audit_id": None})


def already_answered(event_id: str, audit_id: str) -> Refusal:
    """Return the refusal of an id whose answer is no longer at hand."""
    message = f"this request was answered before, and its answer is no longer kept here: audit id {audit_id}"
    return Refusal(409, "already_answered", message, None, INVALID, {**NEVER_AGAIN, EVENT_HEADER: event_id})


def _not_completed(answered: Answered, end: End) -> Reply:
    words = "; ".join(in_words(code) for code in answered.reason_codes) or "no reason was given"
    wait_s = answered.retry_after_ms / 1000
    wait = {} if wait_s <= 0 else retry_after(wait_s)
    if wait_s > RETRY_WAIT_MAX_S:
        wait |= NEVER_AGAIN
    if end is End.LIMITED:
        refusal = Refusal(429, "rate_limited", words, None, LIMITED, wait)
    elif end is End.REJECTED:
        refusal = Refusal(400, "rejected", answered.detail or words)
    elif end is End.FAILED and wait:
        refusal = Refusal(503, "not_answered", words, None, FAILED, wait)
    elif end is End.FAILED:
        # A guard or a model that is down must not be asked three times as much.
        refusal = Refusal(504, "not_answered", words, None, FAILED, NEVER_AGAIN)
    elif end is End.REPEATED:
        refusal = already_answered(answered.event_id, answered.duplicate_of)
    else:
        refusal = Refusal(503, "client_gone", words, None, FAILED, retry_after(1))
    return refused(refusal, told_of(answered), _headers(answered))


def finish_reason(answered: Answered, end: End) -> str:
    """Return why an answer ends, as OpenAI has it."""
    if end is not End.LET_OUT:
        return "content_filter"
    return "length" if "truncated" in answered.reason_codes else "stop"


def _headers(answered: Answered) -> dict[str, str]:
    told = {
        EVENT_HEADER: answered.event_id,
        "x-sluicegate-audit-id": answered.audit_id,
        "x-sluicegate-action": answered.action,
        "x-sluicegate-mode": answered.mode,
        "x-sluicegate-reasons": ",".join(answered.reason_codes),
        "x-sluicegate-policy": answered.policy_ref,
    }
    # The policy's names may hold any character; a header may not.
    return {name: quote(value, safe=_HEADER_SAFE) for name, value in told.items()}


def usage_of(answered: Answered) -> dict[str, int]:
    """Return the tokens of an answer."""
    read, written = answered.usage.input_tokens, answered.usage.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _named(answered: Answered, created_s: int, asked: Asked, kind: str) -> dict[str, object]:
    return {"id": f"chatcmpl-{answered.audit_id}", "object": kind, "created": created_s, "model": asked.model}


def _chunks(answered: Answered, created_s: int, asked: Asked, reason: str) -> Iterator[bytes]:
    """Yield the whole answer as a stream: role, text, end, perhaps the usage, and the mark of the end."""
    named = _named(answered, created_s, asked, "chat.completion.chunk")
    if asked.with_usage:
        named["usage"] = None
    text = parts_text(answered.parts)
    for delta, finish in (({"role": "assistant", "content": ""}, None), ({"content": text}, None), ({}, reason)):
        body: dict[str, object] = {**named, "choices": [chunk_of(delta, finish)]}
        if finish is not None:
            body["sluicegate"] = told_of(answered)
        yield server_event(body)
    if asked.with_usage:
        yield server_event({**named, "choices": [], "usage": usage_of(answered)})
    yield b"data: [DONE]\n\n"


def chunk_of(delta: Mapping[str, object], finish: str | None) -> dict[str, object]:
    """Return the one choice of a chunk."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def server_event(body: Mapping[str, object]) -> bytes:
    """Return a chunk as a server-sent event."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
