"""The span tree of one event: see `tracing.py` for how it looks."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Status, StatusCode, set_span_in_context

from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, ConversationEvent, GenerationParameters
from topology.contract.headers import trace_carrier
from topology.contract.labels import Plan
from topology.contract.names import Header, StageName
from topology.contract.records import Record
from topology.telemetry.span_handles import (
    CANCELLED,
    CODES_MAX,
    CURRENT_SPAN,
    ChatHandle,
    Facts,
    SendHandle,
    SpanHandle,
    error_type,
)
from topology.telemetry.span_names import (
    GUARD_INPUT,
    GUARD_OUTPUT,
    STAGE_SPANS,
    SYSTEM,
    Attribute,
    Attributes,
    ChatTarget,
    chat_attributes,
    chat_name,
    openinference_kind,
    process_name,
    record_attributes,
    send_name,
)
from topology.telemetry.trace_context import carrier, conversation_hash, header_safe, span_context

if TYPE_CHECKING:
    from topology.telemetry.tracing import Tracing

CHOSEN_IDS: ContextVar[tuple[int, int] | None] = ContextVar("sluicegate_chosen_ids", default=None)
"""(trace id, span id) that the next span must get; the provider's id generator reads it. None: random ids."""
CURRENT_TRACE: ContextVar["EventTrace | None"] = ContextVar("sluicegate_trace", default=None)
"""The event that this task works on, for logs and guards; None outside."""


class EventTrace:
    """The span tree of one event, as a context manager around its processing. Not shared between events."""

    def __init__(self, tracing: "Tracing", record: Record) -> None:
        self._tracing = tracing
        self._facts = Facts(tracing.style)
        self._known_at_start = record_attributes(record, tracing.group)
        if tracing.style.with_openinference:
            self._known_at_start[Attribute.OPENINFERENCE_KIND] = openinference_kind(process_name(record.topic))
        self._topic = record.topic
        self._started_ns = tracing.now_ns()
        self._incoming = trace_carrier(record.headers)
        upstream = span_context(self._incoming)
        self._links = [Link(upstream)] if upstream is not None else []
        self._parent = Context()
        if upstream is not None and tracing.relationship == "parent":
            self._parent = set_span_in_context(NonRecordingSpan(upstream), self._parent)
        self._span = self._start_process(self._known_at_start)
        self._is_late = False
        self._absent = NonRecordingSpan(self._span.get_span_context())
        self._context = set_span_in_context(self._span, Context())
        self._token: Token[EventTrace | None] | None = None
        self._conversation_id = ""
        self.event_id = ""
        self.policy_ref = ""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; empty where nothing is traced and the record carried no context."""
        context = self._span.get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else ""

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits, or empty, as `trace_id`."""
        context = self._span.get_span_context()
        return f"{context.span_id:016x}" if context.is_valid else ""

    @property
    def conversation_hash(self) -> str:
        """The conversation as spans and logs name it; empty before `of_event`."""
        return conversation_hash(self._conversation_id) if self._conversation_id else ""

    @property
    def context(self) -> Context | None:
        """For exemplars: `Instruments.observe(..., context=trace.context)`; None where there are none."""
        return self._context

    def of_event(self, event: ConversationEvent, policy_ref: str) -> None:
        """Say which event this is; the conversation's id only as a hash."""
        self.event_id = event.event_id
        self._conversation_id = event.conversation_id
        self.policy_ref = policy_ref
        self._facts.attributes.update(
            {
                Attribute.MESSAGING_MESSAGE_ID: self.event_id,
                Attribute.MESSAGING_CONVERSATION: self.conversation_hash,
                Attribute.TENANT: event.tenant_id,
                Attribute.POLICY: policy_ref,
            }
        )

    def guard_input(self) -> SpanHandle:
        """The assessment of the request."""
        return self._handle(GUARD_INPUT, {Attribute.STAGE: StageName.ASSESS.value})

    def guard_output(self) -> SpanHandle:
        """One draft's checks and judgement."""
        return self._handle(GUARD_OUTPUT, {Attribute.STAGE: StageName.JUDGE.value})

    def stage(self, name: str) -> SpanHandle:
        """One check of one draft; a stage without a span of its own only notes failures."""
        if name in STAGE_SPANS:
            return self._handle(name, {Attribute.STAGE: name})
        return SpanHandle(self._absent, self._facts, self._tracing.now_ns)

    def chat(self, role: str, attempt: int, parameters: GenerationParameters | None = None) -> ChatHandle:
        """One request to the model of `role`; `attempt` counts from 1.

        A guard's request is a child of the stage it is made in, the generator's one of the event.
        """
        target = self._tracing.chats.get(role, ChatTarget(model=role))
        request_id = f"{header_safe(self.event_id)}.{role}.{attempt}"
        span = self._absent
        if self._is_recorded:
            attributes: Attributes = chat_attributes(target, parameters) | {
                Attribute.GEN_AI_CONVERSATION: self.conversation_hash,
                Attribute.ROLE: role,
                Attribute.ATTEMPT: attempt,
                Attribute.REQUEST_ID: request_id,
            }
            parent = self._context if role == "generator" else self._innermost()
            span = self._start(chat_name(target.model), attributes, SpanKind.CLIENT, parent)
        return ChatHandle(span, self._facts, self._tracing.now_ns, request_id, carrier(span.get_span_context()))

    def send(self, topic: str) -> SendHandle:
        """The making of the event's records; put its `headers` into each of them. After `decided`, it says so too."""
        span = self._absent
        if self._is_recorded:
            known = self._facts.attributes
            attributes: Attributes = {
                Attribute.MESSAGING_SYSTEM: SYSTEM,
                Attribute.MESSAGING_OPERATION_NAME: "send",
                Attribute.MESSAGING_OPERATION_TYPE: "send",
                Attribute.MESSAGING_DESTINATION: topic,
            }
            attributes.update({name: known[name] for name in _REPEATED if name in known})
            span = self._start(send_name(topic), attributes, SpanKind.PRODUCER, self._context)
        baggage = Header.BAGGAGE.value
        passed_on = {baggage: self._incoming[baggage]} if baggage in self._incoming else {}
        if not span.get_span_context().is_valid:
            passed_on = self._incoming
        headers = passed_on | carrier(span.get_span_context())
        return SendHandle(span, self._facts, self._tracing.now_ns, headers)

    def planned(self, plan: Plan) -> None:
        """How the answer is planned."""
        self._facts.attributes.update({Attribute.MODE: plan.mode.value, Attribute.PLAN_HASH: plan.plan_hash})

    def decided(self, action: Action, reason_codes: Sequence[str]) -> None:
        """What was done with the event. Anything but `published` is flagged; withheld after a failure is an error."""
        self._facts.attributes.update(
            {Attribute.ACTION: action.value, Attribute.REASON_CODES: tuple(reason_codes)[:CODES_MAX]}
        )
        if action is Action.WITHHELD and self._facts.failure:
            self._facts.attributes[Attribute.ERROR_TYPE] = self._facts.failure
        if action is not Action.PUBLISHED:
            self._flag()

    def dead_lettered(self, failure: DeadLetter) -> None:
        """The record ended as a dead letter; only a failure of ours is an error."""
        known = self._facts.attributes
        known.update({Attribute.DEAD_LETTER_REASON: failure.reason.value, Attribute.STAGE: failure.stage})
        if failure.reason in {DeadLetterReason.PROCESSING_FAILED, DeadLetterReason.POISON}:
            known[Attribute.ERROR_TYPE] = failure.reason.value
        self._flag()

    def failed(self, error_type: str) -> None:
        """A malfunction of ours ended the processing; `error_type` is the name of a class or an `Outcome`."""
        self._facts.attributes[Attribute.ERROR_TYPE] = error_type
        self._flag()

    def __enter__(self) -> Self:
        self._token = CURRENT_TRACE.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        CURRENT_TRACE.reset(self._token)
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            self.failed(error_type(kind, error))
        if not self._span.is_recording():
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self._facts.attributes[Attribute.ERROR_TYPE] = CANCELLED
        self._span.set_attributes(self._facts.attributes)
        if Attribute.ERROR_TYPE in self._facts.attributes:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._tracing.now_ns())

    @property
    def _is_recorded(self) -> bool:
        """May this event have child spans? A late `process` span stays alone."""
        return not self._is_late and self._span.is_recording()

    def _flag(self) -> None:
        """Have this event kept: by a tail sampler, or here by the span that the sampler left out."""
        known = self._facts.attributes
        known[Attribute.KEEP] = True
        if self._span.is_recording() or not self._span.get_span_context().is_valid:
            return
        context = self._span.get_span_context()
        token = CHOSEN_IDS.set((context.trace_id, context.span_id))
        try:
            span = self._start_process({**self._known_at_start, **known, Attribute.LATE: True})
        finally:
            CHOSEN_IDS.reset(token)
        if span.is_recording():
            self._span, self._is_late = span, True
            self._absent = NonRecordingSpan(span.get_span_context())
            self._context = set_span_in_context(span, Context())

    def _start_process(self, attributes: Attributes) -> Span:
        return self._tracing.tracer.start_span(
            process_name(self._topic),
            context=self._parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=self._links,
            start_time=self._started_ns,
        )

    def _handle(self, name: str, attributes: Attributes) -> SpanHandle:
        is_recorded = self._is_recorded
        span = self._start(name, attributes, SpanKind.INTERNAL, self._context) if is_recorded else self._absent
        return SpanHandle(span, self._facts, self._tracing.now_ns)

    def _start(self, name: str, attributes: Attributes, kind: SpanKind, parent: Context) -> Span:
        tracing = self._tracing
        if tracing.style.with_openinference:
            attributes = {**attributes, Attribute.OPENINFERENCE_KIND: openinference_kind(name)}
        return tracing.tracer.start_span(
            name, context=parent, kind=kind, attributes=attributes, start_time=tracing.now_ns()
        )

    def _innermost(self) -> Context:
        """The stage that this task is in; the event where there is none, or it is another event's."""
        span = CURRENT_SPAN.get()
        if span is None or span.get_span_context().trace_id != self._span.get_span_context().trace_id:
            return self._context
        return set_span_in_context(span, Context())


_REPEATED: Final = (
    Attribute.MESSAGING_MESSAGE_ID,
    Attribute.MESSAGING_CONVERSATION,
    Attribute.POLICY,
    Attribute.VERDICT,
    Attribute.ACTION,
)
"""What a send span repeats, so that a tail sampler which missed `process` still sees it."""
