"""Tracing into memory, and an event that goes through it as through the pipeline."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import Action, ConversationEvent, GenerationParameters, Message, Role, TextPart, Usage
from topology.contract.labels import CategoryId, LabelerIdentity, RequestFinding, RequestLabels, Verdict, VerdictKind
from topology.contract.names import DraftSource
from topology.contract.records import Headers, Record
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.options import PLAIN, Relationship, SpanStyle, TracingOptions
from topology.telemetry.span_names import ChatTarget
from topology.telemetry.tracing import Tracing

PLANTED = "my name is Zebulon Quartermain and I live at 12 Elm Street"
TRACE_ID = "ab" * 16
CONVERSATION = "conversation-of-zoe"
UPSTREAM = "12" * 8
TRACEPARENT = f"00-{TRACE_ID}-{UPSTREAM}-01".encode()


class Recorded:
    """Tracing into memory."""

    def __init__(self, relationship: Relationship = "parent", style: SpanStyle = PLAIN) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        options = TracingOptions(
            tracer=provider.get_tracer("test"),
            relationship=relationship,
            group="g",
            chats={"generator": ChatTarget(model="m1", server_address="h", server_port=8000)},
            style=style,
        )
        self.tracing = Tracing(options)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self.spans if span.name == name)
        return span


def record(headers: Headers = (("traceparent", TRACEPARENT),), offset: int = 7) -> Record:
    return Record(
        topic="conversations.events",
        partition=3,
        offset=offset,
        timestamp_ms=1,
        key=CONVERSATION.encode(),
        value=PLANTED.encode(),
        headers=headers,
    )


def conversation(event_id: str = "e-1") -> ConversationEvent:
    message = Message(role=Role.USER, parts=(TextPart(text=PLANTED),))
    return ConversationEvent(event_id=event_id, conversation_id=CONVERSATION, tenant_id="t-1", messages=(message,))


def labels() -> RequestLabels:
    finding = RequestFinding(category=CategoryId("weapons"), harm=3)
    return RequestLabels(labeler=LabelerIdentity(model="embedded", version="1"), findings=(finding,))


def verdict(kind: VerdictKind = VerdictKind.PUBLISH) -> Verdict:
    return Verdict(verdict=kind, rule_ids=("rule.1",), policy_ref="p@1")


def walk(trace: EventTrace, action: Action = Action.PUBLISHED) -> dict[str, str]:
    """An event with one attempt, as the pipeline goes through it; gives the headers of what is sent."""
    event = conversation()
    trace.of_event(event, "p@1")
    with trace.guard_input() as span:
        span.labels(labels())
    with trace.chat("generator", 1, GenerationParameters(temperature=0.5, max_tokens=9)) as chat:
        chat.asked(event.messages)
        chat.answered(Draft(text=PLANTED, source=DraftSource.GENERATOR, model="m1", response_id="r-1", usage=Usage()))
    with trace.guard_output() as span:
        for name in ("classification", "bias", "logging"):
            with trace.stage(name) as stage:
                stage.reported(CheckReport(check=name, version="1", scores={"toxic": 0.25}))
        span.verdict(verdict())
    trace.decided(action, ("rule.1",))
    with trace.send("conversations.audited") as sent:
        return sent.headers


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


def span_id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.span_id
