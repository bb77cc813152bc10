"""Which events are recorded, and with which ids: the two things that tracing leaves to the SDK."""

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
    """Records `share` of all events, every flagged one, and every commit of a recorded event.

    The share is taken by trace id, whatever the flag of the chat service's span says: whoever may write the input
    topic must not be able to switch tracing on or off for us, and services that sample by trace id agree anyway.
    Within one event the decision holds for every span.
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
        """Drop, or record and sample."""
        known = attributes or {}
        parent = get_current_span(parent_context).get_span_context()
        if parent.is_valid and not parent.is_remote:
            is_sampled = parent.trace_flags.sampled
        elif known.get(Attribute.MESSAGING_OPERATION_TYPE) == _SETTLE:
            is_sampled = bool(links)  # a commit is linked to its sampled events alone
        else:
            is_sampled = trace_id & TraceIdRatioBased.TRACE_ID_LIMIT < self._bound or bool(known.get(Attribute.KEEP))
        if not is_sampled:
            return SamplingResult(Decision.DROP, None, parent.trace_state)
        result = SamplingResult(Decision.RECORD_AND_SAMPLE, None, parent.trace_state)
        # Not the read-only view that the SDK makes of it: to find out what that is takes 3 µs, every span.
        result.attributes = known  # pyright: ignore[reportAttributeAccessIssue]
        return result

    def get_description(self) -> str:
        """For the SDK's own messages."""
        return f"EventSampler{{{self._share}}}"


class EventIds(RandomIdGenerator):
    """Random ids, but those of `CHOSEN_IDS` where a flagged event's span is made after its ids were sent on."""

    def generate_trace_id(self) -> int:
        """128 bits, not zero."""
        chosen = CHOSEN_IDS.get()
        return chosen[0] if chosen is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        """64 bits, not zero."""
        chosen = CHOSEN_IDS.get()
        return chosen[1] if chosen is not None else super().generate_span_id()
