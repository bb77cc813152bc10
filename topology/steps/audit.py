"""What one event leaves behind: the audited response, the audit record, and a review item where a person must look.

Pure assembly. What must hold between them is asserted here, at the only place where they are made.
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
from topology.contract.labels import GuardRun, Mode, Plan, RequestLabels, SideEffect, VerdictKind
from topology.contract.names import DraftSource

TextDigest = Callable[[str], str]
"""A keyed digest of a text, as `LoggedText.digest` spells it."""

DRAFT_SOURCES = frozenset({DraftSource.GENERATOR, DraftSource.CANDIDATE, DraftSource.REDACTION})
"""Where a draft that leaves can have come from."""


class Answer(Struct, frozen=True, kw_only=True):
    """What is to be published. `mode` is what the reader is told.

    `parts` are the candidate's own where one was published as it came; otherwise `text` is the one part.
    """

    text: str
    source: DraftSource
    mode: Mode
    parts: tuple[ContentPart, ...] = ()


class Processed(Struct, frozen=True, kw_only=True):
    """Everything the pipeline knows of an event when it is done with it.

    `labels`, `plan` and `request` are None where the request could not be assessed or logged; then the action is
    `withheld`. `attempts` are in the order in which they were judged, the published one last. `usage` counts every
    draft, judged or not; None means the sum over `attempts`. `revisions_max` is how many more drafts were allowed.
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


def audit_id(position: Position, event_id: str) -> str:
    """The same id for the same record of the same topic, however often it is processed: a UUID of version 8.

    It is SHA-256 over the canonical JSON of topic, partition, offset and event id, as RFC 9562 5.8 allows.
    """
    named = [position.topic, position.partition, position.offset, event_id]
    digest = bytearray(hashlib.sha256(b"sluicegate audit\0" + canonical_json(named)).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    spelt = digest.hex()
    return f"{spelt[:8]}-{spelt[8:12]}-{spelt[12:16]}-{spelt[16:20]}-{spelt[20:]}"


def assemble(done: Processed, digest: TextDigest) -> tuple[AuditedResponse, AuditRecord, ReviewItem | None]:
    """Response, audit record and review item of one event; the item is None where no person need look.

    `digest` is applied to the response's text. A person must look when the last verdict is `escalate`, or when
    `side_effects` asks for human review. Raises AssertionError where the pieces contradict each other.
    """
    check_invariants(done)
    record_id = audit_id(done.position, done.event.event_id)
    side_effects, usage = all_side_effects(done), _usage(done)
    response = _response(done, record_id, usage)
    record = _record(done, record_id, digest(parts_text(response.parts)), side_effects, usage)
    item = _review_item(done, record_id, side_effects) if is_review_due(done, side_effects) else None
    return response, record, item


def is_review_due(done: Processed, side_effects: Collection[SideEffect]) -> bool:
    """Whether a person must look at this event, whose `all_side_effects` these are."""
    escalated = bool(done.attempts) and done.attempts[-1].verdict.verdict is VerdictKind.ESCALATE
    return escalated or SideEffect.HUMAN_REVIEW in side_effects


def all_side_effects(done: Processed) -> tuple[SideEffect, ...]:
    """Side effects of the event, its plan and its verdicts, each once, in order of first mention."""
    named = list(done.side_effects)
    if done.plan is not None:
        named.extend(done.plan.side_effects)
    for attempt in done.attempts:
        named.extend(attempt.verdict.side_effects)
    return tuple(dict.fromkeys(named))


def check_invariants(done: Processed) -> None:
    """What only a bug of ours could break, whatever the policy says. Raises AssertionError."""
    last = done.attempts[-1].verdict.verdict if done.attempts else None
    if done.answer.source is DraftSource.TEMPLATE:
        assert done.action not in {Action.PUBLISHED, Action.REDACTED}, "a template is not what the generator said"
        assert not done.answer.parts, "a template carries parts of a draft"
        assert last is not VerdictKind.ESCALATE or done.action is Action.WITHHELD, "escalated, yet not withheld"
        return
    assert done.answer.source in DRAFT_SOURCES, "an answer from nowhere"
    assert done.action is not Action.WITHHELD, "withheld, yet a draft leaves"
    assert last is VerdictKind.PUBLISH, "a draft leaves without the verdict publish"
    assert done.attempts[-1].source is done.answer.source, "another draft leaves than the one judged"
    assert done.labels is not None, "a draft leaves without labels"
    assert done.plan is not None, "a draft leaves without a plan"
    assert done.request is not None, "a draft leaves without a log of its request"
    assert done.attempts[-1].draft is not None, "a draft leaves without a log of itself"
    is_redaction = done.answer.source is DraftSource.REDACTION
    assert (done.action is Action.REDACTED) == is_redaction, "redacted is what redaction made"


def _response(done: Processed, record_id: str, usage: Usage) -> AuditedResponse:
    return AuditedResponse(
        event_id=done.event.event_id,
        conversation_id=done.event.conversation_id,
        tenant_id=done.event.tenant_id,
        action=done.action,
        mode=done.answer.mode,
        parts=done.answer.parts or (TextPart(text=_well_formed(done.answer.text)),),
        reason_codes=done.reason_codes,
        policy_ref=done.policy_ref,
        audit_id=record_id,
        usage=usage,
        duplicate_of=done.duplicate_of,
    )


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


def _well_formed(text: str) -> str:
    """`text` with every half of a surrogate pair replaced: a model can be cut between the two."""
    return text.encode("utf-8", "replace").decode()
