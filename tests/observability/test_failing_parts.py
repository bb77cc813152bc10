"""A model, a labeller or a guard that raises with a user's words in its message: what is then said of the event."""

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.fakes import FakeCheck, FakeGenerator, FakeLabeler
from tests.observability.planted import events, found_in
from topology.contract.codec import encode
from topology.contract.records import Record
from topology.policy.in_force import Policies
from topology.policy.loading import packaged_bundle
from topology.telemetry.instruments import Instruments
from topology.telemetry.trace_context import conversation_hash
from workers.assembly import build_pipeline
from workers.settings import Settings, TelemetrySettings
from workers.telemetry.logs import configure_logging
from workers.telemetry.setup import start_telemetry

EVENT = events()[0]
RECORD = Record(
    topic="conversations.events",
    partition=0,
    offset=0,
    timestamp_ms=1,
    key=EVENT.conversation_id.encode(),
    value=encode(EVENT),
    headers=(("content-type", b"application/json"), ("x-schema", b"conversation-event/1")),
)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    stream = io.StringIO()
    configure_logging("DEBUG", stream)
    yield stream
    root.handlers[:], level, sys.excepthook, threading.excepthook = before
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def fail(*given: object) -> NoReturn:
    """Raises with everything in its message that it was given."""
    raise ValueError(f"cannot make sense of {given} {EVENT}")


@pytest.mark.parametrize("part", ["labeler", "generator", "check"])
def test_an_exception_that_quotes_the_user_is_recorded_by_its_type(part: str, log: io.StringIO) -> None:
    labeler = FakeLabeler(fail) if part == "labeler" else FakeLabeler()
    generator = FakeGenerator(fail if part == "generator" else lambda _: "An answer.")
    checks = [FakeCheck(name) for name in ("classification", "bias", "logging")]
    if part == "check":
        checks[1] = FakeCheck("bias", fail)
    exporter = InMemorySpanExporter()
    settings = Settings(telemetry=TelemetrySettings(preset="full"))
    telemetry = start_telemetry(settings.telemetry, "ingress", span_processors=[SimpleSpanProcessor(exporter)])
    policies = Policies(packaged_bundle())
    pipeline = build_pipeline(
        settings, lambda: policies, labeler, generator, checks, telemetry.tracing(settings), Instruments.none()
    )
    result = asyncio.run(pipeline.process(RECORD))
    spans = exporter.get_finished_spans()
    headers = b"".join(name.encode() + value for out in result.records for name, value in out.headers if value)
    assert any((span.attributes or {}).get("error.type") for span in spans)
    assert found_in(encode_spans(spans).SerializeToString()) == []
    assert found_in(log.getvalue().encode()) == []
    assert set(found_in(headers)) <= {"conversation"}  # the records' subject
    if part == "generator":
        assert_correlated(log, {f"{span.context.trace_id:032x}" for span in spans if span.context})


def assert_correlated(log: io.StringIO, trace_ids: set[str]) -> None:
    """Fails unless the line about the failure names event, trace, span, conversation and policy, and the type alone."""
    (line,) = (json.loads(line) for line in log.getvalue().splitlines() if "processing an event failed" in line)
    assert {line["trace_id"]} == trace_ids
    assert (line["event_id"], line["conversation_hash"]) == (EVENT.event_id, conversation_hash(EVENT.conversation_id))
    assert line["policy_ref"] == packaged_bundle().ref
    assert len(line["span_id"]) == 16
    assert [cause["type"] for cause in line["error"]] == ["ValueError"]
    assert "detail" not in line["error"][0]
