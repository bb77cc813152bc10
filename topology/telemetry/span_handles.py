"""What the pipeline holds of an open span: enough to say what came of it, and nothing that could carry user text."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

import msgspec
from msgspec import Struct
from opentelemetry.context import Context
from opentelemetry.trace import (
    Span,
    SpanContext,
    Status,
    StatusCode,
    set_span_in_context,
)

from topology.contract.drafts import CheckReport, Draft
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.events import Message, parts_text
from topology.contract.labels import NONE, CategoryId, RequestLabels, Verdict
from topology.telemetry.span_names import (
    EVALUATION_EVENT,
    GUARDRAIL_EVENT,
    Attribute,
    Attributes,
    AttributeValue,
    guardrail_results,
)

SCORES_MAX: Final = 16
"""Scores of one check that become events; the audit record has all."""
CODES_MAX: Final = 32
"""Rule ids and reason codes on one span."""
CONTENT_CHARACTERS_MAX: Final = 16_384
"""Per message, where content capture is on."""
CANCELLED: Final = "cancelled"

CURRENT_SPAN: ContextVar[Span | None] = ContextVar("sluicegate_span", default=None)
"""The innermost recorded span of this task, for logs and for a guard's own model calls; None outside."""

Clock = Callable[[], int]
"""Wall-clock nanoseconds."""


class SpanStyle(Struct, frozen=True, kw_only=True):
    """What spans say beyond the ordinary.

    `content` makes of a message what spans may hold of it, such as the text without personal data; None: nothing.
    `with_guardrail_results` adds the proposed GenAI event to verdicts, `with_openinference` that project's span kinds.
    """

    content: Callable[[str], str] | None = None
    with_guardrail_results: bool = False
    with_openinference: bool = False


PLAIN: Final = SpanStyle()


class Facts:
    """What is known of one event, as attributes of its `process` span; its handles share it."""

    __slots__ = ("attributes", "failure", "style")

    def __init__(self, style: SpanStyle = PLAIN) -> None:
        self.attributes: Attributes = {}
        self.failure = ""
        self.style = style


class SpanHandle:
    """An open span, as a context manager. Without a sampled event it only remembers what the event is flagged for.

    An exception that leaves the block marks a malfunction by its type; its message is not recorded.
    """

    __slots__ = ("_facts", "_now_ns", "_span", "_token")

    def __init__(self, span: Span, facts: Facts, now_ns: Clock) -> None:
        self._span = span
        self._facts = facts
        self._now_ns = now_ns
        self._token: Token[Span | None] | None = None

    @property
    def span_context(self) -> SpanContext:
        """Trace id, span id and flags."""
        return self._span.get_span_context()

    @property
    def context(self) -> Context:
        """For children and exemplars."""
        return set_span_in_context(self._span, Context())

    def set(self, name: Attribute, value: AttributeValue) -> None:
        """Set one attribute: ids, counts, enumerations. Never user text."""
        self._span.set_attribute(name, value)

    def failed(self, error_type: str) -> None:
        """Mark a malfunction; `error_type` is an `Outcome` value or the name of a class."""
        self._facts.failure = error_type
        self._span.set_attribute(Attribute.ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def labels(self, labels: RequestLabels) -> None:
        """What the request is: the strictest category and its harm."""
        harm, category = max(((f.harm, f.category) for f in labels.findings), default=(0, NONE))
        known: Attributes = {
            Attribute.CATEGORY: category,
            Attribute.HARM: harm,
            Attribute.VULNERABILITY: labels.vulnerability.value,
        }
        if labels.signals:
            known[Attribute.FLAGS] = tuple(signal.value for signal in labels.signals)
        self._facts.attributes.update(known)
        self._span.set_attributes({**known, Attribute.LABELER: f"{labels.labeler.model}@{labels.labeler.version}"})

    def verdict(self, verdict: Verdict) -> None:
        """What the judge said; the event's action comes later and may differ."""
        known: Attributes = {
            Attribute.VERDICT: verdict.verdict.value,
            Attribute.ATTEMPT: verdict.attempts,
            Attribute.SEVERITY: verdict.severity_grade.value,
            Attribute.RULE_IDS: verdict.rule_ids[:CODES_MAX],
        }
        self._facts.attributes.update(known)
        self._span.set_attributes(known)
        if self._facts.style.with_guardrail_results and self._span.is_recording():
            for result in guardrail_results(verdict)[:CODES_MAX]:
                self._span.add_event(GUARDRAIL_EVENT, result, self._now_ns())

    def reported(self, report: CheckReport) -> None:
        """What a check found: counts and the strictest category; its scores as evaluation events."""
        if not self._span.is_recording():
            return
        _, category = max(((f.detail_hi, f.category) for f in report.findings), default=(0, CategoryId(NONE)))
        self._span.set_attributes(
            {
                Attribute.CHECK_VERSION: report.version,
                Attribute.FINDINGS: len(report.findings),
                Attribute.CATEGORY: category,
            }
        )
        for name in sorted(report.scores)[:SCORES_MAX]:
            score: Attributes = {
                Attribute.GEN_AI_EVALUATION_NAME: name,
                Attribute.GEN_AI_EVALUATION_SCORE: report.scores[name],
            }
            self._span.add_event(EVALUATION_EVENT, score, self._now_ns())

    def __enter__(self) -> Self:
        if self._span.is_recording():
            self._token = CURRENT_SPAN.set(self._span)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.failed(error_type(kind, error))
        if self._token is not None:
            CURRENT_SPAN.reset(self._token)
            self._token = None
            self._span.end(self._now_ns())


class ChatHandle(SpanHandle):
    """One request to a language model. `headers` are for its HTTP request; `request_id` becomes `X-Request-Id`."""

    __slots__ = ("headers", "request_id")

    def __init__(self, span: Span, facts: Facts, now_ns: Clock, request_id: str, headers: dict[str, str]) -> None:
        super().__init__(span, facts, now_ns)
        self.request_id = request_id
        self.headers = headers

    def asked(self, messages: Sequence[Message]) -> None:
        """The prompt: recorded where content capture is on, and only there."""
        shown = self._facts.style.content
        if shown is not None and self._span.is_recording():
            content = [_content(message.role.value, shown(parts_text(message.parts))) for message in messages]
            self._span.set_attribute(Attribute.GEN_AI_INPUT_MESSAGES, msgspec.json.encode(content).decode())

    def answered(self, draft: Draft) -> None:
        """What came back: ids and counts; the text only where content capture is on."""
        self._facts.failure = ""  # an earlier try's; this one made up for it
        if not self._span.is_recording():
            return
        known: Attributes = {
            Attribute.GEN_AI_RESPONSE_ID: draft.response_id,
            Attribute.GEN_AI_RESPONSE_MODEL: draft.model,
            Attribute.GEN_AI_FINISH_REASONS: (draft.finish_reason,),
            Attribute.GEN_AI_INPUT_TOKENS: draft.usage.input_tokens,
            Attribute.GEN_AI_OUTPUT_TOKENS: draft.usage.output_tokens,
        }
        shown = self._facts.style.content
        if shown is not None:
            content = [_content("assistant", shown(draft.text))]
            known[Attribute.GEN_AI_OUTPUT_MESSAGES] = msgspec.json.encode(content).decode()
        self._span.set_attributes(known)


class SendHandle(SpanHandle):
    """The records of one event being made ready. `headers` are the trace context to put into them."""

    __slots__ = ("headers",)

    def __init__(self, span: Span, facts: Facts, now_ns: Clock, headers: dict[str, str]) -> None:
        super().__init__(span, facts, now_ns)
        self.headers = headers


def error_type(kind: type[BaseException], error: BaseException | None) -> str:
    """`error.type` of an exception: how it ended where that is known, else its class; never its message."""
    if issubclass(kind, asyncio.CancelledError):
        return CANCELLED
    return error.outcome.value if isinstance(error, CheckFailed | RetryLater) else kind.__name__


def _content(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text[:CONTENT_CHARACTERS_MAX]}]}
