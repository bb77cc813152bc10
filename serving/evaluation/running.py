"""Guards at work on labelled rows: what they say of each, and what follows by plan, judge and conversation state.

Requests go through labeller and plan. Replies go through the checks and the judge, under the labels that are right for
their requests. Documents are read as a tool's result. The events of a conversation follow each other with the state
that a worker would keep, and their candidates are judged under the labels that the labeller gave. What a row says was
answered counts as published, unless it had a candidate for that answer, which did not leave.
"""

import time
from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct, structs

from serving.evaluation.expected import request_labels, user_of
from serving.evaluation.rows import Age, ConversationRow, DocumentRow, Message, ReplyRow, RequestRow
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import ConversationEvent, Role, TextPart
from topology.contract.events import Message as EventMessage
from topology.contract.labels import GuardRun, Mode, Outcome, OutputLabels, Plan, RequestLabels, VerdictKind
from topology.contract.names import DraftSource
from topology.decision.ceilings import settled_age
from topology.decision.judge import judge
from topology.decision.plan import CRISIS_LINE, plan
from topology.decision.reports import merge_reports
from topology.policy.bundle import Aspect, PolicyBundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput, Labeler
from topology.steps.remembering import StateBounds, Turn, folded, recalled
from topology.steps.taking_up import taken_up, with_asked, without_answer

NAME = "row"
REVISIONS_MAX = 2
CROSSINGS = {Aspect.FINDING, Aspect.LEAK, Aspect.UNFAIR}
TURN_MS = 60_000
"""The time between two events of a conversation."""

HELD = "held"
"""The remembered answer in place of a candidate that did not leave."""


class AnyCheck(Protocol):
    """A stage or a check, as one call."""

    async def check(self, given: CheckInput) -> CheckReport:
        """Return the report on one draft."""
        ...


class Guards(Struct, frozen=True, kw_only=True):
    """The guards to be measured, and the policy under which they judge."""

    labeler: Labeler
    checks: tuple[AnyCheck, ...]
    bundle: PolicyBundle


class Read(Struct, frozen=True, kw_only=True):
    """A request as the guards read it. `seconds` is the wall time of the labeller."""

    labels: RequestLabels
    made: Plan
    seconds: float = 0.0


class Judged(Struct, frozen=True, kw_only=True):
    """A reply as the guards read it, and the verdict. `seconds` is the wall time of all checks.

    `is_crossed`: something in it must not be said, whatever else it may lack.
    """

    out: OutputLabels
    verdict: VerdictKind
    is_crossed: bool = False
    reports: tuple[CheckReport, ...] = ()
    seconds: float = 0.0

    @property
    def is_held(self) -> bool:
        """Return whether the reply would not leave as it is."""
        return self.verdict is not VerdictKind.PUBLISH


class Turned(Struct, frozen=True, kw_only=True):
    """One event of a conversation: the request, and the candidate's verdict if it has one."""

    read: Read
    judged: Judged | None


async def read_request(guards: Guards, row: RequestRow) -> Read:
    """Return how the guards read a request. Raises CheckFailed if they cannot tell."""
    return await _read(guards, event_of(row.messages, row.age), EMPTY)


async def read_reply(guards: Guards, row: ReplyRow, read: Read | None = None, *, is_partial: bool = False) -> Judged:
    """Return the verdict on a reply, under the labels that are right for its request or as `read`."""
    event = event_of(row.messages, row.age)
    if read is None:
        labels = request_labels(row.request_expect)
        read = Read(labels=labels, made=plan(guards.bundle, labels, overlay=STRICTEST, user=event.user, grants=()))
    draft = Draft(text=row.reply, source=DraftSource.CANDIDATE, is_partial=is_partial)
    return await _judged(guards, event, read, draft, EMPTY)


async def read_prefix(guards: Guards, row: ReplyRow, end: int) -> Judged:
    """Return the verdict on the beginning of a reply."""
    return await read_reply(guards, structs.replace(row, reply=row.reply[:end]), is_partial=True)


async def read_document(guards: Guards, row: DocumentRow) -> Read:
    """Return how the guards read a document that a tool returned to a user who asked for a summary."""
    messages = (Message(role="user", text="Please sum this up for me."), Message(role="tool", text=row.text))
    return await _read(guards, event_of(messages, "adult"), EMPTY)


async def read_conversation(guards: Guards, row: ConversationRow) -> list[Turned]:
    """Return how the guards read each event of a conversation, with the state that the earlier ones left."""
    bounds, state, turned = StateBounds(), EMPTY, list[Turned]()
    for number, each in enumerate(row.events, 1):
        now_ms = number * TURN_MS
        before = recalled(state, NAME, guards.bundle.memory, now_ms, bounds.ttl_ms)
        event = event_of(each.messages, row.age)
        read = await _read(guards, event, before)
        judged = None
        if each.candidate is not None:
            draft = Draft(text=each.candidate, source=DraftSource.CANDIDATE)
            judged = await _judged(guards, event, read, draft, before)
        turned.append(Turned(read=read, judged=judged))
        state = folded(before, _turn(read, judged, each.candidate or ""), guards.bundle, now_ms, bounds)
    return turned


def event_of(messages: Sequence[Message], age: Age) -> ConversationEvent:
    """Return the event that carries these messages of a user of whom the chat service knows this age."""
    return ConversationEvent(
        event_id=NAME,
        conversation_id=NAME,
        tenant_id=NAME,
        messages=tuple(EventMessage(role=Role(each.role), parts=(TextPart(text=each.text),)) for each in messages),
        user=user_of(age),
    )


async def _read(guards: Guards, event: ConversationEvent, state: ConversationState) -> Read:
    started_s = time.perf_counter()
    said = await guards.labeler.label(event, guards.bundle)
    seconds = time.perf_counter() - started_s
    meant = taken_up(said, event, state, str) if state.answered else with_asked(without_answer(said), state)
    labels = settled_age(meant, event.user, state, is_statement_stronger=STRICTEST.heeds_stated_age)
    made = plan(guards.bundle, labels, overlay=STRICTEST, user=event.user, grants=(), state=state)
    return Read(labels=labels, made=made, seconds=seconds)


async def _judged(
    guards: Guards, event: ConversationEvent, read: Read, draft: Draft, state: ConversationState
) -> Judged:
    given = CheckInput(event=event, labels=read.labels, plan=read.made, draft=draft, attempt=1, policy=guards.bundle)
    started_s = time.perf_counter()
    reports = tuple([await check.check(given) for check in guards.checks])
    return structs.replace(under(guards.bundle, given, reports, state), seconds=time.perf_counter() - started_s)


def under(
    bundle: PolicyBundle, given: CheckInput, reports: tuple[CheckReport, ...], state: ConversationState = EMPTY
) -> Judged:
    """Return the verdict on a draft under its reports."""
    runs = [GuardRun(guard=each.check, version=each.version, outcome=Outcome.OK) for each in reports]
    out = merge_reports(reports, runs)
    verdict = judge(
        bundle,
        given.plan,
        given.labels,
        out,
        overlay=STRICTEST,
        user=given.event.user,
        grants=(),
        attempts=1,
        revisions_max=REVISIONS_MAX,
        state=state,
    )
    aspects = {row.aspect for row in bundle.rules if row.id in verdict.rule_ids}
    return Judged(out=out, verdict=verdict.verdict, is_crossed=not CROSSINGS.isdisjoint(aspects), reports=reports)


def _turn(read: Read, judged: Judged | None, candidate: str) -> Turn:
    """Return what an event adds to the state: a candidate counts if it left, else the plan's own answer."""
    left = judged.out if judged is not None and not judged.is_held else None
    named = read.made.must_include if left is None and read.made.mode is not Mode.DIRECT_ANSWER else ()
    if left is not None:
        named = left.obligations_present
    return Turn(
        tenant_id=NAME,
        labels=read.labels,
        plan=read.made,
        findings=() if left is None else left.findings,
        names_line=CRISIS_LINE in named,
        answered=HELD if judged is not None and judged.is_held else candidate,
    )
