"""The records that become visible together with an event's offset, and the letter of a record that is no event."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import structs

from topology.contract.codec import RecordLimits, encode
from topology.contract.conversation import ConversationState
from topology.contract.dead_letters import dead_letter
from topology.contract.errors import DeadLetter
from topology.contract.events import AuditedResponse, AuditRecord, ReviewItem
from topology.contract.headers import Wire, copied_headers, response_headers, trace_headers
from topology.contract.names import Header, SchemaName, Topic
from topology.contract.records import Headers, OutRecord, Record, Result
from topology.contract.tenants import Charge
from topology.decision.shadow import shadowed
from topology.ports import Clock
from topology.steps import audit
from topology.steps.case import Case, Decision, processed
from topology.steps.limiting import charge_of
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric


@dataclass(frozen=True, slots=True)
class Routes:
    """The topics of an event's records, and the encoding of values.

    `rejected_answers`: whether a record that names its ids, but is no valid event, is answered `rejected`.
    """

    audited: str = Topic.AUDITED.value
    audit: str = Topic.AUDIT.value
    review: str = Topic.REVIEW.value
    canary: str = Topic.CANARY.value
    dead_letters: str = Topic.DEAD_LETTERS.value
    state: str = Topic.STATE.value
    wire: Wire = Wire.JSON
    rejected_answers: bool = True


@dataclass(frozen=True, slots=True)
class Publishing:
    """The maker of results. `digest` is the keyed digest of a response's text; `limits` bounds dead letters."""

    routes: Routes
    digest: Callable[[str], str]
    limits: RecordLimits
    metrics: Instruments
    clock: Clock

    def publish(self, case: Case, decision: Decision) -> Result:
        """Return response and audit record; with them a review item, a state and a dead letter if there is cause.

        A state is written if `case.state_after` is another object than `case.state`.
        """
        response, record, item = audit.assemble(processed(case, decision), self.digest)
        record = self._judged_by_candidates(case, record)
        routes, source, record_id = self.routes, case.record, record.audit_id
        answers = routes.audited if case.event.canary is None else routes.canary
        with case.trace.send(answers) as span:
            trace = trace_headers(span.headers)
            out = [
                self._out(case, answers, SchemaName.AUDITED_RESPONSE, response, record_id, trace + told(case)),
                self._out(case, routes.audit, SchemaName.AUDIT_RECORD, record, record_id, trace),
            ]
            if item is not None:
                out.append(self._out(case, routes.review, SchemaName.REVIEW_ITEM, item, record_id, trace))
            if case.state_after is not case.state:
                name, state = SchemaName.CONVERSATION_STATE, case.state_after
                out.append(self._out(case, routes.state, name, state, record_id, trace, source.partition))
            if decision.failure is not None:
                out.append(self._letter(source, decision.failure))
        return _result(source, *out, charge=charge_of(case, decision))

    def bury(self, record: Record, failure: DeadLetter, trace: EventTrace) -> Result:
        """Return the dead letter alone, for a record that is no event or cannot be answered."""
        trace.dead_lettered(failure)
        with trace.send(self.routes.dead_letters):  # the letter keeps the sender's own trace context
            return _result(record, self._letter(record, failure))

    def bury_short(self, record: Record, failure: DeadLetter, trace: EventTrace) -> Result:
        """Return the dead letter alone, with no more of the original than `dead_letter_bytes_max`."""
        short = structs.replace(self.limits, event_bytes_max=self.limits.dead_letter_bytes_max)
        return dataclasses.replace(self, limits=short).bury(record, failure, trace)

    def _judged_by_candidates(self, case: Case, record: AuditRecord) -> AuditRecord:
        """Return the record with what candidate policies would have decided; a canary is no event to judge them by."""
        candidates = case.policies.shadows if case.event.canary is None else ()
        record, outcomes = shadowed(record, candidates, case.overlay)
        for version, outcome in outcomes:
            self.metrics.count(Metric.SHADOW_DECISIONS, policy_version=version, outcome=outcome.value)
        return record

    def _letter(self, record: Record, failure: DeadLetter) -> OutRecord:
        self.metrics.count(Metric.DEAD_LETTERS, reason=failure.reason.value)
        return dead_letter(record, failure, self.limits, self.routes.dead_letters)

    def _out(
        self,
        case: Case,
        topic: str,
        schema: SchemaName,
        value: AuditedResponse | AuditRecord | ReviewItem | ConversationState,
        record_id: str,
        trace: Headers,
        partition: int | None = None,
    ) -> OutRecord:
        headers = response_headers(
            schema,
            self.routes.wire,
            ce_id=f"{record_id}/{schema}",
            subject=case.event.conversation_id,
            time_ms=self.clock.now_ms(),
            trace=trace,
        )
        return OutRecord(
            topic=topic,
            key=case.event.conversation_id.encode(),
            value=encode(value, self.routes.wire),
            headers=headers,
            partition=partition,
        )


def told(case: Case) -> Headers:
    """Return the headers by which a chat service finds the request of an answer without decoding its value."""
    event_id = case.event.event_id.encode("utf-8", "replace")
    return ((Header.EVENT_ID.value, event_id), *copied_headers(case.record.headers))


def _result(source: Record, *records: OutRecord, charge: Charge | None = None) -> Result:
    topic, partition, offset = source.topic, source.partition, source.offset
    return Result(topic=topic, partition=partition, offset=offset, records=records, charge=charge)
