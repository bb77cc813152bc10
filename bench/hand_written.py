"""Part i: what this project wrote itself although a library does the job, in microseconds beside that library's.

docs/adr/0017-hand-written-hot-paths.md says why each of them exists. Both sides of a pair run in turn in one process,
each round gives one quotient, and their median is the pair's share: below 1 the hand-written part is faster.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Sequence

import uvloop
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as encode_by_sdk
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import INVALID_SPAN, set_span_in_context

from bench import spans
from bench.report import Figure, median_figure
from topology.contract.events import Action
from topology.steps.time_limit import TimeLimit
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.process.interpreter import tune_interpreter
from workers.settings import Settings, TelemetrySettings
from workers.telemetry.histograms import Histograms
from workers.telemetry.setup import start_telemetry
from workers.telemetry.span_encoding import encode_spans

Work = Callable[[], object]

BATCH_SPANS = 512
"""Spans of one export, as `workers.telemetry.exporting` sends them."""
FLAGGED_EVERY = 50
"""One event in fifty is flagged: a share of 2 %, beside the 5 % that are sampled by trace id."""
LIMIT_S = 10.0


def measure(*, is_quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Measure every pair, with fewer rounds if `is_quick`."""
    rounds, calls = (3, 100) if is_quick else (15, 2_000)
    tune_interpreter()  # as in a worker, and so for the rest of the process
    figures = [
        *_histograms(rounds, calls),
        *_encoding(rounds, max(1, calls // 200)),
        *_time_limits(rounds, 10 * calls),
        *_late_spans(rounds, calls),
    ]
    for figure in figures:
        say(f"i: {figure.value:9.2f} {figure.unit:2}  {figure.name}")
    return figures


def _pair(
    name: str, ours: Work, library: tuple[str, Work], *, rounds: int, calls: int, per: int, of: str
) -> list[Figure]:
    """Return the cost of both sides and the share. A call does the thing `per` times; CPU time of all threads."""
    library_name, library_work = library
    own_us, library_us = [_round_us(ours, 1, per)], [_round_us(library_work, 1, per)]  # fills caches; not counted
    for _ in range(rounds):
        own_us.append(_round_us(ours, calls, per))
        library_us.append(_round_us(library_work, calls, per))
    shares = [own / other for own, other in zip(own_us[1:], library_us[1:], strict=True)]
    return [
        median_figure("i", name, own_us[1:], "µs", of=of),
        median_figure("i", f"{name}: {library_name}", library_us[1:], "µs", of="the same"),
        median_figure("i", f"{name}: share of the library's time", shares, "", target="< 1"),
    ]


def _round_us(work: Work, calls: int, per: int) -> float:
    started_s = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - started_s) / calls / per * 1e6


def _histograms(rounds: int, calls: int) -> list[Figure]:
    """Record a duration under an event that is not sampled, through the instruments that workers use."""
    context = set_span_in_context(INVALID_SPAN, Context())
    meter = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("bench")
    ours, library = Instruments(meter, Histograms().recorder_of), Instruments(meter)

    def recording(instruments: Instruments) -> Work:
        return lambda: instruments.observe(Metric.STAGE_DURATION, 0.01, context, stage="bias")

    return _pair(
        "histogram, one value",
        recording(ours),
        ("the SDK's", recording(library)),
        rounds=rounds,
        calls=10 * calls,
        per=1,
        of="label lookup included; six for each event",
    )


def _encoding(rounds: int, calls: int) -> list[Figure]:
    """Encode full batches of the spans of ordinary events."""
    batch = _spans_of_events()
    return _pair(
        "OTLP encoding, one span",
        lambda: encode_spans(batch),
        ("the SDK's", lambda: encode_by_sdk(batch).SerializeToString()),
        rounds=rounds,
        calls=calls,
        per=len(batch),
        of=f"batches of {len(batch)}; eight spans for each sampled event",
    )


def _spans_of_events() -> Sequence[ReadableSpan]:
    kept = InMemorySpanExporter()
    given = TelemetrySettings(preset="full")
    telemetry = start_telemetry(given, "bench", 0, span_processors=[SimpleSpanProcessor(kept)])
    tracing = telemetry.tracing(Settings(telemetry=given))
    while len(kept.get_finished_spans()) < BATCH_SPANS:
        spans.one_event(tracing, Action.PUBLISHED)
    return kept.get_finished_spans()[:BATCH_SPANS]


def _time_limits(rounds: int, calls: int) -> list[Figure]:
    """Enter and leave a limit that is not reached, in a task of uvloop's loop."""

    async def ours() -> None:
        for _ in range(calls):
            with TimeLimit(LIMIT_S):
                pass

    async def library() -> None:
        for _ in range(calls):
            async with asyncio.timeout(LIMIT_S):  # noqa: ASYNC100 - what it costs to enter and leave it
                pass

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return _pair(
            "time limit",
            lambda: runner.run(ours()),
            ("asyncio.timeout", lambda: runner.run(library())),
            rounds=rounds,
            calls=1,
            per=calls,
            of="entered and left under uvloop; two for each event",
        )


def _late_spans(rounds: int, calls: int) -> list[Figure]:
    """Trace a mix of events, flagged and not: with a late span for each flagged one, or with every span of all."""
    ids = random.Random(7)
    records = [spans.traced(spans.RECORD, ids.getrandbits(128)) for _ in range(max(FLAGGED_EVERY, calls))]
    actions = [Action.PUBLISHED] * (FLAGGED_EVERY - 1) + [Action.REFUSED]
    mix = list(zip(records, itertools.cycle(actions), strict=False))

    def tracing(preset: str) -> Work:
        telemetry = spans.worker_telemetry(preset)
        started = telemetry.tracing(Settings(telemetry=spans.settings_of(preset, spans.SHARE)))

        def all_of_them() -> None:
            for each, action in mix:
                spans.one_event(started, action, each)
            telemetry.flush()

        return all_of_them

    return _pair(
        "a span for each flagged event",
        tracing("ratio"),
        ("every span, for a Collector that samples", tracing("full")),
        rounds=rounds,
        calls=1,
        per=len(mix),
        of=f"{spans.SHARE:.0%} sampled, 1 in {FLAGGED_EVERY} flagged; OTLP encoding included",
    )
