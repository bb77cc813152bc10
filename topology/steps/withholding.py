"""Answers withheld: the policy's own words, and why, where no draft may leave or none was ever made."""

from msgspec import structs

from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action
from topology.contract.headers import last_header
from topology.contract.labels import LabelerIdentity, Mode, Plan, RequestLabels, SideEffect
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason, DraftSource, Header, StageName
from topology.decision import templates
from topology.steps.audit import Answer, audit_id
from topology.steps.case import Case, Decision

NOTHING_LABELLED = RequestLabels(labeler=LabelerIdentity(model="none", version=""))
"""What stands in where an event failed before its assessment: its request is still logged."""

NOTHING_PLANNED = Plan(mode=Mode.SAFE_COMPLETION, ceilings={})
"""What stands in where an event failed before it was planned: it is answered withheld."""

DUPLICATE_EVENT = "duplicate_event"
"""The reason code of an event that was answered before."""

PROCESSING = "processing"
"""The stage in a dead letter where nobody knows which it was."""


def withheld(case: Case, reason: ActionReason, code: str, failure: DeadLetter | None) -> Decision:
    """The policy's fallback text; with a dead letter for `failure`, with a review item where there is none."""
    plan = case.plan or NOTHING_PLANNED
    user = case.event.user
    text = templates.fallback(
        case.bundle, plan, kind="withheld", locale=user.locale, region=user.region, overlay=case.overlay
    )
    return Decision(
        action=Action.WITHHELD,
        answer=Answer(text=text, source=DraftSource.TEMPLATE, mode=plan.mode),
        reason=reason,
        reason_codes=(code,),
        side_effects=(SideEffect.HUMAN_REVIEW, SideEffect.ALARM) if failure is None else (),
        failure=failure,
    )


def first_answer_of(case: Case) -> str:
    """Return the audit id of the event's first answer where this is a second copy of it; empty for any other event.

    A copy that was replayed on purpose is answered again, and so is the very same record, read once more.
    """
    event_id = case.event.event_id
    first = case.state.audit_id_of(event_id)
    if not first or first == audit_id(position_of(case.record), event_id):
        return ""
    return first if last_header(case.record.headers, Header.REPLAYED_FROM) is None else ""


def repeated(case: Case, first_audit_id: str) -> Decision:
    """The end of a second copy of an event: nobody need look, the first one was answered."""
    decision = withheld(case, ActionReason.DUPLICATE, DUPLICATE_EVENT, None)
    return structs.replace(decision, side_effects=(), duplicate_of=first_audit_id)


def poison(crash_count: int, *, decodes: bool) -> DeadLetter:
    """Why a record goes that was running in `crash_count` crashes; `decodes` false: its decoding was the last thing."""
    stage = PROCESSING if decodes else StageName.DECODE.value
    return DeadLetter(DeadLetterReason.POISON, stage, f"ran in {crash_count} processes when they crashed")
