"""One event on its way: what is known of it so far, and what was decided.

A case only grows. Whatever ends it, a verdict, a deadline or a failure, the audit record is made from what it holds.
"""

import asyncio
from dataclasses import dataclass, field

from msgspec import Struct

from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.errors import DeadLetter
from topology.contract.events import Action, Attempt, ConversationEvent, GrantUse, LoggedText
from topology.contract.labels import GuardRun, Plan, RequestLabels, SideEffect
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason
from topology.contract.records import Record
from topology.policy.bundle import PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.overlays import TenantOverlay
from topology.ports import Rest
from topology.steps.audit import Answer, Processed
from topology.telemetry.event_trace import EventTrace


@dataclass(slots=True)
class Case:
    """What is known of one event. `labels` and `plan` are None until the request was assessed and planned.

    `policies` were in force when it was opened. `rest` waits between tries. `revisions_max` is the budget that its
    drafts are judged under. `state` is the conversation's before this turn, `state_after` what it became.
    `prompt_hashes` has the prompt templates used, by role.
    """

    record: Record
    event: ConversationEvent
    trace: EventTrace
    policies: Policies
    overlay: TenantOverlay
    deadline_s: float
    rest: Rest = asyncio.sleep
    grants: tuple[GrantUse, ...] = ()
    labels: RequestLabels | None = None
    plan: Plan | None = None
    request_log: LoggedText | None = None
    attempts: list[Attempt] = field(default_factory=list[Attempt])
    guards: list[GuardRun] = field(default_factory=list[GuardRun])
    revisions_max: int = 0
    state: ConversationState = EMPTY
    state_after: ConversationState = EMPTY
    prompt_hashes: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def bundle(self) -> PolicyBundle:
        """The bundle that decides."""
        return self.policies.bundle

    @property
    def granted(self) -> frozenset[str]:
        """Names of the grants that hold."""
        return frozenset([use.grant for use in self.grants if use.status == "used"])


class Decision(Struct, frozen=True, kw_only=True):
    """What leaves and why. `failure` is set where the event also goes to the dead-letter topic.

    `duplicate_of` is the audit id of the event's first answer where this is a second copy of it.
    """

    action: Action
    answer: Answer
    reason: ActionReason
    reason_codes: tuple[str, ...]
    side_effects: tuple[SideEffect, ...] = ()
    failure: DeadLetter | None = None
    duplicate_of: str = ""


def processed(case: Case, decision: Decision) -> Processed:
    """A decided case in the form that the audit record is assembled from."""
    return Processed(
        event=case.event,
        position=position_of(case.record),
        action=decision.action,
        answer=decision.answer,
        policy_ref=case.bundle.ref,
        overlay_ref=case.overlay.ref,
        labels=case.labels,
        plan=case.plan,
        request=case.request_log,
        attempts=tuple(case.attempts),
        reason_codes=decision.reason_codes,
        side_effects=decision.side_effects,
        grants=case.grants,
        guards=tuple(case.guards),
        trace_id=case.trace.trace_id,
        revisions_max=case.revisions_max,
        state_before=case.state,
        state_after=case.state_after,
        duplicate_of=decision.duplicate_of,
        prompt_hashes=case.prompt_hashes,
    )
