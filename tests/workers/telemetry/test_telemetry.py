"""Export for real: what arrives, what is lost and counted, and that a dead collector costs an event nothing."""

import http.client
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.plugins.otlp_receiver import Collector, SilentCollector, closed_endpoint
from tests.plugins.patience import PATIENCE_S
from topology.contract.events import Action
from topology.contract.records import Headers, OutRecord, Record, Result
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.development.otlp_receiver import BODY_BYTES_MAX
from workers.settings import GenerationSettings, Settings, TelemetrySettings
from workers.settings.secret import Secret
from workers.telemetry.convention_metrics import COPIES
from workers.telemetry.setup import Telemetry, start_telemetry

TRACE_ID = "ab" * 16
DROPPED = Metric.TELEMETRY_DROPPED
NEVER_S = 3600


def record(flags: str = "01", trace_id: str = TRACE_ID) -> Record:
    headers: Headers = (("traceparent", f"00-{trace_id}-{'12' * 8}-{flags}".encode()),) if trace_id else ()
    return Record(
        topic="conversations.events", partition=0, offset=1, timestamp_ms=1, key=b"c", value=b"v", headers=headers
    )


def walk(trace: EventTrace, action: Action = Action.PUBLISHED) -> dict[str, str]:
    """A short event; gives what its records carry."""
    with trace.guard_input():
        pass
    with trace.chat("generator", 1):
        pass
    trace.decided(action, ("r",))
    with trace.send("conversations.audited") as sent:
        return sent.headers


def settings(endpoint: str, **given: object) -> Settings:
    telemetry = {"endpoint": endpoint, "preset": "full", "export_interval_s": NEVER_S, "export_timeout_s": 1.0} | given
    return Settings(
        telemetry=TelemetrySettings(**telemetry),  # pyright: ignore[reportArgumentType] -- test's short form
        generation=GenerationSettings(base_url="http://model.example:8000/v1", model="m1"),
    )


@pytest.fixture
def receiver() -> Iterator[Collector]:
    with Collector() as running:
        yield running


class InMemory:
    """Telemetry of a preset whose spans stay here."""

    def __init__(self, preset: str, ratio: float = 0.05) -> None:
        self._exporter = InMemorySpanExporter()
        given = settings("", preset=preset, ratio=ratio)
        self.telemetry = start_telemetry(
            given.telemetry, "ingress", 2, span_processors=[SimpleSpanProcessor(self._exporter)]
        )
        self.tracing = self.telemetry.tracing(given)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


def wait_for(condition: object, what: str) -> None:
    """Poll until `condition()` holds, for at most `PATIENCE_S`."""
    assert callable(condition)
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s, what
        time.sleep(0.02)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_events_tree_arrives_over_both_protocols(receiver: Collector, protocol: str) -> None:
    endpoint = receiver.endpoint if protocol == "http" else receiver.grpc_endpoint
    given = settings(endpoint, protocol=protocol, environment="test", headers=Secret("authorization=Basic x"))
    telemetry = start_telemetry(given.telemetry, "ingress", 2)
    with telemetry.tracing(given).event(record()) as trace:
        walk(trace, Action.REFUSED)
    assert telemetry.shutdown(PATIENCE_S) or protocol == "grpc"  # it takes no metrics over gRPC
    names = [line.strip("├└─│ ").split("  ")[0] for line in receiver.tree(TRACE_ID).splitlines()]
    assert names == ["process conversations.events", "guard input", "chat m1", "send conversations.audited"]
    assert "action=refused" in receiver.tree(TRACE_ID)
    span = receiver.store.trace(TRACE_ID)[0]
    assert (span.service, span.kind, span.parent_span_id) == ("sluicegate", "CONSUMER", "12" * 8)
    chat = next(span for span in receiver.spans() if span.name == "chat m1")
    assert (chat.attributes["server.address"], chat.attributes["server.port"]) == ("model.example", 8000)


def test_metrics_arrive_with_their_zeros(receiver: Collector) -> None:
    telemetry = start_telemetry(settings(receiver.endpoint).telemetry, "ingress", 2)
    telemetry.instruments.count(Metric.EVENTS_CONSUMED, 3, topic="t")
    assert telemetry.shutdown(PATIENCE_S)
    metrics = receiver.metrics()
    assert metrics[Metric.EVENTS_CONSUMED] == {(("topic", "t"),): 3}
    assert metrics[Metric.UNSCREENED_PUBLISHED] == {(): 0}
    assert set(metrics[Metric.FAIL_CLOSED].values()) == {0}
    assert [dict(labels)["role"] for labels in metrics[Metric.BUILD_INFO]] == ["ingress"]


@pytest.mark.parametrize(
    ("opted_in", "copied"),
    [
        ("", set[str]()),
        ("messaging", {copy.name for copy in COPIES if copy.opt_in == "messaging"}),
        (
            "http,gen_ai_latest_experimental",
            {copy.name for copy in COPIES if copy.opt_in != "messaging"},
        ),
    ],
)
def test_conventional_names_are_pushed_as_well_where_they_are_opted_in(
    receiver: Collector, monkeypatch: pytest.MonkeyPatch, opted_in: str, copied: set[str]
) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", opted_in)
    telemetry = start_telemetry(settings(receiver.endpoint).telemetry, "ingress", 2)
    instruments = telemetry.instruments
    instruments.count(Metric.EVENTS_CONSUMED, 3, topic="t")
    instruments.count(Metric.EVENTS_PUBLISHED, 3, topic="t")
    instruments.observe(Metric.COMMIT_DURATION, 0.1)
    instruments.observe(Metric.PROCESSING_DURATION, 0.1, outcome="published")
    for outcome in ("ok", "timeout"):
        instruments.observe(Metric.LLM_REQUEST_DURATION, 0.1, model="m1", role="judge", outcome=outcome)
    for kind, tokens in (("input", 700), ("output", 90)):
        instruments.count(Metric.LLM_TOKENS, tokens, model="m1", kind=kind)
        instruments.observe(Metric.LLM_REQUEST_TOKENS, tokens, model="m1", kind=kind)
    assert telemetry.shutdown(PATIENCE_S)
    metrics = receiver.metrics()
    assert {name for name in metrics if not name.startswith("sluicegate_")} == copied
    if "messaging.client.consumed.messages" in copied:
        (labels,) = metrics["messaging.client.consumed.messages"]
        assert dict(labels) == {
            "messaging.system": "kafka",
            "messaging.operation.name": "poll",
            "messaging.destination.name": "t",
        }
    if "gen_ai.client.inference.duration" in copied:
        series = metrics["gen_ai.client.inference.duration"]
        assert {dict(labels).get("error.type") for labels in series} == {None, "timeout"}
        ((labels, tokens),) = metrics["gen_ai.client.inference.usage.input_tokens"].items()
        assert (dict(labels)["gen_ai.request.model"], tokens) == ("m1", 700)
        assert "kind" not in dict(labels)


@pytest.mark.parametrize("flags", ["00", "01", "03"])
def test_full_records_every_event_whatever_the_chat_service_decided(flags: str) -> None:
    memory = InMemory("full")
    with memory.tracing.event(record(flags)) as trace:
        headers = walk(trace)
    assert len(memory.spans) == 4
    assert int(headers["traceparent"][-2:], 16) & 1


@pytest.mark.parametrize("flags", ["00", "01"])
def test_ratio_goes_by_trace_id_whatever_the_chat_service_decided(flags: str) -> None:
    memory = InMemory("ratio", 0.5)
    low, high = "0" * 16 + "7" + "f" * 15, "0" * 16 + "8" + "0" * 15
    for trace_id in (low, high):
        with memory.tracing.event(record(flags, trace_id.replace("0", "1", 1))) as trace:
            walk(trace)
    assert len(memory.spans) == 4
    assert {f"{span.context.trace_id:032x}"[16:] for span in memory.spans if span.context} == {low[16:]}


def test_an_unsampled_event_records_nothing_and_tells_the_model_so() -> None:
    memory = InMemory("ratio", 0.0)
    with memory.tracing.event(record()) as trace:
        with trace.chat("generator", 1) as chat:
            assert not int(chat.headers["traceparent"][-2:], 16) & 1
        headers = walk(trace)
    assert not memory.spans
    assert headers["traceparent"][3:35] == trace.trace_id == TRACE_ID


@pytest.mark.parametrize("trace_id", [TRACE_ID, ""])
def test_an_unsampled_event_that_is_flagged_gets_one_span_with_its_true_start_and_ids(trace_id: str) -> None:
    memory = InMemory("ratio", 0.0)
    before_ns = time.time_ns()
    with memory.tracing.event(record(trace_id=trace_id)) as trace:
        opened_ns = time.time_ns()
        ids = (trace.trace_id, trace.span_id)
        headers = walk(trace, Action.WITHHELD)
    (span,) = memory.spans
    assert span.context is not None
    assert span.start_time is not None
    assert (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") == ids
    assert headers["traceparent"].startswith(f"00-{ids[0]}-{ids[1]}-")
    assert int(headers["traceparent"][-2:], 16) & 1
    assert before_ns <= span.start_time <= opened_ns
    attributes = span.attributes or {}
    assert attributes["sluicegate.action"] == "withheld"
    assert attributes["sluicegate.late"] is True
    assert attributes["sluicegate.keep"] is True
    assert (span.parent is None) == (trace_id == "")


def test_a_commit_is_recorded_when_one_of_its_events_was() -> None:
    memory = InMemory("ratio", 0.0)

    def result(flags: str) -> Result:
        headers = record(flags).headers
        out = OutRecord(topic="o", key=None, value=b"", headers=headers)
        return Result(topic="conversations.events", partition=0, offset=1, records=(out,))

    with memory.tracing.commit("conversations.events", [result("00")]):
        pass
    assert not memory.spans
    with memory.tracing.commit("conversations.events", [result("00"), result("01")]):
        pass
    assert [len(span.links) for span in memory.spans] == [1]


def test_the_resource_says_who_speaks() -> None:
    memory = InMemory("full")
    with memory.tracing.event(record()):
        pass
    known = memory.spans[0].resource.attributes
    assert known["service.name"] == "sluicegate"
    assert known["sluicegate.slot"] == 2
    assert "ingress-2" in str(known["service.instance.id"])


def _flood(tracing: Tracing, count: int) -> None:
    for _ in range(count):
        with tracing.event(record()) as trace:
            walk(trace)


def test_a_collector_that_refuses_or_hangs_delays_no_event_and_memory_stays_bounded() -> None:
    """The events make 16 times the spans that the queue takes; what is left over is counted as dropped.

    An export may take for ever: were it waited for, by an event or at the end, the test would not end either.
    """
    queue_max, events = 256, 1_024
    with SilentCollector() as silent:
        for endpoint in (closed_endpoint(), silent.endpoint):
            given = settings(endpoint, queue_max=queue_max, export_timeout_s=NEVER_S)
            telemetry = start_telemetry(given.telemetry, "ingress")
            tracing = telemetry.tracing(given)
            _flood(tracing, 200)
            tracemalloc.start()
            _flood(tracing, events)
            grown_bytes = tracemalloc.get_traced_memory()[0]
            tracemalloc.stop()
            assert grown_bytes < 8 << 20
            dropped = telemetry.instruments.value(DROPPED, signal="spans")
            assert dropped >= 4 * events - queue_max - 4 * 200
            telemetry.shutdown(0.5)


def test_spans_that_a_collector_refused_are_counted() -> None:
    given = settings(closed_endpoint(), export_timeout_s=0.2)
    telemetry = start_telemetry(given.telemetry, "ingress")
    with telemetry.tracing(given).event(record()) as trace:
        walk(trace)
    wait_for(lambda: telemetry.instruments.value(DROPPED, signal="spans") == 4, "the batch was given up")
    telemetry.shutdown(1)


@pytest.mark.parametrize("given", [TelemetrySettings(), TelemetrySettings(enabled=False, endpoint="http://x:1")])
def test_without_endpoint_or_switched_off_there_are_no_spans_and_a_context_passes_unchanged(
    given: TelemetrySettings,
) -> None:
    telemetry: Telemetry = start_telemetry(given, "ingress")
    with telemetry.tracing(Settings(telemetry=given)).event(record("01")) as trace:
        headers = walk(trace)
    assert headers["traceparent"] == f"00-{TRACE_ID}-{'12' * 8}-01"
    telemetry.instruments.count(Metric.REGENERATIONS)
    assert telemetry.shutdown(5)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        ("/v1/traces", {"content-type": "application/json"}, b"{}", 415),
        ("/v1/logs", {"content-type": "application/x-protobuf"}, b"", 404),
        ("/v1/traces", {"content-type": "application/x-protobuf"}, b"\xff\xff", 400),
        ("/v1/traces", {"content-type": "application/x-protobuf", "content-encoding": "gzip"}, b"no gzip", 400),
        ("/v1/traces", {"content-type": "application/x-protobuf", "content-length": str(BODY_BYTES_MAX + 1)}, b"", 413),
        ("/v1/traces", {"content-type": "application/x-protobuf", "content-length": "-1"}, b"", 415),
    ],
)
def test_the_receiver_refuses_what_it_cannot_take(
    receiver: Collector, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    connection = http.client.HTTPConnection(urlsplit(receiver.endpoint).netloc, timeout=5)
    connection.request("POST", path, body, headers)
    assert connection.getresponse().status == status
    connection.close()


def test_the_receiver_does_not_unpack_a_bomb(receiver: Collector) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(bytes(4 * BODY_BYTES_MAX)) + packer.flush()
    connection = http.client.HTTPConnection(urlsplit(receiver.endpoint).netloc, timeout=5)
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    connection.request("POST", "/v1/traces", bomb, headers)
    assert connection.getresponse().status == 400
    connection.close()
