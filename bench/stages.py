"""Part c: the cost of each step for an event, in microseconds of CPU time."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import msgspec

from bench import spans
from bench.all_guards import whole_event
from bench.report import Figure, median_figure
from bench.world import (
    ANSWER,
    CHECKS,
    LABELS,
    TURNS,
    StubCheck,
    StubGenerator,
    event,
    record,
    sample_output,
    stub_pipeline,
)
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from topology.contract.codec import RecordLimits, decode_event, encode
from topology.contract.drafts import CheckReport, Draft
from topology.contract.events import Action, AuditedResponse, AuditRecord
from topology.contract.labels import (
    CategoryId,
    GuardRun,
    Outcome,
    OutputFinding,
    Plan,
    RequestFinding,
    RequestLabels,
    Verdict,
)
from topology.contract.names import DraftSource
from topology.decision.judge import judge, merge_reports
from topology.decision.plan import plan as make_plan
from topology.policy.loading import packaged_bundle
from topology.policy.overlays import STRICTEST
from topology.ports import CheckInput
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.settings import GuardSettings, Settings
from workers.stages.building import build_stage

BATCH = 48
BATCH_ROUNDS = 9
GUARDED_CALLS = 10
POLICY_US_MAX = 50
"""What plan and judge may take together of an event's CPU time."""


def measure(*, is_quick: bool, say: Callable[[str], None]) -> list[Figure]:
    """Measure every figure of this part, with fewer rounds if `is_quick`."""
    rounds, calls = (3, 50) if is_quick else (9, 400)
    figures = [
        *_pure(rounds, calls),
        *_stages(3 if is_quick else BATCH_ROUNDS),
        *_all_guards(rounds, 2 if is_quick else GUARDED_CALLS),
        *_spans(rounds, calls),
        *spans.promised(rounds, 2 * calls),
    ]
    for figure in figures:
        say(f"c: {figure.value:9.1f} {figure.unit}  {figure.name}")
    return figures


def _timed(name: str, work: Callable[[], object], rounds: int, calls: int, *, per: int = 1, of: str = "") -> Figure:
    """Return the median over rounds of the mean of one call, over `per` events; CPU time of all threads."""
    work()
    taken: list[float] = []
    for _ in range(rounds):
        started_s = time.process_time()
        for _ in range(calls):
            work()
        taken.append((time.process_time() - started_s) / calls / per * 1e6)
    return Figure(part="c", name=name, value=statistics.median(taken), unit="µs", of=of, runs=tuple(taken))


def _pure(rounds: int, calls: int) -> list[Figure]:
    read, limits = record(0), RecordLimits()
    response_bytes, audit_bytes = (out.value for out in sample_output())
    response = msgspec.json.decode(response_bytes, type=AuditedResponse)
    audit = msgspec.json.decode(audit_bytes, type=AuditRecord)
    return [
        _timed("decode", lambda: decode_event(read, limits), rounds, calls, of="2.5 KB of JSON, with its bounds"),
        _timed("encode", lambda: (encode(response), encode(audit)), rounds, calls, of="response and audit record"),
        *_policy(rounds, calls),
        _path(rounds, calls),
    ]


def _policy(rounds: int, calls: int) -> list[Figure]:
    """Measure the policy's own cost between the models' answers, for a harmless event and one with two findings."""
    bundle, user = packaged_bundle(), event(0).user
    runs = [GuardRun(guard=name, version="1", outcome=Outcome.OK, latency_ms=0.1) for name in CHECKS]
    clean = [StubCheck(name).report for name in CHECKS]
    asked = msgspec.structs.replace(LABELS, findings=(_asked("drugs.production"), _asked("wrongdoing.nonviolent")))
    mentioned = tuple(
        OutputFinding(category=finding.category, harm=3, detail_lo=1, detail_hi=1) for finding in asked.findings
    )
    found = [msgspec.structs.replace(clean[0], findings=mentioned), *clean[1:]]

    def planned(labels: RequestLabels) -> Plan:
        return make_plan(bundle, labels, overlay=STRICTEST, user=user, grants=frozenset())

    def judged(labels: RequestLabels, plan: Plan, reports: Sequence[CheckReport]) -> Verdict:
        return judge(
            bundle,
            plan,
            labels,
            merge_reports(reports, runs),
            overlay=STRICTEST,
            user=user,
            grants=frozenset(),
            attempts=1,
            revisions_max=2,
            required=frozenset(CHECKS),
        )

    plan = planned(LABELS)
    together = _timed(
        "plan and judge together",
        lambda: judged(asked, planned(asked), found),
        rounds,
        calls,
        of=f"two findings asked for and two found, reports of {len(CHECKS)} checks, merging included",
    )
    return [
        _timed("plan", lambda: planned(LABELS), rounds, calls, of="no findings"),
        _timed("judge", lambda: judged(LABELS, plan, clean), rounds, calls, of="clean reports, merging included"),
        msgspec.structs.replace(together, target=f"≤ {POLICY_US_MAX} µs"),
    ]


def _asked(category: str) -> RequestFinding:
    return RequestFinding(category=CategoryId(category), harm=3, asked_detail=3)


def _path(rounds: int, calls: int) -> Figure:
    """Measure the whole pipeline with ports that answer at once, 64 events in flight."""
    pipeline = stub_pipeline(Tracing.none(), Instruments.none())
    records = [record(index) for index in range(64)]

    async def all_of_them() -> None:
        await asyncio.gather(*[pipeline.process(each) for each in records])

    with asyncio.Runner() as runner:
        of = "ports answer at once; plan and judge real; tracing and metrics off; 64 in flight"
        return _timed("pipeline", lambda: runner.run(all_of_them()), rounds, max(1, calls // 40), per=64, of=of)


NGRAM_HEADS = Settings(guard=GuardSettings(encoder_path=""))


def _all_guards(rounds: int, calls: int) -> list[Figure]:
    """Measure the real guards of an event, with the encoder and without; no text comes twice, so nothing is kept."""
    figures: list[Figure] = []
    numbers = itertools.count()
    with asyncio.Runner() as runner:
        for name, settings in (("the encoder", Settings()), ("n-gram heads", NGRAM_HEADS)):
            work = whole_event(settings, runner)

            def one_event(work: Callable[[tuple[str, str]], None] = work) -> None:
                number = next(numbers)
                work((f"{number}. {TURNS[0]}", f"{number}. {ANSWER}"))

            of = "labeller, plan and three stages; a question, and an answer of half a kilobyte"
            figures.append(_timed(f"all guards of an event, {name}", one_event, rounds, calls, of=of))
    return figures


def _stages(rounds: int) -> list[Figure]:
    """Measure the labeller and the stages without the encoder, which keeps what it read and would not read it again."""
    settings, bundle = NGRAM_HEADS, packaged_bundle()
    labeler = EmbeddedLabeler(LinearModel.load(), bundle.categories)
    events = [event(index) for index in range(BATCH)]
    plan = make_plan(bundle, LABELS, overlay=STRICTEST, user=events[0].user, grants=frozenset())
    inputs = [
        CheckInput(event=each, labels=LABELS, plan=plan, draft=_draft(index), attempt=1, policy=bundle)
        for index, each in enumerate(events)
    ]
    with asyncio.Runner() as runner:

        async def label() -> None:
            for each in events:
                await labeler.label(each)

        figures = [
            _timed("labeler", lambda: runner.run(label()), rounds, 1, per=BATCH, of="n-gram heads, one at a time")
        ]
    for name in CHECKS:
        stage = build_stage(settings, name)
        stage.run(inputs)

        def one_by_one(run: Callable[[Sequence[CheckInput]], object] = stage.run) -> None:
            for given in inputs:
                run([given])

        def at_once(run: Callable[[Sequence[CheckInput]], object] = stage.run) -> None:
            run(inputs)

        figures.append(_timed(f"stage {name}", at_once, rounds, 1, per=BATCH, of=f"n-gram heads, batch of {BATCH}"))
        figures.append(_timed(f"stage {name}", one_by_one, rounds, 1, per=BATCH, of="n-gram heads, batch of 1"))
    return figures


def _draft(index: int) -> Draft:
    """Return a draft of its own for each event, so that nothing is found in a cache."""
    return Draft(text=f"{ANSWER} Lock number {index}.", source=DraftSource.GENERATOR, model=StubGenerator.DRAFT.model)


def _spans(rounds: int, calls: int) -> list[Figure]:
    cases = {
        "spans, tracing off": (Tracing.none(), Action.PUBLISHED),
        "spans, ratio, unsampled": (spans.tracing_of("ratio", 0.0), Action.PUBLISHED),
        "spans, ratio, unsampled, flagged": (spans.tracing_of("ratio", 0.0), Action.REFUSED),
        "spans, full": (spans.tracing_of("full", 1.0), Action.PUBLISHED),
    }
    return [
        median_figure(
            "c",
            name,
            spans.rounds_us(lambda given=given: spans.one_event(*given), rounds=rounds, events=calls),
            "µs",
            of="one attempt, eight spans where recorded; processing thread",
        )
        for name, given in cases.items()
    ]
