"""One event on its way through the pipeline: the facts known so far, and the decision.

A case only grows. Whatever ends it, a verdict, a deadline or a failure, the audit record is made from its contents.
"""

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from msgspec import Struct

from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.errors import DeadLetter, RetryLater
from topology.contract.events import Action, Attempt, ConversationEvent, GrantUse, LoggedText, Usage
from topology.contract.labels import (
    CategoryId,
    GuardRun,
    OutputFinding,
    Plan,
    ReleasedText,
    RequestLabels,
    SideEffect,
)
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason
from topology.contract.records import Record
from topology.policy.bundle import PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.overlays import TenantOverlay
from topology.ports import Releases, Rest
from topology.steps.audit import Answer, Processed
from topology.telemetry.event_trace import EventTrace
from topology.tenants.admission import Admission

T = TypeVar("T")


class Unshared:
    """The `Rest` of an event that shares no permit with others."""

    async def __call__(self, seconds: float) -> None:
        """See `Rest`."""
        await asyncio.sleep(seconds)

    async def during(self, work: Awaitable[T]) -> T:
        """See `Rest.during`."""
        return await work


UNSHARED = Unshared()


@dataclass(slots=True)
class Streamed:
    """What has left of an answer before it is whole. `opening` ends with the text that earlier runs released.

    `shown` is the text that passed, and `pieces` are those of it, in order. `findings` are the strictest ones in what
    has left. `is_over`: a fault was found in it. `is_silenced`: nothing more may leave.
    """

    releases: Releases
    opening: asyncio.Future[str]
    shown: str = ""
    pieces: list[ReleasedText] = field(default_factory=list[ReleasedText])
    findings: dict[CategoryId, OutputFinding] = field(default_factory=dict[CategoryId, OutputFinding])
    is_over: bool = False
    is_silenced: bool = False


@dataclass(slots=True)
class Case:
    """The facts known of one event. `labels` and `plan` are None until the request has been assessed and planned.

    `policies` were in force when the case was opened. `rest` waits between tries. `revisions_max` is the budget under
    which its drafts are judged. `state` is the conversation's before this turn, `state_after` the one after it.
    `prompt_hashes` identifies the prompt templates used, by role. `usage` counts the tokens of all the model's answers,
    and `finish_reason` says why the last one ended. `trouble` is why the last try failed; None if it did not.
    `admission` is None if no budget was asked. `streamed` is None if the event is answered whole; `is_replaced`: its
    answer may not begin with what was streamed.
    """

    record: Record
    event: ConversationEvent
    trace: EventTrace
    policies: Policies
    overlay: TenantOverlay
    deadline_s: float
    rest: Rest = UNSHARED
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
    usage: Usage = field(default_factory=Usage)
    finish_reason: str = ""
    trouble: RetryLater | None = None
    admission: Admission | None = None
    streamed: Streamed | None = None
    is_replaced: bool = False

    @property
    def bundle(self) -> PolicyBundle:
        """Return the policy bundle that decides."""
        return self.policies.bundle

    @property
    def granted(self) -> frozenset[str]:
        """Return the names of the grants that hold."""
        return frozenset([use.grant for use in self.grants if use.status == "used"])

    @property
    def is_past_due(self) -> bool:
        """Return whether the event's deadline had passed when its record was written: no worker could be in time."""
        return self.event.deadline_ms is not None and self.event.deadline_ms <= self.record.timestamp_ms


class Decision(Struct, frozen=True, kw_only=True):
    """The action on an event, its answer, and the reasons. `failure` is set if a dead letter is to be written too.

    `duplicate_of` is the audit id of the event's first answer if this is a second copy of it. `retry_after_ms` is the
    time after which an event that was not admitted may be sent again; None for any other. `detail` is as in the
    response.
    """

    action: Action
    answer: Answer
    reason: ActionReason
    reason_codes: tuple[str, ...]
    side_effects: tuple[SideEffect, ...] = ()
    failure: DeadLetter | None = None
    duplicate_of: str = ""
    retry_after_ms: int = 0
    detail: str = ""


def processed(case: Case, decision: Decision) -> Processed:
    """Return a decided case in the form from which the audit record is assembled."""
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
        usage=case.usage,
        trace_id=case.trace.trace_id,
        revisions_max=case.revisions_max,
        state_before=case.state,
        state_after=case.state_after,
        duplicate_of=decision.duplicate_of,
        prompt_hashes=case.prompt_hashes,
        finish_reason=case.finish_reason,
        retry_after_ms=decision.retry_after_ms or _retry_after_ms(case, decision),
        detail=decision.detail,
        replaced=case.is_replaced,
        released=() if case.streamed is None else tuple(case.streamed.pieces),
        released_over=case.streamed is not None and case.streamed.is_over,
    )


def _retry_after_ms(case: Case, decision: Decision) -> int:
    """Return how long the model's server asked to be left alone, if the event was withheld for want of an answer."""
    if case.trouble is None or decision.action is not Action.WITHHELD:
        return 0
    return math.ceil(case.trouble.after_s * 1000)
