"""Answers withheld: the policy's own words, and why, where no draft may leave or none was ever made."""

from msgspec import structs

from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action
from topology.contract.labels import Mode, Plan, SideEffect
from topology.contract.names import ActionReason, DraftSource, StageName
from topology.decision import templates
from topology.steps.audit import Answer
from topology.steps.case import Case, Decision

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


def repeated(case: Case, first_audit_id: str) -> Decision:
    """The end of a second copy of an event: nobody need look, the first one was answered."""
    decision = withheld(case, ActionReason.DUPLICATE, DUPLICATE_EVENT, None)
    return structs.replace(decision, side_effects=(), duplicate_of=first_audit_id)


def poison(crash_count: int, *, decodes: bool) -> DeadLetter:
    """Why a record goes that was running in `crash_count` crashes; `decodes` false: its decoding was the last thing."""
    stage = PROCESSING if decodes else StageName.DECODE.value
    return DeadLetter(DeadLetterReason.POISON, stage, f"ran in {crash_count} processes when they crashed")
