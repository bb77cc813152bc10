"""The path of one event: decode, assess, plan, draft and judge, publish. Start reading here.

    record ─► decode ─► assess ─► plan ─► drafting (generate ─► checks ─► judge, again within a budget) ─► result

`process` turns one record into everything that must become visible together with its offset: the response and the audit
record, and a review item or a dead letter if there is cause. A record that is no event becomes a dead letter, and is
answered `rejected` if it names its ids.
"""

import logging
import types
from collections.abc import Callable, Generator
from dataclasses import dataclass

from msgspec import structs

from topology.contract.codec import RecordLimits, answerable_ids, decode_event
from topology.contract.conversation import ConversationState
from topology.contract.errors import CheckFailed, DeadLetter, DeadLetterReason, TooLate
from topology.contract.events import ConversationEvent
from topology.contract.names import ActionReason
from topology.contract.records import Receipt, Record, Result
from topology.decision.plan import plan
from topology.load.gate import DEADLINE_S
from topology.policy.in_force import Policies
from topology.policy.overlays import grant_uses
from topology.ports import Clock, GrantVerifier, Labeler, Rest
from topology.steps.assessing import Assessing
from topology.steps.canary import is_spent, require_place
from topology.steps.case import UNSHARED, Case, Decision
from topology.steps.counting import Counting
from topology.steps.drafting import Drafting
from topology.steps.limiting import Gate, Limiting
from topology.steps.publishing import Publishing, Routes
from topology.steps.rejecting import nameless, rejected
from topology.steps.remembering import Memory
from topology.steps.time_limit import ClientGone, TimeLimit, UntilGone
from topology.steps.withholding import (
    abandoned,
    first_answer_of,
    is_only_images,
    poison,
    repeated,
    too_large,
    unseen,
    withheld,
)
from topology.streamed.answering import STREAMS, StreamBounds
from topology.streamed.streaming import Streaming
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing

logger = logging.getLogger("sluicegate.pipeline")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The time of an event that names no deadline, the time of its assessment, the limits of its record and stream."""

    deadline_default_s: float
    assess_timeout_s: float
    records: RecordLimits
    streams: StreamBounds = STREAMS


@types.coroutine
def _wait_for_others() -> Generator[None]:
    """Yield once, so that all ready events run this step before any of them runs the next.

    So a step's code and data stay in the processor's caches: measured at 64 events in flight, an event takes a tenth
    less time. It does what `asyncio.sleep(0)` does, in one frame.
    """
    yield


class Pipeline:
    """The steps of an event, in order; it holds no state between events.

    `policies` is asked once for every event: its answer holds for all of that event, whatever is in force later.
    `digest` is the keyed digest of a response's text.
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
        gate: Gate | None = None,
    ) -> None:
        gate = gate or Gate()
        self._policies = policies
        self._digest = digest
        self._assessing = Assessing(
            labeler=labeler, digest=digest, timeout_s=bounds.assess_timeout_s, clock=clock, metrics=metrics
        )
        self._drafting = drafting
        self._streaming = Streaming(drafting, gate.releases, bounds.streams, clock, metrics)
        self._grants = grants
        self._bounds = bounds
        self._publishing = Publishing(routes, digest, bounds.records, metrics, clock)
        self._counting = Counting(metrics, clock)
        self._limiting = Limiting(gate.uses, metrics)
        self._tracing = tracing
        self._metrics = metrics
        self._clock = clock
        self._memory = memory
        self._require_genuine = gate.require_genuine
        self._departures = gate.departures

    async def process(self, record: Record, rest: Rest = UNSHARED) -> Result:
        """Return the result of `record`; `rest` waits between tries. After a failure the answer is `withheld`.

        Any exception but cancellation is a bug in the making of results.
        """
        started_s = self._clock.monotonic_s()
        with self._tracing.event(record) as trace:
            try:
                event = self._decoded(record)
            except DeadLetter as exc:
                return self._refuse(record, exc, trace, started_s)
            await _wait_for_others()
            case = self._open(record, event, trace)
            self._admit(case, rest)
            decision = await self._answered(case)
            await _wait_for_others()
            self._counting.count(case, decision, started_s)
            case.state_after = self._state_after(case, decision)
            return self._publishing.publish(case, decision)

    def decodes(self, record: Record) -> bool:
        """Return whether `record` is an event. Nothing else is done with it."""
        try:
            self._decoded(record)
        except DeadLetter:
            return False
        return True

    def quarantine(self, record: Record, crash_count: int, decodes: bool) -> Result:
        """Return the result of a record that must not run again: a dead letter, and `withheld` if it can be answered.

        No guard, no redaction and no model sees it, and if `decodes` is false, no decoder either.
        """
        failure = poison(crash_count, decodes=decodes)
        started_s = self._clock.monotonic_s()
        with self._tracing.event(record) as trace:
            trace.failed(failure.reason.value)
            try:
                if decodes:
                    case = self._open(record, self._decoded(record), trace)
                    case.is_replaced = self._streaming.releasing.is_asked(case)  # nothing is read back here
                    decision = withheld(case, ActionReason.PROCESSING_FAILED, failure.reason.value, failure)
                    result = self._publishing.publish(case, decision)
                    self._counting.count(case, decision, started_s)
                    return result
            except Exception as exc:
                # This record has crashed processes before. Whatever it breaks now, it must end as a dead letter.
                logger.exception("a quarantined record ends without an answer", extra={"error": type(exc).__name__})
            return self._publishing.bury(record, failure, trace)

    def give_up(self, record: Record, topic: str, size_bytes: int) -> Result:
        """Return the dead letter of a record whose result is too large for `topic`, and is not written."""
        with self._tracing.event(record) as trace:
            return self._publishing.bury_short(record, too_large(topic, size_bytes), trace)

    def _refuse(self, record: Record, failure: DeadLetter, trace: EventTrace, started_s: float) -> Result:
        """Return the end of a record that is no event: its dead letter, and an answer if it names who waits for one."""
        ids = answerable_ids(record, failure) if self._publishing.routes.rejected_answers else None
        if ids is None:
            return self._publishing.bury(record, failure, trace)
        case, decision = self._open(record, nameless(ids), trace), rejected(failure)
        trace.dead_lettered(failure)
        self._counting.count(case, decision, started_s)
        return self._publishing.publish(case, decision)

    def _decoded(self, record: Record) -> ConversationEvent:
        """Return the event. Raises DeadLetter if it is none, or a canary that the platform did not sign."""
        event = decode_event(record, self._bounds.records)
        if event.canary is not None:
            self._require_genuine(event, self._clock.now_ms())
            require_place(event, record.partition)
        return event

    def _open(self, record: Record, event: ConversationEvent, trace: EventTrace) -> Case:
        """Return a case without time, grants or state, which suffices for an answer that needs no guard."""
        policies = self._policies()
        trace.of_event(event, policies.bundle.ref)
        overlay = policies.overlay_of(event.tenant_id)
        now_s = self._clock.monotonic_s()
        return Case(record=record, event=event, trace=trace, policies=policies, overlay=overlay, deadline_s=now_s)

    def _admit(self, case: Case, rest: Rest) -> None:
        """Give a case its time, its grants and the state of its conversation.

        Its time runs on the monotonic clock since its record was read, so that no wall clock that jumps ends it.
        """
        event, now_ms = case.event, self._clock.now_ms()
        receipt = case.record.receipt or Receipt(case.deadline_s, now_ms)
        left_s = self._bounds.deadline_default_s
        if event.deadline_ms is not None:
            left_s = max(0.0, (event.deadline_ms - receipt.at_ms) / 1000)
        case.deadline_s = receipt.at_s + left_s
        DEADLINE_S.set(case.deadline_s)
        case.rest = rest
        case.grants = (*grant_uses(case.overlay, now_ms), *self._grants.verify(event, now_ms))
        for use in case.grants:
            self._metrics.count(Metric.GRANTS, status=use.status)
        if self._memory is not None:
            self._recall(case, self._memory.recall(case, now_ms))

    def _recall(self, case: Case, state: ConversationState) -> None:
        """Give a case the state of its conversation. A canary gets none: every turn of one is its first."""
        if case.event.canary is not None and is_spent(state, case.event, case.record):
            logger.warning("not the first copy of a canary: an ordinary event", extra={"event_id": case.event.event_id})
            case.event = structs.replace(case.event, canary=None)
        if case.event.canary is None:
            case.state = state

    def _state_after(self, case: Case, decision: Decision) -> ConversationState:
        if self._memory is None:
            return case.state
        now_ms = self._clock.now_ms()
        if case.event.canary is not None:
            return self._memory.spend(case, now_ms)
        return self._memory.fold(case, decision, now_ms, self._digest)

    def _repeated(self, case: Case) -> Decision | None:
        """Return the end of a second copy of an answered event; None for any other event."""
        first = first_answer_of(case)
        if not first:
            return None
        self._metrics.count(Metric.DUPLICATES_SUPPRESSED)
        return repeated(case, first)

    async def _answered(self, case: Case) -> Decision:
        """Return the end of an event: a repeated one and one over its tenant's budget cost neither guard nor model.

        What was streamed of a repeated one is its first answer's, and is not read back.
        """
        releasing = self._streaming.releasing
        decision = self._repeated(case)
        if decision is not None:
            case.is_replaced = releasing.is_asked(case)
            return decision
        decision = self._limiting.refused(case, self._clock.now_ms())
        if decision is None and is_only_images(case.event):
            decision = unseen(case)
        if decision is not None and not releasing.is_asked(case):
            return decision
        releasing.open(case)
        try:
            return await releasing.completed(case, decision or await self._decide(case))
        except BaseException:  # cancelled: it has no result here, and so is no longer in flight
            if case.admission is not None:
                case.admission.release()
            raise
        finally:
            releasing.close(case)

    async def _decide(self, case: Case) -> Decision:
        try:
            left_s = max(0.0, case.deadline_s - self._clock.monotonic_s())
            with UntilGone(self._departures, case.record, case.event.event_id), TimeLimit(left_s):
                case.labels = await self._assessing.assess(case)
                case.plan = plan(
                    case.bundle,
                    case.labels,
                    overlay=case.overlay,
                    user=case.event.user,
                    grants=case.granted,
                    state=case.state,
                )
                case.trace.planned(case.plan)
                return await self._streaming.decide(case, case.plan)
        except TimeoutError:
            detail = "the event's deadline passed"
            if case.trouble is not None:
                detail = f"{detail}; the last try: {case.trouble}"
            return await self._withhold(case, ActionReason.DEADLINE, "deadline", detail)
        except ClientGone:
            if case.request_log is None:
                await self._drafting.log_request(case)
            return abandoned(case)
        except TooLate as exc:
            # A deadline before the event was written is no overload: a duration in place of a time, or an old copy.
            reason = ActionReason.DEADLINE if case.is_past_due else ActionReason.OVERLOADED
            late = "the deadline had passed before the event was written"
            detail = late if case.is_past_due else f"{exc.where}: no turn before the deadline"
            return await self._withhold(case, reason, reason.value, detail)
        except CheckFailed as exc:
            # Without a plan, the labeller could not tell, and a person looks; with one, the generator refused.
            reason = ActionReason.GUARD_FAILED if case.plan is None else ActionReason.PROCESSING_FAILED
            return await self._withhold(case, reason, f"{exc.guard}_{exc.outcome.value}", exc.detail)
        except Exception as exc:
            # A bug must not lose the event nor stop its partition: it is withheld, counted, and kept as a dead letter.
            logger.exception("processing an event failed; it is withheld", extra={"error": type(exc).__name__})
            case.trace.failed(type(exc).__name__)
            return await self._withhold(case, ActionReason.PROCESSING_FAILED, "processing_failed", type(exc).__name__)

    async def _withhold(self, case: Case, reason: ActionReason, code: str, detail: str) -> Decision:
        """Return the fallback text: with a review item for a guard's failure, with a dead letter for any other."""
        if case.request_log is None:
            await self._drafting.log_request(case)
        logger.debug("an event is withheld", extra={"code": code, "detail": detail})
        is_guard = reason is ActionReason.GUARD_FAILED
        failure = None if is_guard else DeadLetter(DeadLetterReason.PROCESSING_FAILED, code, detail)
        return withheld(case, reason, code, failure)
