"""The trace of one event as the pipeline sees it: it reports what happened, and need not know whether tracing is on.

`traced.py` makes spans of it, `untraced.py` only passes the record's own trace context on.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol, Self

from opentelemetry.context import Context

from topology.contract.drafts import CheckReport, Draft
from topology.contract.errors import DeadLetter
from topology.contract.events import Action, ConversationEvent, GenerationParameters, Message
from topology.contract.labels import Plan, RequestLabels, Verdict


class SpanHandle(Protocol):
    """An open span, as a context manager. An exception that leaves the block marks a malfunction by its type."""

    def failed(self, error_type: str) -> None:
        """Mark a malfunction; `error_type` is an `Outcome` value or the name of a class."""
        ...

    def labels(self, labels: RequestLabels) -> None:
        """Report what the request is."""
        ...

    def verdict(self, verdict: Verdict) -> None:
        """Report the judge's verdict on a draft; the event's action comes later and may differ."""
        ...

    def reported(self, report: CheckReport) -> None:
        """Report what a check found."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class ChatHandle(SpanHandle, Protocol):
    """One request to a language model. `headers` are for its HTTP request; `request_id` becomes `X-Request-Id`."""

    request_id: str
    headers: dict[str, str]

    def asked(self, messages: Sequence[Message]) -> None:
        """Report the prompt."""
        ...

    def answered(self, draft: Draft) -> None:
        """Report the answer."""
        ...


class SendHandle(SpanHandle, Protocol):
    """The making of one event's records. `headers` are the trace context to put into each of them."""

    headers: dict[str, str]


class EventTrace(Protocol):
    """The trace of one event, as a context manager around its processing. Not shared between events.

    `event_id` and `policy_ref` are empty before `of_event`.
    """

    event_id: str
    policy_ref: str

    @property
    def trace_id(self) -> str:
        """Return 32 hexadecimal digits; empty where nothing is traced and the record carried no context."""
        ...

    @property
    def span_id(self) -> str:
        """Return 16 hexadecimal digits, or empty, as `trace_id`."""
        ...

    @property
    def conversation_hash(self) -> str:
        """Return the hash by which spans and logs name the conversation; empty before `of_event`."""
        ...

    @property
    def context(self) -> Context | None:
        """Return the context for exemplars (`Instruments.observe`); None where there are none."""
        ...

    def of_event(self, event: ConversationEvent, policy_ref: str) -> None:
        """Report which event this is, and the policy that it is decided under."""
        ...

    def guard_input(self) -> SpanHandle:
        """Open the span of the request's assessment."""
        ...

    def guard_output(self) -> SpanHandle:
        """Open the span of one draft's checks and judgement."""
        ...

    def stage(self, name: str) -> SpanHandle:
        """Open the span of one check of one draft."""
        ...

    def chat(self, role: str, attempt: int, parameters: GenerationParameters | None = None) -> ChatHandle:
        """Open the span of one request to the model of `role`; `attempt` counts from 1."""
        ...

    def send(self, topic: str) -> SendHandle:
        """Open the span of the making of the event's records."""
        ...

    def planned(self, plan: Plan) -> None:
        """Report how the answer is planned."""
        ...

    def decided(self, action: Action, reason_codes: Sequence[str]) -> None:
        """Report what was done with the event; to be called before `send`, whose span repeats it."""
        ...

    def dead_lettered(self, failure: DeadLetter) -> None:
        """Report that the record ended as a dead letter."""
        ...

    def failed(self, error_type: str) -> None:
        """Report that a malfunction ended the processing; `error_type` is as for `SpanHandle.failed`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


CURRENT_TRACE: ContextVar[EventTrace | None] = ContextVar("sluicegate_trace", default=None)
"""The event that this task works on, for logs and guards; None outside."""
