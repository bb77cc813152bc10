"""What tracing costs an event: microseconds by preset, medians of several rounds.

    python -m bench.spans

One event is what the pipeline opens for one attempt: process, guard input, chat, guard output, three stages, send.
Spans go to an exporter that forgets them, through the queue that workers use. Figures are CPU time of the thread that
processes events, so a busy machine does not change them; `all threads` adds the exporter's, and the encoding as OTLP.
"""

import statistics
import time
from collections.abc import Callable, Sequence

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from topology.events import Action, ConversationEvent, Message, Role, TextPart
from topology.instruments import Instruments
from topology.labels import LabelerIdentity, RequestLabels, Verdict, VerdictKind
from topology.metrics import Metric
from topology.ports import CheckReport, Draft, Record
from topology.tracing import Tracing
from workers.exporting import BoundedSpanProcessor
from workers.settings import Settings, TelemetrySettings
from workers.telemetry import start_telemetry

ROUNDS = 9
EVENTS = 400
QUEUE_MAX = 1_000_000

RECORD = Record(
    topic="conversations.events",
    partition=0,
    offset=1,
    timestamp_ms=1,
    key=b"c",
    value=b"v" * 1000,
    headers=(("traceparent", b"00-" + b"ab" * 16 + b"-" + b"12" * 8 + b"-01"),),
)
EVENT = ConversationEvent(
    event_id="e-1",
    conversation_id="c-1",
    tenant_id="t-1",
    messages=(Message(role=Role.USER, parts=(TextPart(text="hello"),)),),
)
LABELS = RequestLabels(labeler=LabelerIdentity(model="embedded", version="1"))
VERDICT = Verdict(verdict=VerdictKind.PUBLISH, rule_ids=("rule.1",), policy_ref="p@1")
DRAFT = Draft(text="hello", source="generator", model="m", response_id="r")
STAGES = ("classification", "bias", "logging")
REPORTS = {name: CheckReport(check=name, version="1") for name in STAGES}


class Forget(SpanExporter):
    """Takes every batch; encodes it first if asked."""

    def __init__(self, *, is_encoding: bool = False) -> None:
        self._is_encoding = is_encoding

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._is_encoding:
            encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def one_event(tracing: Tracing, action: Action) -> None:
    with tracing.event(RECORD) as trace:
        trace.of_event(EVENT, "p@1")
        with trace.guard_input() as span:
            span.labels(LABELS)
        with trace.chat("generator", 1, EVENT.generation) as chat:
            chat.answered(DRAFT)
        with trace.guard_output() as span:
            for name in STAGES:
                with trace.stage(name) as stage:
                    stage.reported(REPORTS[name])
            span.verdict(VERDICT)
        trace.decided(action, ("rule.1",))
        with trace.send("conversations.audited"):
            pass


def tracing_of(preset: str, ratio: float, *, is_encoding: bool = False) -> Tracing:
    telemetry = TelemetrySettings(preset="full" if preset == "full" else "ratio", ratio=ratio)
    processor = BoundedSpanProcessor(Forget(is_encoding=is_encoding), QUEUE_MAX, lambda _: None)
    return start_telemetry(telemetry, "bench", span_processors=[processor]).tracing(Settings(telemetry=telemetry))


def rounds_us(
    work: Callable[[], None],
    clock: Callable[[], float] = time.thread_time,
    *,
    rounds: int = ROUNDS,
    events: int = EVENTS,
) -> list[float]:
    """The mean microseconds of one call, round by round, after a round that does not count."""
    for _ in range(events):
        work()
    taken: list[float] = []
    for _ in range(rounds):
        started_s = clock()
        for _ in range(events):
            work()
        taken.append((clock() - started_s) / events * 1e6)
    return taken


def median_us(work: Callable[[], None], clock: Callable[[], float] = time.thread_time) -> float:
    """Median over rounds of the mean microseconds of one call."""
    return statistics.median(rounds_us(work, clock))


def main() -> None:
    cases = {
        "off": (Tracing.none(), Action.PUBLISHED),
        "ratio, unsampled": (tracing_of("ratio", 0.0), Action.PUBLISHED),
        "ratio, unsampled, flagged": (tracing_of("ratio", 0.0), Action.REFUSED),
        "full": (tracing_of("full", 1.0), Action.PUBLISHED),
    }
    print(f"{ROUNDS} rounds of {EVENTS} events, median, µs per event")
    costs = {name: median_us(lambda given=given: one_event(*given)) for name, given in cases.items()}
    for name, cost in costs.items():
        print(f"{cost:9.1f}  {name}")
    print(f"{costs['ratio, unsampled'] * 0.95 + costs['full'] * 0.05:9.1f}  ratio 5 %, nothing flagged (computed)")
    encoding = tracing_of("full", 1.0, is_encoding=True)
    all_threads_us = median_us(lambda: one_event(encoding, Action.PUBLISHED), time.process_time)
    print(f"{all_threads_us:9.1f}  full, all threads, encoded")
    instruments = Instruments.none()
    count_us = median_us(lambda: instruments.count(Metric.FAIL_CLOSED, stage="bias", reason="timeout"))
    print(f"{count_us:9.2f}  one count")


if __name__ == "__main__":
    main()
