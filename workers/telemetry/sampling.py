"""The choice of the events that are traced, and of their ids: the two decisions that tracing leaves to the SDK."""

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span
from opentelemetry.util.types import Attributes

from topology.telemetry.span_names import Attribute
from topology.telemetry.traced import CHOSEN_IDS

_SETTLE: Final = "settle"


class EventSampler(Sampler):
    """A sampler of `share` of all events, of every flagged one, and of every commit of a sampled event.

    The share is taken by trace id and ignores the sampled flag of the chat service's span: a writer of the input topic
    must not be able to switch tracing on or off. Services that sample by trace id agree anyway. All spans of an event
    follow the same decision.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._bound = TraceIdRatioBased.get_bound_for_rate(share)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide whether to drop a span, or to record and sample it."""
        known = attributes or {}
        parent = get_current_span(parent_context).get_span_context()
        if parent.is_valid and not parent.is_remote:
            is_sampled = parent.trace_flags.sampled
        elif known.get(Attribute.MESSAGING_OPERATION_TYPE) == _SETTLE:
            is_sampled = bool(links)  # a commit is linked only to its sampled events
        else:
            is_sampled = trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound or bool(known.get(Attribute.KEEP))
        if not is_sampled:
            return SamplingResult(Decision.DROP, None, parent.trace_state)
        result = SamplingResult(Decision.RECORD_AND_SAMPLE, None, parent.trace_state)
        # Avoids the read-only view that the SDK makes of it: resolving its type takes 3 µs per span.
        result.attributes = known  # pyright: ignore[reportAttributeAccessIssue]
        return result

    def get_description(self) -> str:
        """Return the name for the SDK's own messages."""
        return f"EventSampler{{{self._share}}}"


class EventIds(RandomIdGenerator):
    """A source of random ids, or of `CHOSEN_IDS` for a flagged event's span that is made after its ids were sent on."""

    def generate_trace_id(self) -> int:
        """Return 128 bits, not zero."""
        chosen = CHOSEN_IDS.get()
        return chosen[0] if chosen is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """Return 64 bits, not zero."""
        chosen = CHOSEN_IDS.get()
        return chosen[1] if chosen is not None else super().generate_span_id()
