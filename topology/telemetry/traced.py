"""The span tree of one event while tracing is on: see `tracing.py` for how it looks."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanKind, Status, StatusCode, set_span_in_context

from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Action, ConversationEvent, GenerationParameters
from topology.contract.headers import trace_carrier
from topology.contract.labels import Plan
from topology.contract.names import Header, LlmRole, StageName
from topology.contract.records import Record
from topology.telemetry.event_trace import CURRENT_TRACE, EventTrace
from topology.telemetry.options import TracingOptions
from topology.telemetry.span_handles import (
    CANCELLED,
    CODES_MAX,
    CURRENT_SPAN,
    Facts,
    TracedChat,
    TracedSend,
    TracedSpan,
    error_type,
)
from topology.telemetry.span_names import (
    APPLY_GUARDRAIL,
    CHAT,
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

CHOSEN_IDS: ContextVar[tuple[int, int] | None] = ContextVar("sluicegate_chosen_ids", default=None)
"""The (trace id, span id) that the next span must get; the provider's id generator reads it. None: random ids."""


class TracedEvent:
    """An `EventTrace` that makes spans: all of a sampled event, and `process` alone of a flagged one that is not."""

    def __init__(self, options: TracingOptions, record: Record) -> None:
        self._options = options
        self._facts = Facts(options.style)
        self._known_at_start = record_attributes(record, options.group)
        if options.style.with_openinference:
            self._known_at_start[Attribute.OPENINFERENCE_KIND] = openinference_kind(process_name(record.topic))
        self._topic = record.topic
        self._started_ns = options.now_ns()
        self._incoming = trace_carrier(record.headers)
        upstream = span_context(self._incoming)
        self._links = [Link(upstream)] if upstream is not None else []
        self._parent = Context()
        if upstream is not None and options.relationship == "parent":
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
        """Return the event's trace id, whether the event is sampled or not."""
        context = self._span.get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else ""

    @property
    def span_id(self) -> str:
        """Return the id of the `process` span."""
        context = self._span.get_span_context()
        return f"{context.span_id:016x}" if context.is_valid else ""

    @property
    def conversation_hash(self) -> str:
        """Return the hash of the conversation's id; empty before `of_event`."""
        return conversation_hash(self._conversation_id) if self._conversation_id else ""

    @property
    def context(self) -> Context:
        """Return a context that holds the `process` span."""
        return self._context

    def of_event(self, event: ConversationEvent, policy_ref: str) -> None:
        """Set the event's ids and its policy; the conversation's id only as a hash."""
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

    def guard_input(self) -> TracedSpan:
        """Open the span of the assessment."""
        return self._handle(GUARD_INPUT, {Attribute.STAGE: StageName.ASSESS.value})

    def guard_output(self) -> TracedSpan:
        """Open the span of one draft's checks and judgement."""
        return self._handle(GUARD_OUTPUT, {Attribute.STAGE: StageName.JUDGE.value})

    def stage(self, name: str) -> TracedSpan:
        """Open the span of one check; a stage without a span of its own only notes failures."""
        if name in STAGE_SPANS:
            return self._handle(name, {Attribute.STAGE: name})
        return TracedSpan(self._absent, self._facts, self._options.now_ns)

    def chat(self, role: str, attempt: int, parameters: GenerationParameters | None = None) -> TracedChat:
        """Open the span of one request: a child of the stage that makes it, the generator's a child of the event."""
        target = self._options.chats.get(role, ChatTarget(model=role))
        request_id = f"{header_safe(self.event_id)}.{role}.{attempt}"
        span = self._absent
        if self._is_recorded:
            is_guard = self._options.style.with_guardrail_results and role != LlmRole.GENERATOR
            operation = APPLY_GUARDRAIL if is_guard else CHAT
            attributes: Attributes = chat_attributes(target, parameters) | {
                Attribute.GEN_AI_OPERATION: operation,
                Attribute.GEN_AI_CONVERSATION: self.conversation_hash,
                Attribute.ROLE: role,
                Attribute.ATTEMPT: attempt,
                Attribute.REQUEST_ID: request_id,
            }
            parent = self._context if role == "generator" else self._innermost()
            span = self._start(chat_name(target.model, operation), attributes, SpanKind.CLIENT, parent)
        return TracedChat(span, self._facts, self._options.now_ns, request_id, carrier(span.get_span_context()))

    def send(self, topic: str) -> TracedSend:
        """Open the span of the making of records; it repeats what a tail sampler looks for."""
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
        return TracedSend(span, self._facts, self._options.now_ns, headers)

    def planned(self, plan: Plan) -> None:
        """Set the mode and the plan's hash."""
        self._facts.attributes.update({Attribute.MODE: plan.mode.value, Attribute.PLAN_HASH: plan.plan_hash})

    def decided(self, action: Action, reason_codes: Sequence[str]) -> None:
        """Set the action; flag anything but `published`. Withheld after a failure is an error."""
        self._facts.attributes.update(
            {Attribute.ACTION: action.value, Attribute.REASON_CODES: tuple(reason_codes)[:CODES_MAX]}
        )
        if action is Action.WITHHELD and self._facts.failure:
            self._facts.attributes[Attribute.ERROR_TYPE] = self._facts.failure
        if action is not Action.PUBLISHED:
            self._flag()

    def dead_lettered(self, failure: DeadLetter) -> None:
        """Set the reason and flag the record; only a failure of the processing itself is an error."""
        known = self._facts.attributes
        known.update({Attribute.DEAD_LETTER_REASON: failure.reason.value, Attribute.STAGE: failure.stage})
        if failure.reason in {DeadLetterReason.PROCESSING_FAILED, DeadLetterReason.POISON}:
            known[Attribute.ERROR_TYPE] = failure.reason.value
        self._flag()

    def failed(self, error_type: str) -> None:
        """Mark the event as an error, and flag it."""
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
        self._span.end(self._options.now_ns())

    @property
    def _is_recorded(self) -> bool:
        """Return whether the event may have child spans; a late `process` span stays alone."""
        return not self._is_late and self._span.is_recording()

    def _flag(self) -> None:
        """Have the event kept: by a tail sampler, or by making its span now if the head sampler left it out."""
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
        return self._options.tracer.start_span(
            process_name(self._topic),
            context=self._parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            links=self._links,
            start_time=self._started_ns,
        )

    def _handle(self, name: str, attributes: Attributes) -> TracedSpan:
        is_recorded = self._is_recorded
        span = self._start(name, attributes, SpanKind.INTERNAL, self._context) if is_recorded else self._absent
        return TracedSpan(span, self._facts, self._options.now_ns)

    def _start(self, name: str, attributes: Attributes, kind: SpanKind, parent: Context) -> Span:
        options = self._options
        if options.style.with_openinference:
            attributes = {**attributes, Attribute.OPENINFERENCE_KIND: openinference_kind(name)}
        return options.tracer.start_span(
            name, context=parent, kind=kind, attributes=attributes, start_time=options.now_ns()
        )

    def _innermost(self) -> Context:
        """Return the span of this task's stage, if it is one of this event; else the event's."""
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
"""The attributes that a send span repeats, so that a tail sampler which missed `process` still sees them."""
