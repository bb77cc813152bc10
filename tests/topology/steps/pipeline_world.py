"""What the pipeline's tests are written in: a pipeline on fakes, events, findings, and what a record ended as."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from serving.fakes import (
    FakeCheck,
    FakeConversationStates,
    FakeGenerator,
    FakeGrantVerifier,
    FakeLabeler,
    FakeTenantUses,
    clean_report,
)
from topology.contract.codec import RecordLimits, encode
from topology.contract.drafts import CheckReport
from topology.contract.events import (
    AuditedResponse,
    AuditRecord,
    Candidate,
    ConversationEvent,
    LoggedText,
    Message,
    ReviewItem,
    Role,
    TextPart,
    parts_text,
)
from topology.contract.labels import (
    CategoryId,
    Intent,
    LabelerIdentity,
    OutputFinding,
    Plan,
    RequestFinding,
    RequestLabels,
    VerdictKind,
)
from topology.contract.names import Topic
from topology.contract.records import OutRecord, Record, Result
from topology.pipeline import Bounds, Pipeline
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.ports import Check, CheckInput, Clock, Departures, ReleasesFactory
from topology.steps.canary import RequireGenuine, no_canaries
from topology.steps.case import Case
from topology.steps.drafting import Budget, Drafting
from topology.steps.limiting import Gate
from topology.steps.publishing import Routes
from topology.steps.remembering import Memory, StateBounds
from topology.streamed.answering import STREAMS, StreamBounds
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.process.clock import SystemClock

BUNDLE = packaged_bundle()
PROMPT_HASH = "ee" * 32
IDENTITY = LabelerIdentity(model="test", version="1")
REFUSED_HELP = "I cannot help with that part, but here is what is safe to know."


def logged(given: CheckInput) -> CheckReport:
    def entry(text: str) -> LoggedText:
        return LoggedText(redacted=f"<{len(text)} characters>", spans=(), digest="hmac")

    return CheckReport(check="logging", version="1", request_log=entry("request"), draft_log=entry(given.draft.text))


def finds(*findings: OutputFinding, once: bool = False, **flags: Any) -> Callable[[CheckInput], CheckReport]:
    """A classification that reports `findings`, only of the first draft where `once`."""

    def report(given: CheckInput) -> CheckReport:
        if once and given.attempt > 1:
            return clean_report("classification")(given)
        return CheckReport(check="classification", version="1", findings=findings, **flags)

    return report


def finding(category: str, harm: int, detail: int, **more: Any) -> OutputFinding:
    return OutputFinding(category=CategoryId(category), harm=harm, detail_lo=detail, detail_hi=detail, **more)


def labelled(category: str, harm: int, intent: Intent = Intent.DUAL_USE, asked: int = 3) -> RequestLabels:
    asked_for = RequestFinding(category=CategoryId(category), harm=harm, intent=intent, asked_detail=asked)
    return RequestLabels(labeler=IDENTITY, findings=(asked_for,))


class Bench:
    """A pipeline on fakes, and what came out of it."""

    def __init__(
        self,
        *,
        generator: FakeGenerator | None = None,
        labels: RequestLabels | None = None,
        labeler: FakeLabeler | None = None,
        checks: Sequence[Check] | None = None,
        classification: Callable[[CheckInput], CheckReport] | None = None,
        candidate_regenerate: bool = False,
        revisions_max: int = 2,
        policies: Policies | None = None,
        attempts_max: int = 10**6,
        deadline_s: float = 5,
        digest: Callable[[str], str] = lambda text: f"digest of {len(text)}",
        states: FakeConversationStates | None = None,
        clock: Clock | None = None,
        require_genuine: RequireGenuine = no_canaries,
        uses: FakeTenantUses | None = None,
        routes: Routes | None = None,
        departures: Departures | None = None,
        releases: ReleasesFactory | None = None,
        streams: StreamBounds = STREAMS,
    ) -> None:
        self.states, self.metrics = states, Instruments.none()
        self.generator = generator or FakeGenerator(lambda _: "A plain answer.")
        self.prompts, self.released = list[tuple[Plan, str]](), list[str]()
        drafting = Drafting(
            generator=self.generator,
            checks=checks or _checks(classification),
            compile_prompt=self._compile,
            prompt_hash=PROMPT_HASH,
            budget=_budget(candidate_regenerate, revisions_max, attempts_max),
            clock=SystemClock(),
            metrics=self.metrics,
            jitter=lambda: 0.5,
        )
        self.pipeline = Pipeline(
            policies=lambda: policies or Policies(BUNDLE),
            labeler=labeler or FakeLabeler(lambda _: labels or RequestLabels(labeler=IDENTITY)),
            drafting=drafting,
            grants=FakeGrantVerifier(),
            digest=digest,
            routes=routes or Routes(),
            bounds=_bounds(deadline_s, streams),
            tracing=Tracing.none(),
            metrics=self.metrics,
            clock=clock or SystemClock(),
            memory=None if states is None else Memory(states=states, bounds=StateBounds()),
            gate=Gate(require_genuine=require_genuine, uses=uses, departures=departures, releases=releases),
        )

    def _compile(self, case: Case, plan: Plan, feedback: str, released: str) -> tuple[Message, ...]:
        self.prompts.append((plan, feedback))
        self.released.append(released)
        begun = (Message(role=Role.ASSISTANT, parts=(TextPart(text=released),)),) if released else ()
        return (*case.event.messages, *begun, *begun)

    def answer(self, **changes: Any) -> "Ended":
        return Ended(self.process(record_of(event(**changes))))

    def process(self, record: Record) -> Result:
        result = asyncio.run(self.pipeline.process(record))
        if self.states is not None:
            self.states.finished(result)
        return result


def _checks(classification: Callable[[CheckInput], CheckReport] | None) -> Sequence[Check]:
    return FakeCheck("classification", classification), FakeCheck("bias"), FakeCheck("logging", logged)


def _bounds(deadline_s: float, streams: StreamBounds) -> Bounds:
    return Bounds(deadline_default_s=deadline_s, assess_timeout_s=0.2, records=RecordLimits(), streams=streams)


def _budget(candidate_regenerate: bool, revisions_max: int, attempts_max: int) -> Budget:
    return Budget(
        revisions_max=revisions_max,
        candidate_regenerate=candidate_regenerate,
        checks_timeout_s=0.2,
        attempts_max=attempts_max,
        backoff_initial_s=0.001,
        backoff_max_s=0.01,
    )


class Ended:
    """The records that one event ended as, decoded."""

    def __init__(self, result: Result) -> None:
        by_topic: dict[str, list[OutRecord]] = {}
        for record in result.records:
            by_topic.setdefault(record.topic, []).append(record)
        self.canaries = by_topic.get(Topic.CANARY, [])
        (response,), (audit,) = by_topic.get(Topic.AUDITED) or self.canaries, by_topic[Topic.AUDIT]
        self.response = msgspec.json.decode(response.value, type=AuditedResponse)
        self.audit = msgspec.json.decode(audit.value, type=AuditRecord)
        self.review = [msgspec.json.decode(one.value, type=ReviewItem) for one in by_topic.get(Topic.REVIEW, [])]
        self.letters = by_topic.get(Topic.DEAD_LETTERS, [])

    @property
    def text(self) -> str:
        return parts_text(self.response.parts)

    @property
    def verdicts(self) -> list[VerdictKind]:
        return [attempt.verdict.verdict for attempt in self.audit.attempts]


def event(**changes: Any) -> ConversationEvent:
    fields: dict[str, Any] = {
        "event_id": "e1",
        "conversation_id": "c1",
        "tenant_id": "t1",
        "messages": (Message(role=Role.USER, parts=(TextPart(text="a question"),)),),
    }
    return ConversationEvent(**{**fields, **changes})


def record_of(sent: ConversationEvent) -> Record:
    return Record(
        topic=Topic.EVENTS,
        partition=3,
        offset=17,
        timestamp_ms=1,
        key=sent.conversation_id.encode(),
        value=encode(sent),
    )


def candidate(text: str) -> Candidate:
    return Candidate(parts=(TextPart(text=text),), model="upstream")
