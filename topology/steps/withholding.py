"""Withheld answers: the policy's own text and the reason, if no draft may be published or none was ever made."""

from msgspec import structs

from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, ConversationEvent, ImagePart, Role
from topology.contract.headers import last_header
from topology.contract.labels import LabelerIdentity, Mode, Plan, RequestLabels, SideEffect
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason, DraftSource, Header, StageName
from topology.decision import templates
from topology.steps.audit import Answer, audit_id
from topology.steps.case import Case, Decision

NOTHING_LABELLED = RequestLabels(labeler=LabelerIdentity(model="none", version=""))
"""The labels of an event that failed before its assessment: its request is still logged."""

NOTHING_PLANNED = Plan(mode=Mode.SAFE_COMPLETION, ceilings={})
"""The plan of an event that failed before it was planned: its answer is withheld."""

DUPLICATE_EVENT = "duplicate_event"
"""The reason code of an event that was answered before."""

RATE_LIMITED = "rate_limited"
"""The reason code of an event that its tenant's budget did not admit."""

ONLY_IMAGES = "only_images"
"""The reason code of an event whose question is images alone, which nobody here sees."""

CLIENT_GONE = "client_gone"
"""The reason code of an event whose answer nobody waited for any more."""

PROCESSING = "processing"
"""The stage that a dead letter names if it is not known which one failed."""


PUBLISHING = "publishing"
"""The stage of a dead letter whose result could not be written."""


def withheld(case: Case, reason: ActionReason, code: str, failure: DeadLetter | None) -> Decision:
    """Return the policy's fallback text, with a dead letter for `failure`, or with a review item if that is None.

    If the deadline passed while the model could not answer, a second code says why it could not.
    """
    plan = case.plan or NOTHING_PLANNED
    user = case.event.user
    codes, trouble = (code,), case.trouble
    if reason is ActionReason.DEADLINE and trouble is not None:
        codes = (code, f"{trouble.backend}_{trouble.outcome.value}")
    text = templates.fallback(
        case.bundle, plan, kind="withheld", locale=user.locale, region=user.region, overlay=case.overlay
    )
    return Decision(
        action=Action.WITHHELD,
        answer=Answer(text=text, source=DraftSource.TEMPLATE, mode=plan.mode),
        reason=reason,
        reason_codes=codes,
        side_effects=(SideEffect.HUMAN_REVIEW, SideEffect.ALARM) if failure is None else (),
        failure=failure,
    )


def first_answer_of(case: Case) -> str:
    """Return the audit id of the event's first answer if this is a second copy of it; empty for any other event.

    A copy that was replayed on purpose is answered again, and so is the very same record, read once more.
    """
    event_id = case.event.event_id
    first = case.state.audit_id_of(event_id)
    if not first or first == audit_id(position_of(case.record), event_id):
        return ""
    return first if last_header(case.record.headers, Header.REPLAYED_FROM) is None else ""


def repeated(case: Case, first_audit_id: str) -> Decision:
    """Return the decision on a second copy of an event: no person has to look, because the first was answered."""
    decision = withheld(case, ActionReason.DUPLICATE, DUPLICATE_EVENT, None)
    return structs.replace(decision, side_effects=(), duplicate_of=first_audit_id)


def too_large(topic: str, size_bytes: int) -> DeadLetter:
    """Return the dead letter of a record whose result holds `size_bytes` bytes for `topic`, which are too many."""
    detail = f"a record of {size_bytes} bytes is too large for topic {topic}: raise its max.message.bytes"
    return DeadLetter(DeadLetterReason.RESULT_TOO_LARGE, PUBLISHING, detail)


def limited(case: Case, retry_after_ms: int) -> Decision:
    """Return the decision on an event that is over its tenant's budget: no guard has seen it, and no person has to."""
    decision = withheld(case, ActionReason.RATE_LIMITED, RATE_LIMITED, None)
    return structs.replace(decision, side_effects=(), retry_after_ms=retry_after_ms)


def is_only_images(event: ConversationEvent) -> bool:
    """Return whether the last message of the user consists of images alone: there is nothing to assess or answer."""
    asked = next((message for message in reversed(event.messages) if message.role is Role.USER), None)
    return asked is not None and all(isinstance(part, ImagePart) for part in asked.parts)


def unseen(case: Case) -> Decision:
    """Return the decision on an event whose question is images alone: no person has to look."""
    decision = withheld(case, ActionReason.UNSEEN, ONLY_IMAGES, None)
    return structs.replace(decision, side_effects=())


def abandoned(case: Case) -> Decision:
    """Return the decision on an event whose answer nobody waits for: nothing failed, and no person has to look."""
    decision = withheld(case, ActionReason.CLIENT_GONE, CLIENT_GONE, None)
    return structs.replace(decision, side_effects=())


def poison(crash_count: int, *, decodes: bool) -> DeadLetter:
    """Return the dead letter of a record that was being processed in `crash_count` crashes.

    `decodes` is false if the last crash happened while the record was being decoded.
    """
    stage = PROCESSING if decodes else StageName.DECODE.value
    return DeadLetter(DeadLetterReason.POISON, stage, f"ran in {crash_count} processes when they crashed")
