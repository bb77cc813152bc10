"""The event and the ports of the measurements: one event of ordinary size, and ports that answer at once.

The stand-ins take no time of their own, so that only the path is measured: they return the same labels, draft and
reports for every event, those of a harmless conversation.
"""

import asyncio
import functools
from collections.abc import Sequence

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

import topology.pipeline
import topology.steps.drafting
from serving.fakes import FakeGrantVerifier
from serving.personal_data.redaction import KeyedDigest
from topology.contract.codec import RecordLimits, encode
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.events import ConversationEvent, GenerationParameters, LoggedText, Message, Role, TextPart, Usage
from topology.contract.headers import Wire
from topology.contract.labels import GuardRun, LabelerIdentity, Outcome, OutputLabels, Plan, RequestLabels, Verdict
from topology.contract.names import CONTENT_TYPE_JSON, DraftSource, Header, SchemaName, StageName, Topic
from topology.contract.records import Headers, OutRecord, Record
from topology.decision.judge import judge
from topology.decision.plan import plan as make_plan
from topology.pipeline import Bounds, Pipeline
from topology.policy.bundle import PolicyBundle
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput, OnText
from topology.steps.case import Case
from topology.steps.drafting import Budget, Drafting
from topology.steps.publishing import Routes
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.process.clock import SystemClock
from workers.settings import Settings, TelemetrySettings
from workers.telemetry.exporting import BoundedSpanProcessor
from workers.telemetry.setup import Telemetry, start_telemetry

TURNS = (
    "How does a canal lock lift a boat, and why are there two gates at each end of the chamber? ",
    "Water flows from the upper reach into the chamber through sluices until both levels are the same. ",
)
ANSWER = "A lock is a chamber with a gate at each end. " * 10

LABELS = RequestLabels(labeler=LabelerIdentity(model="stub", version="1"))
EVENT_HEADERS: Headers = (
    (Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),
    (Header.SCHEMA.value, f"{SchemaName.CONVERSATION_EVENT.value}/1".encode()),
    (Header.TRACEPARENT.value, b"00-" + b"ab" * 16 + b"-" + b"12" * 8 + b"-01"),
)


def event(index: int) -> ConversationEvent:
    """Return a conversation of five turns with ids of its own, about 2 KB as JSON."""
    roles = (Role.USER, Role.ASSISTANT, Role.USER, Role.ASSISTANT, Role.USER)
    messages = tuple(Message(role=role, parts=(TextPart(text=TURNS[turn % 2] * 4),)) for turn, role in enumerate(roles))
    return ConversationEvent(
        event_id=f"bench-{index:08d}-1",
        conversation_id=f"bench-{index:08d}",
        tenant_id="bench",
        messages=messages,
        created_ms=1_790_000_000_000 + index,
    )


def record(index: int) -> Record:
    """Return the event as a record of the input topic."""
    sent = event(index)
    return Record(
        topic=Topic.EVENTS.value,
        partition=index % 6,
        offset=index,
        timestamp_ms=1_790_000_000_000 + index,
        key=sent.conversation_id.encode(),
        value=encode(sent, Wire.JSON),
        headers=EVENT_HEADERS,
    )


def token_event(index: int, output_tokens: int) -> ConversationEvent:
    """Return a short question whose answer has exactly `output_tokens` tokens, however early the model would end."""
    text = f"Question {index}: how does a canal lock lift a boat from the lower reach to the upper one?"
    return ConversationEvent(
        event_id=f"tokens-{index:06d}",
        conversation_id=f"tokens-{index:06d}",
        tenant_id="bench",
        messages=(Message(role=Role.USER, parts=(TextPart(text=text),)),),
        generation=GenerationParameters(max_tokens=output_tokens, ignore_eos=True),
    )


class StubLabeler:
    """A labeller that finds nothing, at once."""

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        del event, policy
        return LABELS


class StubGenerator:
    """A generator that returns the same draft for every prompt, at once."""

    DRAFT = Draft(
        text=ANSWER,
        source=DraftSource.GENERATOR,
        model="stub",
        response_id="chatcmpl-0123456789abcdef",
        finish_reason="stop",
        usage=Usage(input_tokens=300, output_tokens=110),
    )

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        del request
        return self.DRAFT


class StubCheck:
    """A check that returns the same clean report for every draft, at once; the logging stage's has its logs."""

    version = "1"

    def __init__(self, name: str) -> None:
        self.name = name
        log = None
        if name == StageName.LOGGING:
            log = LoggedText(redacted=ANSWER, spans=(), digest="hmac-sha256:bench:" + "0" * 64)
        self.report = CheckReport(
            check=name, version="1", bare_refusal=False, unfair=False, request_log=log, draft_log=log
        )

    async def check(self, given: CheckInput) -> CheckReport:
        del given
        return self.report


CHECKS = tuple(name.value for name in (StageName.CLASSIFICATION, StageName.BIAS, StageName.LOGGING))


def as_it_came(case: Case, plan: Plan, feedback: str, shown: str) -> tuple[Message, ...]:
    """Return the conversation as its own prompt."""
    del plan, feedback, shown
    return case.event.messages


def stub_pipeline(tracing: Tracing, metrics: Instruments) -> Pipeline:
    """Return a pipeline over ports that answer at once."""
    drafting = Drafting(
        generator=StubGenerator(),
        checks=[StubCheck(name) for name in CHECKS],
        compile_prompt=as_it_came,
        budget=Budget(
            revisions_max=2,
            candidate_regenerate=False,
            attempts_max=10,
            checks_timeout_s=10,
            backoff_initial_s=0.2,
            backoff_max_s=5,
        ),
        clock=SystemClock(),
        metrics=metrics,
        jitter=lambda: 0.5,
    )
    policies = Policies(packaged_bundle())
    return Pipeline(
        policies=lambda: policies,
        labeler=StubLabeler(),
        drafting=drafting,
        grants=FakeGrantVerifier(),
        digest=KeyedDigest(b"bench" * 8, "bench"),
        routes=Routes(),
        bounds=Bounds(deadline_default_s=300, assess_timeout_s=10, records=RecordLimits()),
        tracing=tracing,
        metrics=metrics,
        clock=SystemClock(),
    )


class ForgetSpans(SpanExporter):
    """An exporter that takes every batch and keeps nothing."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


class ForgetMetrics(MetricExporter):
    """An exporter that takes every batch and keeps nothing."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        del metrics_data, timeout_millis, kwargs
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        del timeout_millis
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        pass


def own_telemetry(preset: str) -> tuple[Telemetry, Tracing]:
    """Return a worker's telemetry with other exporters: always metrics, and spans except for preset `off`."""
    settings = TelemetrySettings(preset="full" if preset == "full" else "ratio")
    processors = () if preset == "off" else (BoundedSpanProcessor(ForgetSpans(), 4096, lambda _: None),)
    telemetry = start_telemetry(settings, "ingress", 0, span_processors=processors, metric_exporters=(ForgetMetrics(),))
    return telemetry, telemetry.tracing(Settings(telemetry=settings))


def stub_policy() -> None:
    """Replace planning and judging in this process by the plan and the verdict of a harmless conversation."""
    bundle = packaged_bundle()
    user = event(0).user
    plan = make_plan(bundle, LABELS, overlay=STRICTEST, user=user, grants=frozenset())
    runs = tuple(GuardRun(guard=name, version="1", outcome=Outcome.OK, latency_ms=0.1) for name in CHECKS)
    verdict = judge(
        bundle,
        plan,
        LABELS,
        OutputLabels(guards=runs),
        overlay=STRICTEST,
        user=user,
        grants=frozenset(),
        attempts=1,
        revisions_max=2,
    )

    def planned(*_given: object, **_named: object) -> Plan:
        return plan

    def judged(*_given: object, **_named: object) -> Verdict:
        return verdict

    topology.pipeline.plan = planned
    topology.steps.drafting.judge = judged


@functools.cache
def sample_output() -> tuple[OutRecord, ...]:
    """Return the two records that one event ends as."""
    result = asyncio.run(stub_pipeline(Tracing.none(), Instruments.none()).process(record(0)))
    assert [out.topic for out in result.records] == [Topic.AUDITED, Topic.AUDIT]
    return result.records
