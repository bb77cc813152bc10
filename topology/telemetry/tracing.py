"""The spans of one event and of one commit.

    send conversations.events            PRODUCER  made by the chat service
    └─ process conversations.events      CONSUMER  parent and link, or a new trace with the link alone
       ├─ guard input                    INTERNAL
       ├─ chat <model>                   CLIENT    its context is sent to vLLM
       ├─ guard output                   INTERNAL
       ├─ classification, bias, logging  INTERNAL  siblings
       └─ send conversations.audited     PRODUCER  its context is put into the records
    commit conversations.events          CLIENT    a trace of its own, linked to the events of the transaction

Parents are passed explicitly; OpenTelemetry's ambient context is neither read nor set, so events that share an event
loop cannot mix. An event that is not sampled records nothing; if it is flagged, its `process` span is made at the
verdict, with its true start and the ids that were already passed on (`CHOSEN_IDS`).
A refusal is not an error: status ERROR means a malfunction.
"""

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, NoOpTracer, SpanKind

from topology.contract.records import Record, Result
from topology.telemetry.event_trace import EventTrace, SpanHandle
from topology.telemetry.options import TracingOptions
from topology.telemetry.span_handles import Facts, TracedSpan
from topology.telemetry.span_names import SYSTEM, Attribute, Attributes, commit_name
from topology.telemetry.trace_context import sent_context
from topology.telemetry.traced import TracedEvent
from topology.telemetry.untraced import UNTRACED, UntracedEvent

LINKS_MAX: Final = 128
"""The SDK keeps no more links of one span; the others of a commit are counted in `sluicegate.links.cut`."""


class Tracing:
    """The traces of events and the spans of commits."""

    def __init__(self, options: TracingOptions) -> None:
        self.options = options
        self._is_off = isinstance(options.tracer, NoOpTracer)

    @classmethod
    def none(cls) -> "Tracing":
        """Return a tracing that records nothing; a record's own trace context is passed on unchanged."""
        return cls(TracingOptions(tracer=NoOpTracer()))

    def event(self, record: Record) -> EventTrace:
        """Return the trace of one record, to be entered and left in the same task."""
        if self._is_off:
            return UntracedEvent(record, self.options.relationship)
        return TracedEvent(self.options, record)

    def commit(self, topic: str, results: Sequence[Result]) -> SpanHandle:
        """Open the span of one transaction on `topic`'s offsets, linked to its sampled events."""
        if self._is_off:
            return UNTRACED
        sampled = [context for result in results if (context := sent_context(result)) is not None]
        attributes: Attributes = {
            Attribute.MESSAGING_SYSTEM: SYSTEM,
            Attribute.MESSAGING_OPERATION_NAME: "commit",
            Attribute.MESSAGING_OPERATION_TYPE: "settle",
            Attribute.MESSAGING_DESTINATION: topic,
            Attribute.MESSAGING_GROUP: self.options.group,
            Attribute.MESSAGING_BATCH_COUNT: len(results),
        }
        if len(sampled) > LINKS_MAX:
            attributes[Attribute.LINKS_CUT] = len(sampled) - LINKS_MAX
        span = self.options.tracer.start_span(
            commit_name(topic),
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=[Link(context) for context in sampled[:LINKS_MAX]],
            start_time=self.options.now_ns(),
        )
        return TracedSpan(span, Facts(), self.options.now_ns)
