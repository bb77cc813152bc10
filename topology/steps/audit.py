"""The audited response and the audit record of one event, and a review item if a person must look.

Pure assembly. The invariants between them are asserted here, at the only place where they are made.
"""

import hashlib
from collections.abc import Callable, Collection

from msgspec import Struct

from topology.contract.codec import canonical_json
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.events import (
    Action,
    Attempt,
    AuditedResponse,
    AuditRecord,
    ContentPart,
    ConversationEvent,
    GrantUse,
    LoggedText,
    Position,
    ReviewItem,
    TextPart,
    Usage,
    parts_text,
)
from topology.contract.labels import GuardRun, Mode, Plan, ReleasedText, RequestLabels, SideEffect, VerdictKind
from topology.contract.names import DraftSource
from topology.decision.plan import AGE_UNKNOWN

TextDigest = Callable[[str], str]
"""A keyed digest of a text, as `LoggedText.digest` spells it."""

DRAFT_SOURCES = frozenset({DraftSource.GENERATOR, DraftSource.CANDIDATE, DraftSource.REDACTION})
"""The sources of an answer that is a draft."""


TRUNCATED = "truncated"
"""The reason code of an answer that the model could not finish within its tokens."""


class Answer(Struct, frozen=True, kw_only=True):
    """The answer to be published. `mode` is the one that the reader is told.

    `parts` are the candidate's own if it is published unchanged; otherwise `text` is the only part.
    """

    text: str
    source: DraftSource
    mode: Mode
    parts: tuple[ContentPart, ...] = ()


class Processed(Struct, frozen=True, kw_only=True):
    """Everything that the pipeline knows of a decided event.

    `labels`, `plan` and `request` are None if the request could not be assessed or logged; then the action is
    `withheld`. `attempts` are in the order in which they were judged, the published one last. `usage` counts every
    draft, judged or not; None means the sum over `attempts`. `revisions_max` is the number of further drafts allowed.
    `finish_reason`, `retry_after_ms`, `detail` and `replaced` are as in the response, `released` and `released_over` as
    in the audit record.
    """

    event: ConversationEvent
    position: Position
    action: Action
    answer: Answer
    policy_ref: str
    overlay_ref: str = ""
    labels: RequestLabels | None = None
    plan: Plan | None = None
    request: LoggedText | None = None
    attempts: tuple[Attempt, ...] = ()
    reason_codes: tuple[str, ...] = ()
    side_effects: tuple[SideEffect, ...] = ()
    grants: tuple[GrantUse, ...] = ()
    guards: tuple[GuardRun, ...] = ()
    usage: Usage | None = None
    trace_id: str = ""
    state_before: ConversationState = EMPTY
    state_after: ConversationState = EMPTY
    revisions_max: int = 0
    prompt_hashes: dict[str, str] = {}
    duplicate_of: str = ""
    finish_reason: str = ""
    retry_after_ms: int = 0
    detail: str = ""
    replaced: bool = False
    released: tuple[ReleasedText, ...] = ()
    released_over: bool = False


def audit_id(position: Position, event_id: str) -> str:
    """Return the audit id of a record: the same one however often the record is processed, a UUID of version 8.

    It is SHA-256 over the canonical JSON of topic, partition, offset and event id, as RFC 9562 5.8 allows.
    """
    named = [position.topic, position.partition, position.offset, event_id]
    digest = bytearray(hashlib.sha256(b"sluicegate audit\0" + canonical_json(named)).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    spelt = digest.hex()
    return f"{spelt[:8]}-{spelt[8:12]}-{spelt[12:16]}-{spelt[16:20]}-{spelt[20:]}"


def assemble(done: Processed, digest: TextDigest) -> tuple[AuditedResponse, AuditRecord, ReviewItem | None]:
    """Return response, audit record and review item of one event; the item is None if no person has to look.

    `digest` is applied to the response's text. A person must look when the last verdict is `escalate`, or when
    `side_effects` asks for human review. Raises AssertionError if the parts contradict each other.
    """
    check_invariants(done)
    record_id = audit_id(done.position, done.event.event_id)
    side_effects, usage = all_side_effects(done), _usage(done)
    response = _response(done, record_id, usage)
    record = _record(done, record_id, digest(parts_text(response.parts)), side_effects, usage)
    item = _review_item(done, record_id, side_effects) if is_review_due(done, side_effects) else None
    return response, record, item


def is_review_due(done: Processed, side_effects: Collection[SideEffect]) -> bool:
    """Return whether a person must look at this event; `side_effects` are its `all_side_effects`."""
    escalated = bool(done.attempts) and done.attempts[-1].verdict.verdict is VerdictKind.ESCALATE
    return escalated or SideEffect.HUMAN_REVIEW in side_effects


def all_side_effects(done: Processed) -> tuple[SideEffect, ...]:
    """Return the side effects of the event, its plan and its verdicts, each once, in order of first mention."""
    named = list(done.side_effects)
    if done.plan is not None:
        named.extend(done.plan.side_effects)
    for attempt in done.attempts:
        named.extend(attempt.verdict.side_effects)
    return tuple(dict.fromkeys(named))


def check_invariants(done: Processed) -> None:
    """Raise AssertionError if an invariant is broken, which only a bug can do, under any policy."""
    last = done.attempts[-1].verdict.verdict if done.attempts else None
    is_rejected = done.answer.source is DraftSource.NONE
    assert (done.action is Action.REJECTED) == is_rejected, "rejected, but there is an answer, or the reverse"
    if is_rejected:
        assert not done.answer.text, "rejected, but with a text"
        assert not done.answer.parts, "rejected, but with parts"
        assert not done.attempts, "rejected, but a draft was judged"
        assert done.labels is None, "rejected, but its request has labels"
        return
    if done.answer.source is DraftSource.TEMPLATE:
        assert done.action not in {Action.PUBLISHED, Action.REDACTED}, "published, but the answer is a template"
        assert not done.answer.parts, "the answer is a template, but has parts of a draft"
        assert last is not VerdictKind.ESCALATE or done.action is Action.WITHHELD, "escalated, but not withheld"
        return
    assert done.answer.source in DRAFT_SOURCES, "the answer is neither a template nor a draft"
    assert done.action is not Action.WITHHELD, "withheld, but the answer is a draft"
    assert last is VerdictKind.PUBLISH, "the answer is a draft without the verdict publish"
    assert done.attempts[-1].source is done.answer.source, "the answer is not the draft that was judged last"
    assert done.labels is not None, "the answer is a draft, but its request has no labels"
    assert done.plan is not None, "the answer is a draft, but there is no plan"
    assert done.request is not None, "the answer is a draft, but its request was not logged"
    assert done.attempts[-1].draft is not None, "the answer is a draft that was not logged"
    is_redaction = done.answer.source is DraftSource.REDACTION
    assert (done.action is Action.REDACTED) == is_redaction, "redacted, but the answer is no redaction, or the reverse"


def _response(done: Processed, record_id: str, usage: Usage) -> AuditedResponse:
    return AuditedResponse(
        event_id=done.event.event_id,
        conversation_id=done.event.conversation_id,
        tenant_id=done.event.tenant_id,
        action=done.action,
        mode=done.answer.mode,
        parts=() if done.action is Action.REJECTED else _parts(done.answer),
        reason_codes=_told_reasons(done),
        policy_ref=done.policy_ref,
        audit_id=record_id,
        usage=usage,
        duplicate_of=done.duplicate_of,
        finish_reason=done.finish_reason,
        retry_after_ms=done.retry_after_ms,
        detail=done.detail,
        replaced=done.replaced,
    )


def _parts(answer: Answer) -> tuple[ContentPart, ...]:
    return answer.parts or (TextPart(text=well_formed(answer.text)),)


def _told_reasons(done: Processed) -> tuple[str, ...]:
    """Return the reasons of the action, and what else a reader must know of the answer.

    That is that the unknown age made the plan stricter, and that the text stops before its end.
    """
    told = list(done.reason_codes)
    if done.plan is not None and AGE_UNKNOWN in done.plan.reasons:
        told.append(AGE_UNKNOWN)
    if done.answer.source in DRAFT_SOURCES and done.finish_reason == "length":
        told.append(TRUNCATED)
    return tuple(told)


def _record(
    done: Processed, record_id: str, response_digest: str, side_effects: tuple[SideEffect, ...], usage: Usage
) -> AuditRecord:
    return AuditRecord(
        audit_id=record_id,
        event_id=done.event.event_id,
        conversation_id=done.event.conversation_id,
        tenant_id=done.event.tenant_id,
        position=done.position,
        policy_ref=done.policy_ref,
        overlay_ref=done.overlay_ref,
        action=done.action,
        reason_codes=done.reason_codes,
        labels=done.labels,
        plan=done.plan,
        request=done.request,
        attempts=done.attempts,
        response_digest=response_digest,
        grants=done.grants,
        guards=done.guards,
        side_effects=side_effects,
        usage=usage,
        trace_id=done.trace_id,
        duplicate_of=done.duplicate_of,
        state_before=done.state_before,
        state_after=done.state_after,
        age_band=done.event.user.age_band,
        age_verified=done.event.user.age_verified,
        revisions_max=done.revisions_max,
        prompt_hashes=done.prompt_hashes,
        canary="" if done.event.canary is None else done.event.canary.case,
        finish_reason=done.finish_reason,
        retry_after_ms=done.retry_after_ms,
        detail=done.detail,
        replaced=done.replaced,
        released=done.released,
        released_over=done.released_over,
    )


def _review_item(done: Processed, record_id: str, side_effects: tuple[SideEffect, ...]) -> ReviewItem:
    held = [
        attempt.draft
        for attempt in done.attempts
        if attempt.source is not DraftSource.TEMPLATE and attempt.draft is not None
    ]
    return ReviewItem(
        audit_id=record_id,
        event_id=done.event.event_id,
        conversation_id=done.event.conversation_id,
        tenant_id=done.event.tenant_id,
        reason_codes=done.reason_codes,
        side_effects=side_effects,
        draft=held[-1] if held else None,
        policy_ref=done.policy_ref,
    )


def _usage(done: Processed) -> Usage:
    if done.usage is not None:
        return done.usage
    spent = [attempt.usage for attempt in done.attempts]
    return Usage(
        input_tokens=sum([usage.input_tokens for usage in spent]),
        output_tokens=sum([usage.output_tokens for usage in spent]),
    )


def well_formed(text: str) -> str:
    """Return `text` with every half of a surrogate pair replaced: a model's output can be cut between the two."""
    return text.encode("utf-8", "replace").decode()
