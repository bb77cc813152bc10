"""The handles of an event's spans while tracing is on. They hold no user text unless content capture is on."""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Final, Self

import msgspec
from opentelemetry.trace import Span, Status, StatusCode

from topology.contract.drafts import CheckReport, Draft
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.events import Message, parts_text
from topology.contract.labels import NONE, CategoryId, RequestLabels, Verdict
from topology.telemetry.options import PLAIN, SpanStyle
from topology.telemetry.span_names import (
    EVALUATION_EVENT,
    GUARDRAIL_EVENT,
    Attribute,
    Attributes,
    guardrail_results,
)

SCORES_MAX: Final = 16
"""The most scores of one check that become events; the audit record has all."""
CODES_MAX: Final = 32
"""The most rule ids and reason codes on one span."""
CONTENT_CHARACTERS_MAX: Final = 16_384
"""The most characters of one message, if content capture is on."""
CANCELLED: Final = "cancelled"

CURRENT_SPAN: ContextVar[Span | None] = ContextVar("sluicegate_span", default=None)
"""The innermost recorded span of this task, for logs and for a guard's own model calls; None outside."""

Clock = Callable[[], int]
"""Wall-clock nanoseconds."""


class Facts:
    """The attributes of one event's `process` span as they become known; its handles share them."""

    __slots__ = ("attributes", "failure", "style")

    def __init__(self, style: SpanStyle = PLAIN) -> None:
        self.attributes: Attributes = {}
        self.failure = ""
        self.style = style


class TracedSpan:
    """A `SpanHandle`. For an event that is not sampled it keeps only the facts that a late span would need.

    The type of an exception that leaves the block is recorded, never its message.
    """

    __slots__ = ("_facts", "_now_ns", "_span", "_token")

    def __init__(self, span: Span, facts: Facts, now_ns: Clock) -> None:
        self._span = span
        self._facts = facts
        self._now_ns = now_ns
        self._token: Token[Span | None] | None = None

    def failed(self, error_type: str) -> None:
        """Mark the span as an error."""
        self._facts.failure = error_type
        self._span.set_attribute(Attribute.ERROR_TYPE, error_type)
        self._span.set_status(Status(StatusCode.ERROR))

    def labels(self, labels: RequestLabels) -> None:
        """Set the strictest category and its harm, the user's vulnerability, and signs of an attack."""
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
        """Set the verdict, its grade and its rules."""
        known: Attributes = {
            Attribute.VERDICT: verdict.verdict.value,
            Attribute.ATTEMPT: verdict.attempts,
            Attribute.SEVERITY: verdict.severity_grade.value,
            Attribute.RULE_IDS: verdict.rule_ids[:CODES_MAX],
        }
        self._facts.attributes.update(known)
        self._span.set_attributes(known)
        if self._facts.style.with_guardrail_results and self._span.is_recording():
            category = str(self._facts.attributes.get(Attribute.CATEGORY, ""))
            for result in guardrail_results(verdict, category)[:CODES_MAX]:
                self._span.add_event(GUARDRAIL_EVENT, result, self._now_ns())

    def reported(self, report: CheckReport) -> None:
        """Set counts and the strictest category; add scores as evaluation events."""
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


class TracedChat(TracedSpan):
    """A `ChatHandle`."""

    __slots__ = ("headers", "request_id")

    def __init__(self, span: Span, facts: Facts, now_ns: Clock, request_id: str, headers: dict[str, str]) -> None:
        super().__init__(span, facts, now_ns)
        self.request_id = request_id
        self.headers = headers

    def asked(self, messages: Sequence[Message]) -> None:
        """Set the prompt, if content capture is on."""
        shown = self._facts.style.content
        if shown is not None and self._span.is_recording():
            content = [_content(message.role.value, shown(parts_text(message.parts))) for message in messages]
            self._span.set_attribute(Attribute.GEN_AI_INPUT_MESSAGES, msgspec.json.encode(content).decode())

    def answered(self, draft: Draft) -> None:
        """Set ids and counts; the text only if content capture is on."""
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


class TracedSend(TracedSpan):
    """A `SendHandle`."""

    __slots__ = ("headers",)

    def __init__(self, span: Span, facts: Facts, now_ns: Clock, headers: dict[str, str]) -> None:
        super().__init__(span, facts, now_ns)
        self.headers = headers


def error_type(kind: type[BaseException], error: BaseException | None) -> str:
    """Return `error.type` of an exception: its outcome if it has one, else its class; never its message."""
    if issubclass(kind, asyncio.CancelledError):
        return CANCELLED
    return error.outcome.value if isinstance(error, CheckFailed | RetryLater) else kind.__name__


def _content(role: str, text: str) -> dict[str, object]:
    return {"role": role, "parts": [{"type": "text", "content": text[:CONTENT_CHARACTERS_MAX]}]}
