"""An event while tracing is off: no span is opened, no attribute kept; the record's own trace context is passed on."""

from contextvars import Token
from types import TracebackType
from typing import Final, Self

from topology.contract.events import ConversationEvent, GenerationParameters
from topology.contract.headers import trace_carrier
from topology.contract.names import Header
from topology.contract.records import Record
from topology.telemetry.event_trace import CURRENT_TRACE, EventTrace
from topology.telemetry.options import Relationship
from topology.telemetry.trace_context import carrier, conversation_hash, header_safe, span_context

_TRACEPARENT: Final = Header.TRACEPARENT.value
_TRACESTATE: Final = Header.TRACESTATE.value
_VERSION: Final = "00-"
"""The beginning of every `traceparent` of the version that `carrier` writes."""


def _nothing(*_reported: object, **_named: object) -> None:
    pass


class UntracedSpan:
    """A `SpanHandle` that keeps nothing."""

    __slots__ = ()

    failed = labels = verdict = reported = _nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class UntracedChat(UntracedSpan):
    """A request's id, and the sender's trace context for it."""

    __slots__ = ("headers", "request_id")

    asked = answered = _nothing

    def __init__(self, request_id: str, headers: dict[str, str]) -> None:
        self.request_id = request_id
        self.headers = headers


class UntracedSend(UntracedSpan):
    """The sender's trace context for an event's records."""

    __slots__ = ("headers",)

    def __init__(self, headers: dict[str, str]) -> None:
        self.headers = headers


UNTRACED: Final = UntracedSpan()


class UntracedEvent:
    """An `EventTrace` that records nothing. With `relationship` `link` a model is not told of the sender's trace."""

    planned = decided = dead_lettered = failed = _nothing

    def __init__(self, record: Record, relationship: Relationship) -> None:
        self._incoming = trace_carrier(record.headers)
        is_parent = relationship == "parent" and _TRACEPARENT in self._incoming
        self._upstream = _upstream(self._incoming) if is_parent else {}
        self._token: Token[EventTrace | None] | None = None
        self._conversation_id = ""
        self.event_id = ""
        self.policy_ref = ""

    @property
    def trace_id(self) -> str:
        """Return the sender's, or empty."""
        return self._upstream.get(_TRACEPARENT, "")[3:35]

    @property
    def span_id(self) -> str:
        """Return the sender's, or empty."""
        return self._upstream.get(_TRACEPARENT, "")[36:52]

    @property
    def conversation_hash(self) -> str:
        """Return the hash of the conversation's id, for logs; empty before `of_event`."""
        return conversation_hash(self._conversation_id) if self._conversation_id else ""

    @property
    def context(self) -> None:
        """Return None: there are no exemplars."""

    def of_event(self, event: ConversationEvent, policy_ref: str) -> None:
        """Keep the event's ids, for logs."""
        self.event_id = event.event_id
        self._conversation_id = event.conversation_id
        self.policy_ref = policy_ref

    def guard_input(self) -> UntracedSpan:
        """Return the handle that keeps nothing."""
        return UNTRACED

    guard_output = guard_input

    def stage(self, name: str) -> UntracedSpan:
        """Return the handle that keeps nothing."""
        del name
        return UNTRACED

    def chat(self, role: str, attempt: int, parameters: GenerationParameters | None = None) -> UntracedChat:
        """Return the request's id, and the sender's trace context for its headers."""
        del parameters
        request_id = f"{header_safe(self.event_id)}.{role}.{attempt}"
        return UntracedChat(request_id, self._upstream)

    def send(self, topic: str) -> UntracedSend:
        """Return the sender's trace context for the records."""
        del topic
        return UntracedSend(self._incoming | self._upstream)

    def __enter__(self) -> Self:
        self._token = CURRENT_TRACE.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        CURRENT_TRACE.reset(self._token)


def _upstream(incoming: dict[str, str]) -> dict[str, str]:
    """Return the headers of a request to a model, spelt as `carrier` does: no baggage, no unknown version."""
    if incoming[_TRACEPARENT].startswith(_VERSION) and _TRACESTATE not in incoming:
        return {_TRACEPARENT: incoming[_TRACEPARENT]}
    context = span_context(incoming)
    return carrier(context) if context is not None else {}
