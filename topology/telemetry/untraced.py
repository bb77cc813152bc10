"""An event while tracing is off: no span is opened, no attribute kept; the record's own trace context is passed on."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from opentelemetry.trace import INVALID_SPAN

from topology.contract.drafts import CheckReport, Draft
from topology.contract.errors import DeadLetter
from topology.contract.events import Action, ConversationEvent, GenerationParameters, Message
from topology.contract.headers import trace_carrier
from topology.contract.labels import Plan, RequestLabels, Verdict
from topology.contract.names import Header
from topology.contract.records import Record
from topology.telemetry.event_trace import CURRENT_TRACE, EventTrace
from topology.telemetry.span_handles import ChatHandle, Facts, SendHandle, SpanHandle
from topology.telemetry.span_names import Attribute, AttributeValue
from topology.telemetry.trace_context import carrier, header_safe, span_context

if TYPE_CHECKING:
    from topology.telemetry.tracing import Tracing


class UntracedSpan(SpanHandle):
    """Stands in for every span; keeps nothing."""

    __slots__ = ()

    def set(self, name: Attribute, value: AttributeValue) -> None:
        """Nothing."""

    def failed(self, error_type: str) -> None:
        """Nothing."""

    def labels(self, labels: RequestLabels) -> None:
        """Nothing."""

    def verdict(self, verdict: Verdict) -> None:
        """Nothing."""

    def reported(self, report: CheckReport) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Nothing."""


class UntracedChat(UntracedSpan, ChatHandle):
    """A request's id, and the sender's trace context for it."""

    __slots__ = ()

    def __init__(self, request_id: str, headers: dict[str, str]) -> None:
        self.request_id = request_id
        self.headers = headers

    def asked(self, messages: Sequence[Message]) -> None:
        """Nothing."""

    def answered(self, draft: Draft) -> None:
        """Nothing."""


class UntracedSend(UntracedSpan, SendHandle):
    """The sender's trace context for what we send."""

    __slots__ = ()

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


_FORGOTTEN: Final = Facts()
UNTRACED: Final = UntracedSpan(INVALID_SPAN, _FORGOTTEN, time.time_ns)


class UntracedEvent(EventTrace):
    """The same calls as a traced event's; in link mode nothing is known of the sender's trace but what is sent on."""

    def __init__(self, tracing: "Tracing", record: Record) -> None:
        self._incoming = trace_carrier(record.headers)
        is_parent = tracing.relationship == "parent" and _TRACEPARENT in self._incoming
        self._upstream = _upstream(self._incoming) if is_parent else {}
        self._token = None
        self._conversation_id = ""
        self.event_id = ""
        self.policy_ref = ""

    @property
    def trace_id(self) -> str:
        """The sender's, or empty."""
        return self._upstream.get(_TRACEPARENT, "")[3:35]

    @property
    def span_id(self) -> str:
        """The sender's, or empty."""
        return self._upstream.get(_TRACEPARENT, "")[36:52]

    @property
    def context(self) -> None:
        """There are no exemplars."""

    def of_event(self, event: ConversationEvent, policy_ref: str) -> None:
        """Say which event this is, for logs."""
        self.event_id = event.event_id
        self._conversation_id = event.conversation_id
        self.policy_ref = policy_ref

    def guard_input(self) -> SpanHandle:
        """Records nothing."""
        return UNTRACED

    def guard_output(self) -> SpanHandle:
        """Records nothing."""
        return UNTRACED

    def stage(self, name: str) -> SpanHandle:
        """Records nothing."""
        del name
        return UNTRACED

    def chat(self, role: str, attempt: int, parameters: GenerationParameters | None = None) -> ChatHandle:
        """The request's id, and the sender's trace context for its headers."""
        del parameters
        request_id = f"{header_safe(self.event_id)}.{role}.{attempt}"
        return UntracedChat(request_id, self._upstream)

    def send(self, topic: str) -> SendHandle:
        """The sender's trace context for the records."""
        del topic
        return UntracedSend(self._incoming | self._upstream)

    def planned(self, plan: Plan) -> None:
        """Nothing."""

    def decided(self, action: Action, reason_codes: Sequence[str]) -> None:
        """Nothing."""

    def dead_lettered(self, failure: DeadLetter) -> None:
        """Nothing."""

    def failed(self, error_type: str) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        CURRENT_TRACE.reset(self._token)


_TRACEPARENT: Final = Header.TRACEPARENT.value
_TRACESTATE: Final = Header.TRACESTATE.value
_AS_WE_WRITE_IT: Final = "00-"


def _upstream(incoming: dict[str, str]) -> dict[str, str]:
    """What goes to a model, spelt as we would: baggage stays behind, an unknown version becomes ours."""
    if incoming[_TRACEPARENT].startswith(_AS_WE_WRITE_IT) and _TRACESTATE not in incoming:
        return {_TRACEPARENT: incoming[_TRACEPARENT]}
    context = span_context(incoming)
    return carrier(context) if context is not None else {}
