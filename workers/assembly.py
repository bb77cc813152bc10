"""The assembly of one worker from settings. No other module knows every concrete class."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from topology.contract.codec import RecordLimits
from topology.contract.headers import Wire
from topology.delivery.turns import FairTurns
from topology.pipeline import Bounds, Pipeline
from topology.policy.in_force import Policies
from topology.ports import Check, ConversationStates, Departures, Generator, Labeler, ReleasesFactory, Sink, TenantUses
from topology.steps.canary import RequireGenuine, require_genuine
from topology.steps.limiting import Gate
from topology.steps.publishing import Routes
from topology.streamed.answering import StreamBounds
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.kafka.sink_process import open_sink
from workers.kafka.source import KafkaSource
from workers.policy.files import PolicyFiles
from workers.policy.grants import grant_verifier
from workers.policy.keeper import PolicyHealth, PolicyKeeper
from workers.policy.signing import public_keys, signature_check
from workers.policy.topic import PolicyTopic
from workers.process.clock import SystemClock
from workers.process.interpreter import tune_interpreter
from workers.settings import Settings
from workers.stages.building import build_checks, build_drafting, close_checks, stage_settings, text_digest
from workers.stages.language_models import ModelSet
from workers.stages.turn_marks import with_turn_marks
from workers.stream.cancellations import Cancellations, open_cancellations
from workers.stream.conversation_states import memory_of, open_states
from workers.stream.crash_journal import open_journal
from workers.stream.loop import Loop, LoopHealth, Tenancy
from workers.stream.processing import Close
from workers.stream.quarantine import build_quarantine
from workers.stream.tenant_uses import Shares, open_uses
from workers.streaming.opening import WorkerStreams, open_streams
from workers.telemetry.letter_notes import LetterNotes, NotedSink
from workers.telemetry.logs import configure_logging
from workers.telemetry.model_health import ModelHealth
from workers.telemetry.night_watch import NightWatch, TimeBound, WatchBounds, guard_bounds
from workers.telemetry.openmetrics import Family
from workers.telemetry.setup import TELEMETRY_STOP_S, Telemetry, start_telemetry

logger = logging.getLogger("sluicegate.assembly")


class Worker:
    """One slot's loop and everything it owns."""

    def __init__(self, parts: "_Parts", telemetry: Telemetry, keeper: PolicyKeeper) -> None:
        self._loop = parts.loop
        self._models = parts.models
        self._watch = parts.watch
        self._telemetry = telemetry
        self._keeper = keeper

    def run(self) -> int:
        """Work until drained. Return how many records were committed. Raises what broke the loop."""
        tune_interpreter()
        self._watch.start()
        try:
            self._loop.run()
        except Exception:
            logger.exception("worker failed")  # the supervisor, in another process, sees only its type
            raise
        finally:
            self._watch.stop()
            self._keeper.stop()
            self._telemetry.shutdown(TELEMETRY_STOP_S)
        return self._loop.health().committed_count

    def drain(self, timeout_s: float) -> None:
        """See `Loop.drain`."""
        self._loop.drain(timeout_s)

    def health(self) -> LoopHealth:
        """See `Loop.health`."""
        return self._loop.health()

    def model_health(self) -> list[ModelHealth]:
        """See `ModelSet.health`."""
        return self._models.health()

    def troubles(self) -> tuple[str, ...]:
        """Return what the night watch found last, a sentence each."""
        return self._watch.troubles

    def policy_health(self) -> PolicyHealth | None:
        """See `PolicyKeeper.health`."""
        return self._keeper.health()

    def families(self) -> list[Family]:
        """See `Telemetry.families`."""
        return self._telemetry.families()


def build_worker(settings: Settings, slot: int, stage_actors: Mapping[str, Sequence[Any]]) -> Worker:
    """Return the worker of `slot`, connected to Kafka. `stage_actors` holds the handles of stages placed in actors.

    Raises KafkaUnavailable, KafkaRefused or SlotFenced, PolicyError for a policy that must not be loaded, and what
    `with_turn_marks` raises.
    """
    configure_logging(settings.telemetry.log_level, sys.stdout)
    telemetry = start_telemetry(settings.telemetry, "ingress", slot)
    with ExitStack() as undo:  # this process may try many times before it succeeds
        undo.callback(telemetry.shutdown, TELEMETRY_STOP_S)
        try:
            settings = with_turn_marks(settings)
            keeper = policy_keeper(settings, telemetry.instruments)
            parts = _build_parts(settings, slot, stage_actors, telemetry, keeper, undo)
        except Exception:
            logger.exception("worker not built")  # the supervisor, in another process, sees only its type
            raise
        undo.pop_all()
    return Worker(parts, telemetry, keeper)


class _Work(NamedTuple):
    """The pipeline of a worker, and what it keeps: conversations, tenants, and `close` for the rest."""

    pipeline: Pipeline
    states: ConversationStates | None
    uses: TenantUses | None
    departures: Cancellations | None
    close: Close
    models: ModelSet
    streams: WorkerStreams | None


class _Parts(NamedTuple):
    """The loop of a worker, its language models, and the watch over both."""

    loop: Loop
    models: ModelSet
    watch: NightWatch


def _build_parts(
    settings: Settings,
    slot: int,
    stage_actors: Mapping[str, Sequence[Any]],
    telemetry: Telemetry,
    keeper: PolicyKeeper,
    undo: ExitStack,
) -> _Parts:
    """Return the parts. `undo` gets what has to be released if a later part cannot be built."""
    metrics, tracing = telemetry.instruments, telemetry.tracing(settings)
    if settings.canary.keys:  # from now on an alert waits for probes
        metrics.gauge_set(Metric.CANARY_LAST_SUCCESS, SystemClock().now_ms() / 1000)
    undo.callback(keeper.stop)
    keeper.start()
    work = _build_work(settings, stage_actors, keeper, tracing, metrics, undo)
    journal = open_journal(settings, slot, metrics)
    undo.callback(journal.close)
    source = KafkaSource(settings.kafka, settings.topics.events, slot, metrics=metrics)
    undo.callback(source.close)
    log_level = settings.telemetry.log_level
    sink = open_sink(settings.kafka, slot, exit_process=journal.exit_process, metrics=metrics, log_level=log_level)
    logger.info("worker started", extra={"slot": slot, "pid": os.getpid(), "policy": keeper.current().bundle.ref})
    letters = LetterNotes(settings.topics.dead_letters)
    noted: Sink = NotedSink(sink, letters)
    if work.streams is not None:
        work.streams.begin(source.ownership, sink.first_identity)
        noted = work.streams.checked(noted)
    loop = Loop(
        source,
        noted,
        work.pipeline.process,
        clock=SystemClock(),
        limits=settings.limits,
        metrics=metrics,
        tracing=tracing,
        close=work.close,
        quarantine=build_quarantine(settings.limits, journal, work.pipeline),
        states=work.states,
        give_up=work.pipeline.give_up,
        tenancy=_tenancy(settings, keeper, work),
    )
    return _Parts(loop, work.models, _night_watch(settings, metrics, letters, work.models))


def _tenancy(settings: Settings, keeper: PolicyKeeper, work: _Work) -> Tenancy:
    streams = None if work.streams is None else work.streams.memory
    if work.uses is None:
        return Tenancy(departures=work.departures, streams=streams)
    shares = Shares(settings, keeper)
    return Tenancy(work.uses, lambda: FairTurns(shares.of), departures=work.departures, streams=streams)


def _night_watch(settings: Settings, metrics: Instruments, letters: LetterNotes, models: ModelSet) -> NightWatch:
    told, limits = settings.telemetry, settings.limits
    guards = guard_bounds(
        assess=limits.assess_timeout_s,
        stages={name: stage.timeout_s for name, stage in stage_settings(settings).items()},
        guard_llm=limits.checks_timeout_s,
    )
    bounds = WatchBounds(
        guards=guards,
        lag=TimeBound("telemetry.lag_warning_s", told.lag_warning_s),
        standstill=TimeBound("telemetry.standstill_warning_s", told.standstill_warning_s),
    )
    return NightWatch(metrics, letters, models.health, bounds, monotonic_s=SystemClock().monotonic_s)


def _build_work(
    settings: Settings,
    stage_actors: Mapping[str, Sequence[Any]],
    keeper: PolicyKeeper,
    tracing: Tracing,
    metrics: Instruments,
    undo: ExitStack,
) -> _Work:
    models = ModelSet(settings, SystemClock(), metrics)
    checks = build_checks(settings, stage_actors, models.checks, metrics)

    async def close() -> None:
        await close_checks(checks)
        await models.aclose()

    undo.callback(lambda: asyncio.run(close()))
    states = open_states(settings, SystemClock(), metrics)
    if states is not None:
        undo.callback(states.close)
    uses = open_uses(settings, SystemClock(), metrics)
    if uses is not None:
        undo.callback(uses.close)
    departures = open_cancellations(settings, metrics)
    if departures is not None:
        undo.callback(departures.close)
    streams = open_streams(settings, metrics)
    if streams is not None:
        undo.callback(streams.close)
    pipeline = build_pipeline(
        settings,
        keeper.current,
        models.labeler,
        models.generator,
        checks,
        tracing,
        metrics,
        states,
        uses,
        departures=departures,
        releases=None if streams is None else streams.releases,
    )
    return _Work(pipeline, states, uses, departures, close, models, streams)


def policy_keeper(settings: Settings, metrics: Instruments) -> PolicyKeeper:
    """Return the keeper of the policy, with the source that settings name."""
    return PolicyKeeper(
        PolicyTopic(settings, metrics) if settings.policy.source == "topic" else PolicyFiles(settings),
        source_name=settings.policy.source,
        interval_s=settings.policy.reload_interval_s,
        clock=SystemClock(),
        metrics=metrics,
    )


def build_pipeline(
    settings: Settings,
    policies: Callable[[], Policies],
    labeler: Labeler,
    generator: Generator,
    checks: Sequence[Check],
    tracing: Tracing,
    metrics: Instruments,
    states: ConversationStates | None = None,
    uses: TenantUses | None = None,
    departures: Departures | None = None,
    releases: ReleasesFactory | None = None,
) -> Pipeline:
    """Return the pipeline over the given ports, with bounds and routes from settings.

    Without `states` there is no memory, without `releases` every answer leaves whole.
    """
    topics = settings.topics
    return Pipeline(
        policies=policies,
        labeler=labeler,
        drafting=build_drafting(settings, generator, checks, metrics),
        grants=grant_verifier(settings),
        digest=text_digest(settings),
        routes=Routes(
            audited=topics.audited,
            audit=topics.audit,
            review=topics.review,
            canary=topics.canary,
            dead_letters=topics.dead_letters,
            state=topics.state,
            wire=Wire(topics.wire),
            rejected_answers=topics.rejected_answers,
        ),
        bounds=_bounds(settings),
        tracing=tracing,
        metrics=metrics,
        clock=SystemClock(),
        memory=None if states is None else memory_of(settings, states),
        gate=Gate(require_genuine=canary_guard(settings), uses=uses, departures=departures, releases=releases),
    )


def _bounds(settings: Settings) -> Bounds:
    limits = settings.limits
    return Bounds(
        deadline_default_s=limits.deadline_default_s,
        assess_timeout_s=limits.assess_timeout_s,
        records=RecordLimits(
            event_bytes_max=limits.event_bytes_max,
            dead_letter_bytes_max=limits.dead_letter_bytes_max,
            nesting_depth_max=limits.nesting_depth_max,
        ),
        streams=StreamBounds(
            model=settings.generation.model,
            tokens_max=settings.generation.max_tokens,
            open_timeout_s=settings.streaming.open_timeout_s,
        ),
    )


def canary_guard(settings: Settings) -> RequireGenuine:
    """Return the check that refuses canaries which the platform did not sign."""
    keys = public_keys(settings.canary.keys, "canary.keys")
    check = signature_check(keys, accept_undomained=settings.signatures.accept_undomained)
    age_max_ms = int(settings.canary.age_max_s * 1000)
    return lambda event, now_ms: require_genuine(event, now_ms, age_max_ms, check)
