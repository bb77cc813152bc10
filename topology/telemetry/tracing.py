"""The spans of one event and of one commit.

    send conversations.events            PRODUCER  the chat service's
    └─ process conversations.events      CONSUMER  parent and link, or a new trace with the link alone
       ├─ guard input                    INTERNAL
       ├─ chat <model>                   CLIENT    its context goes to vLLM
       ├─ guard output                   INTERNAL
       ├─ classification, bias, logging  INTERNAL  siblings
       └─ send conversations.audited     PRODUCER  its context goes into the records
    commit conversations.events          CLIENT    a trace of its own, linked to the events of the transaction

Parents are passed explicitly; OpenTelemetry's ambient context is neither read nor set, so events that share an event
loop cannot mix. An event that the sampler left out records nothing; if it is flagged, its `process` span is made at
the verdict, with its true start and the ids that were already sent on (`CHOSEN_IDS`).
A refusal is not an error: status ERROR means malfunction.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from opentelemetry.context import Context
from opentelemetry.trace import Link, NoOpTracer, SpanKind, Tracer

from topology.contract.records import Record, Result
from topology.telemetry.event_trace import CHOSEN_IDS, CURRENT_TRACE, EventTrace
from topology.telemetry.span_handles import PLAIN, Facts, SpanHandle, SpanStyle
from topology.telemetry.span_names import SYSTEM, Attribute, Attributes, ChatTarget, commit_name
from topology.telemetry.trace_context import conversation_hash, sent_context
from topology.telemetry.untraced import UNTRACED, UntracedEvent

__all__ = ["CHOSEN_IDS", "CURRENT_TRACE", "LINKS_MAX", "EventTrace", "Relationship", "Tracing", "conversation_hash"]

LINKS_MAX: Final = 128
"""Links of one commit span: the SDK keeps no more; the rest are counted in `sluicegate.links.cut`."""

Relationship = Literal["parent", "link"]


class Tracing:
    """Opens the spans of events and commits. `chats` says by role (`generator`, `judge`) who is asked.

    With `relationship` `parent`, the chat service's span is our parent and linked; with `link` it is only linked.
    `now_ns` is the wall clock in nanoseconds. The sampler of `tracer` decides what is recorded.
    """

    def __init__(
        self,
        tracer: Tracer,
        *,
        relationship: Relationship = "parent",
        group: str = "",
        chats: Mapping[str, ChatTarget] | None = None,
        style: SpanStyle = PLAIN,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.tracer = tracer
        self.relationship: Relationship = relationship
        self.group = group
        self.chats = dict(chats or {})
        self.style = style
        self.now_ns = now_ns
        self._is_off = isinstance(tracer, NoOpTracer)

    @classmethod
    def none(cls) -> "Tracing":
        """Records nothing; a record's own trace context is passed on unchanged."""
        return cls(NoOpTracer())

    def event(self, record: Record) -> EventTrace:
        """The trace of one record: enter it, and leave it in the same task."""
        return UntracedEvent(self, record) if self._is_off else EventTrace(self, record)

    def commit(self, topic: str, results: Sequence[Result]) -> SpanHandle:
        """The span of one transaction on `topic`'s offsets, linked to its sampled events."""
        if self._is_off:
            return UNTRACED
        sampled = [context for result in results if (context := sent_context(result)) is not None]
        attributes: Attributes = {
            Attribute.MESSAGING_SYSTEM: SYSTEM,
            Attribute.MESSAGING_OPERATION_NAME: "commit",
            Attribute.MESSAGING_OPERATION_TYPE: "settle",
            Attribute.MESSAGING_DESTINATION: topic,
            Attribute.MESSAGING_GROUP: self.group,
            Attribute.MESSAGING_BATCH_COUNT: len(results),
        }
        if len(sampled) > LINKS_MAX:
            attributes[Attribute.LINKS_CUT] = len(sampled) - LINKS_MAX
        span = self.tracer.start_span(
            commit_name(topic),
            context=Context(),
            kind=SpanKind.CLIENT,
            attributes=attributes,
            links=[Link(context) for context in sampled[:LINKS_MAX]],
            start_time=self.now_ns(),
        )
        return SpanHandle(span, Facts(), self.now_ns)
