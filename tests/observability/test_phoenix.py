"""One event read back from a real tracing backend: one tree, from the chat service through vLLM to the audited answer.

Kafka, worker, guards, vLLM and Phoenix are real. vLLM, which the session shares, exports to a receiver whose bytes are
handed on, as a collector would.
"""

import json
from pathlib import Path

import pytest
from msgspec import structs

from serving.engine.child_server import VllmServer
from tests.observability.phoenix import ROOT, Json, Phoenix, starting_phoenix
from tests.observability.traced_worker import running_worker, send_traced
from tests.plugins.kafka_broker import Kafka
from tests.plugins.otlp_receiver import KeptExports
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import audits, fresh_settings, question
from tests.plugins.vllm_server import TINY_MODEL
from topology.contract.events import AuditRecord, GenerationParameters
from topology.telemetry.span_names import Attribute
from workers.settings import GenerationSettings, Settings, TelemetrySettings

pytestmark = [pytest.mark.kafka, pytest.mark.vllm, pytest.mark.timeout(1200)]

EVENTS = 6
LATER = frozenset({"e3", "e4", "e5"})
"""Sent when the first ones are answered: what a worker does once, such as loading words, is then done."""
OUR_SPANS_MAX = 8
DERIVED = ("llm.", "input.", "output.", "session.id", "openinference.", "metadata")
"""What Phoenix adds to a span that it understands."""
TRACE = ROOT / "var" / "trace.json"
"""What Phoenix answered, for `python -m bench.trace_picture`."""


def traced_settings(kafka: Kafka, model: VllmServer, endpoint: str) -> Settings:
    return structs.replace(
        fresh_settings(kafka),
        generation=GenerationSettings(base_url=model.base_url, model=TINY_MODEL, max_tokens=12),
        telemetry=TelemetrySettings(endpoint=endpoint, preset="full", push_metrics=False, openinference=True),
    )


def one_draft(settings: Settings) -> AuditRecord | None:
    """The record of an event that was answered with its first draft: the tiny model's text is noise."""
    found = (each for each in audits(settings) if each.event_id in LATER and len(each.attempts) == 1)
    return next(found, None)


def assert_tree(spans: list[Json], settings: Settings) -> None:
    """Fails unless the spans are the tree that docs/telemetry.md draws, each child inside its parent."""
    topics = settings.topics
    by_id = {span["context"]["span_id"]: span["name"] for span in spans}
    edges = {(by_id.get(span["parent_id"]), span["name"]) for span in spans}
    process, chat = f"process {topics.events}", f"chat {TINY_MODEL}"
    assert edges == {
        (None, f"send {topics.events}"),
        (f"send {topics.events}", process),
        (process, "guard input"),
        (process, chat),
        (chat, "llm_request"),
        (process, "guard output"),
        (process, "classification"),
        (process, "bias"),
        (process, "logging"),
        (process, f"send {topics.audited}"),
    }
    assert len(spans) == len(edges)


def ours(spans: list[Json], settings: Settings) -> list[Json]:
    """The spans of our own service."""
    return [span for span in spans if span["name"] not in {f"send {settings.topics.events}", "llm_request"}]


def test_an_event_is_one_tree_in_a_real_backend_with_the_models_own_span_inside(
    kafka: Kafka, vllm_server: VllmServer, model_traces: KeptExports, tmp_path: Path
) -> None:
    with starting_phoenix(tmp_path) as wait_phoenix:
        phoenix = wait_phoenix()
        settings = traced_settings(kafka, vllm_server, phoenix.endpoint)
        parameters = GenerationParameters(max_tokens=12, temperature=0.0)
        events = [question(number, f"c{number}", generation=parameters) for number in range(EVENTS)]
        with running_worker(settings, tmp_path):
            send_traced(settings, events[:3])
            wait_until(lambda: len(audits(settings)) == 3)
            send_traced(settings, events[3:])
            wait_until(lambda: len(audits(settings)) == EVENTS)
        record = one_draft(settings)
        assert record is not None, [each.attempts for each in audits(settings)]
        spans = read_back(phoenix, model_traces, record.trace_id)
    TRACE.parent.mkdir(exist_ok=True)
    TRACE.write_text(json.dumps(spans, indent=1))
    assert_tree(spans, settings)
    assert {span["context"]["trace_id"] for span in spans} == {record.trace_id}
    assert len(ours(spans, settings)) <= OUR_SPANS_MAX
    assert {span["name"]: span["span_kind"] for span in ours(spans, settings)} == {
        f"process {settings.topics.events}": "CHAIN",
        "guard input": "GUARDRAIL",
        f"chat {TINY_MODEL}": "LLM",
        "guard output": "GUARDRAIL",
        "classification": "EVALUATOR",
        "bias": "EVALUATOR",
        "logging": "EVALUATOR",
        f"send {settings.topics.audited}": "CHAIN",
    }
    allowed = {attribute.value for attribute in Attribute}
    for span in ours(spans, settings):
        strange = {name for name in span["attributes"] if name not in allowed and not name.startswith(DERIVED)}
        assert not strange, span["name"]
    assert "question" not in json.dumps(spans)
    assert_joined(spans, record)


def assert_joined(spans: list[Json], record: AuditRecord) -> None:
    """Fails unless event, audit record, our request to the model and its own span name each other."""
    attributes = {span["name"]: span["attributes"] for span in spans}
    request_id = f"{record.event_id}.generator.1"
    chat = attributes[f"chat {TINY_MODEL}"]
    assert chat["sluicegate.request.id"] == request_id
    assert request_id in chat["gen_ai.response.id"]
    assert request_id in attributes["llm_request"]["gen_ai.request.id"]
    process = next(each for name, each in attributes.items() if name.startswith("process "))
    assert process["messaging.message.id"] == record.event_id
    assert process["sluicegate.action"] == record.action.value
    assert process["sluicegate.policy.ref"] == record.policy_ref


def read_back(phoenix: Phoenix, model_traces: KeptExports, trace_id: str) -> list[Json]:
    """The trace as Phoenix tells it, once the model's span is there too."""
    wait_until(lambda: any(span.name == "llm_request" for span in model_traces.trace(trace_id)))
    for request in model_traces.traces:
        if bytes.fromhex(trace_id) in request:
            phoenix.push(request)
    wait_until(lambda: len(phoenix.spans(trace_id)) >= OUR_SPANS_MAX + 2)
    return phoenix.spans(trace_id)
