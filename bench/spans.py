"""The cost of tracing and metrics for an event: microseconds by preset, medians of several rounds.

    python -m bench.spans

One event is what the pipeline opens for one attempt: process, guard input, chat, guard output, three stages, send.
Spans are sent to an exporter that forgets them, through the queue that workers use. Figures are CPU time of the thread
that processes events, so a busy machine does not change them; `all threads` adds the exporter's, and the encoding as
OTLP. The promised figure covers the whole path: the pipeline with a worker's telemetry minus the same without any.
"""

import asyncio
import random
import statistics
import time
from collections.abc import Callable, Sequence

from msgspec import structs
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from bench.report import Figure, median_figure
from bench.world import ForgetMetrics, record, stub_pipeline
from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import Action, ConversationEvent, Message, Role, TextPart
from topology.contract.labels import LabelerIdentity, RequestLabels, Verdict, VerdictKind
from topology.contract.names import DraftSource, Header
from topology.contract.records import Record
from topology.pipeline import Pipeline
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.process.interpreter import tune_interpreter
from workers.settings import Settings, TelemetrySettings
from workers.telemetry.exporting import BoundedSpanProcessor
from workers.telemetry.setup import Telemetry, start_telemetry
from workers.telemetry.span_encoding import encode_spans

ROUNDS = 9
EVENTS = 400
QUEUE_MAX = 1_000_000
SHARE = 0.05
"""What preset `ratio` samples by default."""
PROMISED_US = {"ratio": 100, "full": 500}
"""What tracing and metrics together may cost an event, CPU time of all threads."""
TOGETHER = 64
"""Events in flight."""

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
DRAFT = Draft(text="hello", source=DraftSource.GENERATOR, model="m", response_id="r")
STAGES = ("classification", "bias", "logging")
REPORTS = {name: CheckReport(check=name, version="1") for name in STAGES}


class Forget(SpanExporter):
    """An exporter that takes every batch, and encodes it first if asked."""

    def __init__(self, *, is_encoding: bool = False) -> None:
        self._is_encoding = is_encoding

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._is_encoding:
            encode_spans(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        pass


def one_event(tracing: Tracing, action: Action, given: Record = RECORD) -> None:
    with tracing.event(given) as trace:
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
    telemetry = settings_of(preset, ratio)
    processor = BoundedSpanProcessor(Forget(is_encoding=is_encoding), QUEUE_MAX, lambda _: None)
    return start_telemetry(telemetry, "bench", span_processors=[processor]).tracing(Settings(telemetry=telemetry))


class Mute(Instruments):
    """Instruments that count nothing, to compare with."""

    def count(self, name: str, n: float = 1, **labels: str) -> None:
        """Do nothing."""

    def observe(self, name: str, value: float, context: Context | None = None, **labels: str) -> None:
        """Do nothing."""

    def gauge_set(self, name: str, value: float, **labels: str) -> None:
        """Do nothing."""


def promised(rounds: int, events: int) -> list[Figure]:
    """Measure what tracing and metrics add to an event's CPU time, by preset; each round beside one without telemetry.

    The interpreter is tuned as a worker's, and stays so.
    """
    ids = random.Random(7)
    records = [traced(record(index), ids.getrandbits(128)) for index in range(TOGETHER * max(1, events // TOGETHER))]
    bare = stub_pipeline(Tracing.none(), Mute.none())
    worker = {preset: worker_telemetry(preset) for preset in PROMISED_US}
    piped = {preset: stub_pipeline(*_parts(each, preset)) for preset, each in worker.items()}
    added: dict[str, list[float]] = {preset: [] for preset in PROMISED_US}
    tune_interpreter()
    with asyncio.Runner() as runner:
        for number in range(rounds + 1):
            without_us = _cpu_us(runner, bare, records, lambda: None)
            for preset, pipeline in piped.items():
                with_us = _cpu_us(runner, pipeline, records, worker[preset].flush)
                if number:  # the first round fills caches
                    added[preset].append(with_us - without_us)
    for each in worker.values():
        each.shutdown(1)
    of = f"CPU time of all threads, OTLP encoding included, over the same pipeline without; {TOGETHER} in flight"
    return [
        median_figure("c", f"tracing and metrics, {preset}", taken, "µs", of=of, target=f"≤ {PROMISED_US[preset]} µs")
        for preset, taken in added.items()
    ]


def traced(given: Record, trace_id: int) -> Record:
    """Return the record in a trace of its own, as sampling by trace id needs it."""
    parent = f"00-{trace_id:032x}-{'12' * 8}-01".encode()
    headers = tuple((name, parent if name == Header.TRACEPARENT.value else value) for name, value in given.headers)
    return structs.replace(given, headers=headers)


def worker_telemetry(preset: str) -> Telemetry:
    processor = BoundedSpanProcessor(Forget(is_encoding=True), QUEUE_MAX, lambda _: None)
    return start_telemetry(
        settings_of(preset, SHARE), "ingress", 0, span_processors=[processor], metric_exporters=[ForgetMetrics()]
    )


def settings_of(preset: str, ratio: float) -> TelemetrySettings:
    return TelemetrySettings(preset="full" if preset == "full" else "ratio", ratio=ratio)


def _parts(telemetry: Telemetry, preset: str) -> tuple[Tracing, Instruments]:
    return telemetry.tracing(Settings(telemetry=settings_of(preset, SHARE))), telemetry.instruments


def _cpu_us(runner: asyncio.Runner, pipeline: Pipeline, records: Sequence[Record], flush: Callable[[], None]) -> float:
    async def so_many(some: Sequence[Record]) -> None:
        await asyncio.gather(*[pipeline.process(each) for each in some])

    started_s = time.process_time()
    for index in range(0, len(records), TOGETHER):
        runner.run(so_many(records[index : index + TOGETHER]))
    flush()
    return (time.process_time() - started_s) / len(records) * 1e6


def rounds_us(
    work: Callable[[], None],
    clock: Callable[[], float] = time.thread_time,
    *,
    rounds: int = ROUNDS,
    events: int = EVENTS,
) -> list[float]:
    """Return the mean microseconds of one call for each round, after a round that does not count."""
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
    """Return the median over rounds of the mean microseconds of one call."""
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
    for figure in promised(ROUNDS, 2 * EVENTS):
        print(f"{figure.value:9.1f}  {figure.name}: {figure.target}; {figure.of}")
    instruments = Instruments.none()
    count_us = median_us(lambda: instruments.count(Metric.FAIL_CLOSED, stage="bias", reason="timeout"))
    print(f"{count_us:9.2f}  one count")


if __name__ == "__main__":
    main()
