"""Our encoder of spans against the SDK's own: the same message for the same spans."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from tests.effort import examples
from workers.telemetry.span_encoding import REMEMBERED_CHARACTERS_MAX, encode_spans

IDS = st.integers(1, 2**64 - 1)
VALUES = st.one_of(
    st.text(max_size=40),
    st.text(min_size=REMEMBERED_CHARACTERS_MAX, max_size=REMEMBERED_CHARACTERS_MAX + 5),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.lists(st.text(max_size=8), max_size=4),
)
PAIRS = st.dictionaries(st.text("abc.", min_size=1, max_size=6), VALUES, max_size=6)


class Counted(IdGenerator):
    """1, 2, 3: random ones would make a failure hard to repeat."""

    def __init__(self) -> None:
        self._last = 0

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last

    def generate_trace_id(self) -> int:
        return self.generate_span_id()


@st.composite
def contexts(draw: st.DrawFn) -> SpanContext:
    state = TraceState([("a", "b"), ("c", "d")]) if draw(st.booleans()) else None
    high, low = draw(IDS), draw(IDS)
    return SpanContext(high << 64 | low, draw(IDS), draw(st.booleans()), TraceFlags(1), state)


@st.composite
def recorded(draw: st.DrawFn) -> list[ReadableSpan]:
    """Spans of one provider, with everything that a span can have and more than its limits keep."""
    exporter = InMemorySpanExporter()
    limits = SpanLimits(max_span_attributes=4, max_events=2, max_links=2)
    resource = Resource(draw(PAIRS), schema_url=draw(st.sampled_from(["", "https://schema"])))
    provider = TracerProvider(resource=resource, span_limits=limits, shutdown_on_exit=False, id_generator=Counted())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for _ in range(draw(st.integers(1, 3))):
        tracer = provider.get_tracer(draw(st.sampled_from(["one", "two"])), draw(st.sampled_from([None, "1"])))
        parent = set_span_in_context(NonRecordingSpan(draw(contexts())), Context()) if draw(st.booleans()) else None
        links = [Link(draw(contexts()), draw(PAIRS)) for _ in range(draw(st.integers(0, 3)))]
        kind = draw(st.sampled_from(list(SpanKind)))
        span = tracer.start_span(draw(st.text(max_size=12)), parent or Context(), kind, draw(PAIRS), links, 7)
        for _ in range(draw(st.integers(0, 3))):
            span.add_event(draw(st.text(max_size=8)), draw(PAIRS), draw(IDS))
        if draw(st.booleans()):
            span.set_status(Status(draw(st.sampled_from(list(StatusCode)))))
        span.end(draw(IDS))
    return list(exporter.get_finished_spans())


@given(recorded())
@examples(150)
def test_the_bytes_say_what_the_sdks_own_encoder_says(spans: list[ReadableSpan]) -> None:
    assert ExportTraceServiceRequest.FromString(encode_spans(spans)) == encode_by_sdk(spans)


def test_an_attribute_of_another_kind_is_a_bug_that_is_named() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("a", attributes={"a": b"bytes"}).end()
    with pytest.raises(TypeError, match="an attribute of type bytes"):
        encode_spans(exporter.get_finished_spans())
