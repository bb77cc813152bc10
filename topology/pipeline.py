"""The path of one event: decode, assess, plan, draft and judge, publish. Start reading here.

    record ─► decode ─► assess ─► plan ─► drafting (generate ─► checks ─► judge, again within a budget) ─► result

`process` turns one record into everything that must become visible together with its offset: the response and the audit
record, with them a review item or a dead letter where there is cause, or the dead letter alone for what is no event.
"""

import asyncio
import logging
import types
from collections.abc import Callable, Generator
from dataclasses import dataclass

from msgspec import structs

from topology.contract.codec import RecordLimits, decode_event, encode
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.dead_letters import dead_letter
from topology.contract.drafts import Draft
from topology.contract.errors import CheckFailed, DeadLetter, DeadLetterReason
from topology.contract.events import Action, AuditedResponse, AuditRecord, CanaryMark, ConversationEvent, ReviewItem
from topology.contract.headers import Wire, last_header, response_headers, trace_headers
from topology.contract.labels import GuardRun, LabelerIdentity, Outcome, Plan, RequestLabels
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason, DraftSource, Header, SchemaName, StageName, Topic
from topology.contract.records import Headers, OutRecord, Record, Result
from topology.decision.ceilings import settled_age
from topology.decision.plan import plan as make_plan
from topology.decision.shadow import shadowed
from topology.policy.in_force import Policies
from topology.policy.overlays import grant_uses
from topology.ports import CheckInput, Clock, GrantVerifier, Labeler, Rest
from topology.steps import audit
from topology.steps.canary import RequireGenuine, is_as_expected, no_canaries
from topology.steps.case import Case, Decision, processed
from topology.steps.checking import note_stage
from topology.steps.drafting import Drafting
from topology.steps.remembering import Memory
from topology.steps.time_limit import TimeLimit
from topology.steps.withholding import NOTHING_PLANNED, poison, repeated, withheld
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing

logger = logging.getLogger("sluicegate.pipeline")

HELP_GIVEN = {
    Action.PUBLISHED: "full",
    Action.REDACTED: "partial",
    Action.SAFE_COMPLETED: "partial",
    Action.REFUSED: "refusal",
    Action.WITHHELD: "refusal",
}
"""How much of a request each action meets, for the metric of that name."""

NOTHING_LABELLED = RequestLabels(labeler=LabelerIdentity(model="none", version=""))
"""What stands in where an event failed before its assessment: its request is still logged."""


@dataclass(frozen=True, slots=True)
class Routes:
    """Topic names, and the form of values."""

    audited: str = Topic.AUDITED.value
    audit: str = Topic.AUDIT.value
    review: str = Topic.REVIEW.value
    canary: str = Topic.CANARY.value
    dead_letters: str = Topic.DEAD_LETTERS.value
    wire: Wire = Wire.JSON


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long an event may take when it names no deadline, how long its assessment may take, and record limits."""

    deadline_default_s: float
    assess_timeout_s: float
    records: RecordLimits


@types.coroutine
def _wait_for_others() -> Generator[None]:
    """Wait until the other events of this turn of the event loop have come as far.

    One step for many events in a row leaves the processor its code and data at hand: measured at 64 in flight, an event
    takes a tenth less time than with all of its steps in a row. As `asyncio.sleep(0)`, in one frame.
    """
    yield


class Pipeline:
    """Processes records; holds no state between them. `digest` is the keyed digest of a response's text.

    `policies` is asked once for every event: what it answers holds for all of that event, whatever follows it.
    """

    def __init__(
        self,
        *,
        policies: Callable[[], Policies],
        labeler: Labeler,
        drafting: Drafting,
        grants: GrantVerifier,
        digest: Callable[[str], str],
        routes: Routes,
        bounds: Bounds,
        tracing: Tracing,
        metrics: Instruments,
        clock: Clock,
        memory: Memory | None = None,
        require_genuine: RequireGenuine = no_canaries,
    ) -> None:
        self._policies = policies
        self._labeler = labeler
        self._drafting = drafting
        self._grants = grants
        self._digest = digest
        self._routes = routes
        self._bounds = bounds
        self._tracing = tracing
        self._metrics = metrics
        self._clock = clock
        self._memory = memory
        self._require_genuine = require_genuine

    async def process(self, record: Record, rest: Rest = asyncio.sleep) -> Result:
        """What `record` ends as; `rest` waits between tries. A failure is an answer `withheld`, and is counted.

        What it raises all the same, but for cancellation, is a bug in how answers are put together.
        """
        started_s = self._clock.monotonic_s()
        with self._tracing.event(record) as trace:
            try:
                event = self._decoded(record)
            except DeadLetter as exc:
                return self._bury(record, exc, trace)
            await _wait_for_others()
            case = self._open(record, event, trace, rest)
            decision = self._repeated(case) or await self._decide(case)
            await _wait_for_others()
            self._note(case, decision, started_s)
            return self._publish(case, decision)

    def decodes(self, record: Record) -> bool:
        """Whether `record` is an event. Nothing else is done with it."""
        try:
            self._decoded(record)
        except DeadLetter:
            return False
        return True

    def _decoded(self, record: Record) -> ConversationEvent:
        """Raises DeadLetter where it is no event, or a canary that the platform did not sign."""
        event = decode_event(record, self._bounds.records)
        if event.canary is not None:
            self._require_genuine(event, self._clock.now_ms())
        return event

    def quarantine(self, record: Record, crash_count: int, decodes: bool) -> Result:
        """What a record ends as that must not run again: a dead letter, and `withheld` where it can be answered.

        No guard, no redaction and no model sees it; `decodes` false: nor the decoder.
        """
        failure = poison(crash_count, decodes=decodes)
        started_s = self._clock.monotonic_s()
        with self._tracing.event(record) as trace:
            trace.failed(failure.reason.value)
            try:
                if decodes:
                    case = self._quarantined(record, trace)
                    decision = withheld(case, ActionReason.PROCESSING_FAILED, failure.reason.value, failure)
                    result = self._publish(case, decision)
                    self._note(case, decision, started_s)
                    return result
            except Exception as exc:
                # It is here because something breaks on it. Whatever that is, the record leaves, and with its reason.
                logger.exception("quarantined without an answer", extra={"error": type(exc).__name__})
            return self._bury(record, failure, trace)

    def _quarantined(self, record: Record, trace: EventTrace) -> Case:
        """Raises DeadLetter where it is no event."""
        event = self._decoded(record)
        policies = self._policies()
        trace.of_event(event, policies.bundle.ref)
        return Case(
            record=record,
            event=event,
            trace=trace,
            policies=policies,
            overlay=policies.overlay_of(event.tenant_id),
            deadline_s=self._clock.monotonic_s(),
            rest=asyncio.sleep,
        )

    def _open(self, record: Record, event: ConversationEvent, trace: EventTrace, rest: Rest) -> Case:
        now_ms = self._clock.now_ms()
        deadline_ms = event.deadline_ms
        if deadline_ms is None:
            deadline_ms = now_ms + int(self._bounds.deadline_default_s * 1000)
        policies = self._policies()
        overlay = policies.overlay_of(event.tenant_id)
        grants = (*grant_uses(overlay, now_ms), *self._grants.verify(event, now_ms))
        for use in grants:
            self._metrics.count(Metric.GRANTS, status=use.status)
        trace.of_event(event, policies.bundle.ref)
        return Case(
            record=record,
            event=event,
            trace=trace,
            policies=policies,
            overlay=overlay,
            deadline_s=self._clock.monotonic_s() + max(0.0, (deadline_ms - now_ms) / 1000),
            rest=rest,
            grants=grants,
            state=EMPTY if (memory := self._memory_of(event)) is None else memory.recall(record, event, now_ms),
        )

    def _memory_of(self, event: ConversationEvent) -> Memory | None:
        """Where the state of its conversation is kept; a canary has none, so that its every turn is its first."""
        return self._memory if event.canary is None else None

    def _repeated(self, case: Case) -> Decision | None:
        """What a second copy of an answered event ends as; None for any other event.

        A copy that was replayed on purpose is answered again, and so is the very same record, read once more.
        """
        event_id = case.event.event_id
        first = case.state.audit_id_of(event_id)
        if not first or first == audit.audit_id(position_of(case.record), event_id):
            return None
        if last_header(case.record.headers, Header.REPLAYED_FROM) is not None:
            return None
        self._metrics.count(Metric.DUPLICATES_SUPPRESSED)
        return repeated(case, first)

    async def _decide(self, case: Case) -> Decision:
        try:
            with TimeLimit(max(0.0, case.deadline_s - self._clock.monotonic_s())):
                case.labels = settled_age(await self._assess(case), case.event.user, case.state)
                case.plan = self._plan(case, case.labels)
                return await self._drafting.decide(case, case.plan)
        except TimeoutError:
            return await self._withhold(case, ActionReason.DEADLINE, "deadline", "the event's deadline passed")
        except CheckFailed as exc:
            # Without a plan it was the labeller that could not tell, and a person looks; else the generator refused.
            reason = ActionReason.GUARD_FAILED if case.plan is None else ActionReason.PROCESSING_FAILED
            return await self._withhold(case, reason, f"{exc.guard}_{exc.outcome.value}", exc.outcome.value)
        except Exception as exc:
            # A bug must not lose the event nor stop its partition: it is withheld, counted, and kept as a dead letter.
            logger.exception("processing failed", extra={"error": type(exc).__name__})
            case.trace.failed(type(exc).__name__)
            return await self._withhold(case, ActionReason.PROCESSING_FAILED, "processing_failed", type(exc).__name__)

    async def _assess(self, case: Case) -> RequestLabels:
        started_s = self._clock.monotonic_s()
        outcome, version = Outcome.OK, ""
        with case.trace.guard_input() as span:
            try:
                with TimeLimit(self._bounds.assess_timeout_s):
                    labels = await self._labeler.label(case.event, case.bundle)
            except TimeoutError as exc:
                outcome = Outcome.TIMEOUT
                raise CheckFailed(outcome, StageName.ASSESS.value, "no labels in time") from exc
            except CheckFailed as exc:
                outcome = exc.outcome
                raise CheckFailed(exc.outcome, StageName.ASSESS.value, exc.detail) from exc
            except Exception as exc:
                outcome = Outcome.CRASHED  # a labeller that raises could not tell
                raise CheckFailed(outcome, StageName.ASSESS.value, type(exc).__name__) from exc
            else:
                span.labels(labels)
                version = labels.labeler.version
                return labels
            finally:
                if outcome is not Outcome.OK:
                    span.failed(outcome.value)
                self._note_assessment(case, self._clock.monotonic_s() - started_s, outcome, version)

    def _note_assessment(self, case: Case, latency_s: float, outcome: Outcome, version: str) -> None:
        note_stage(self._metrics, StageName.ASSESS, latency_s, outcome)
        run = GuardRun(
            guard=StageName.ASSESS.value, version=version, outcome=outcome, latency_ms=round(latency_s * 1000, 3)
        )
        case.guards.append(run)

    def _plan(self, case: Case, labels: RequestLabels) -> Plan:
        plan = make_plan(
            case.bundle, labels, overlay=case.overlay, user=case.event.user, grants=case.granted, state=case.state
        )
        case.trace.planned(plan)
        return plan

    async def _withhold(self, case: Case, reason: ActionReason, code: str, detail: str) -> Decision:
        """The policy's fallback text: with a review item for a guard's failure, with a dead letter for any other."""
        if case.request_log is None:
            await self._log_request(case)
        is_guard = reason is ActionReason.GUARD_FAILED
        failure = None if is_guard else DeadLetter(DeadLetterReason.PROCESSING_FAILED, code, detail)
        return withheld(case, reason, code, failure)

    async def _log_request(self, case: Case) -> None:
        given = CheckInput(
            event=case.event,
            labels=case.labels or NOTHING_LABELLED,
            plan=case.plan or NOTHING_PLANNED,
            draft=Draft(text="", source=DraftSource.NONE),
            attempt=0,
            policy=case.bundle,
        )
        await self._drafting.log_request(case, given)

    def _bury(self, record: Record, failure: DeadLetter, trace: EventTrace) -> Result:
        self._metrics.count(Metric.DEAD_LETTERS, reason=failure.reason.value)
        trace.dead_lettered(failure)
        with trace.send(self._routes.dead_letters):  # the letter keeps the sender's own trace context
            letter = dead_letter(record, failure, self._bounds.records, {}, self._routes.dead_letters)
        return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=(letter,))

    def _publish(self, case: Case, decision: Decision) -> Result:
        memory = self._memory_of(case.event)
        case.state_after = case.state if memory is None else memory.fold(case, decision, self._clock.now_ms())
        response, record, item = audit.assemble(processed(case, decision), self._digest)
        candidates = case.policies.shadows if case.event.canary is None else ()
        record, shadows = shadowed(record, candidates, case.overlay)
        for version, outcome in shadows:
            self._metrics.count(Metric.SHADOW_DECISIONS, policy_version=version, outcome=outcome.value)
        routes, record_id = self._routes, response.audit_id
        answers = routes.audited if case.event.canary is None else routes.canary
        with case.trace.send(answers) as span:
            trace = trace_headers(span.headers)
            out = [
                self._out(case, answers, SchemaName.AUDITED_RESPONSE, response, record_id, trace),
                self._out(case, routes.audit, SchemaName.AUDIT_RECORD, record, record_id, trace),
            ]
            if item is not None:
                out.append(self._out(case, routes.review, SchemaName.REVIEW_ITEM, item, record_id, trace))
            if memory is not None and case.state_after is not case.state:
                state = self._out(case, memory.topic, SchemaName.CONVERSATION_STATE, case.state_after, record_id, trace)
                out.append(structs.replace(state, partition=case.record.partition))
            if decision.failure is not None:
                self._metrics.count(Metric.DEAD_LETTERS, reason=decision.failure.reason.value)
                out.append(dead_letter(case.record, decision.failure, self._bounds.records, {}, routes.dead_letters))
        source = case.record
        return Result(topic=source.topic, partition=source.partition, offset=source.offset, records=tuple(out))

    def _out(
        self,
        case: Case,
        topic: str,
        schema: SchemaName,
        value: AuditedResponse | AuditRecord | ReviewItem | ConversationState,
        record_id: str,
        trace: Headers,
    ) -> OutRecord:
        headers = response_headers(
            schema,
            self._routes.wire,
            ce_id=f"{record_id}/{schema}",
            subject=case.event.conversation_id,
            time_ms=self._clock.now_ms(),
            trace=trace,
        )
        return OutRecord(
            topic=topic,
            key=case.event.conversation_id.encode(),
            value=encode(value, self._routes.wire),
            headers=headers,
        )

    def _note(self, case: Case, decision: Decision, started_s: float) -> None:
        case.trace.decided(decision.action, decision.reason_codes)
        action = decision.action
        if case.event.canary is not None:
            self._note_canary(case.event.canary, action)
            return
        self._metrics.count(Metric.ACTIONS, action=action, reason=decision.reason)
        self._metrics.count(Metric.SAFE_COMPLETION, kind=HELP_GIVEN[decision.action])
        took_s = self._clock.monotonic_s() - started_s
        self._metrics.observe(Metric.PROCESSING_DURATION, took_s, case.trace.context, outcome=action)
        waited_ms = max(0, self._clock.now_ms() - case.record.timestamp_ms)
        self._metrics.observe(Metric.EVENT_DURATION, waited_ms / 1000, case.trace.context, outcome=action)

    def _note_canary(self, mark: CanaryMark, action: Action) -> None:
        """A probe counts as itself, not as traffic."""
        is_well = is_as_expected(mark, action)
        self._metrics.gauge_set(Metric.CANARY_RESULT, is_well, case=mark.case)
        if is_well:
            self._metrics.gauge_set(Metric.CANARY_LAST_SUCCESS, self._clock.now_ms() / 1000)
        else:
            logger.error("a canary did not end as it must", extra={"case": mark.case, "action": action.value})
