"""From settings to the objects of one worker. The only place that knows every concrete class."""

import asyncio
import functools
import logging
import os
import random
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from msgspec import structs

from serving.generation.prompts import compile_prompt, tenant_text
from serving.generation.rules import rules_hash, wording
from serving.guards.per_policy import PerPolicy, PolicyStage
from topology.contract.codec import RecordLimits
from topology.contract.events import Message
from topology.contract.headers import Wire
from topology.contract.labels import Plan
from topology.contract.names import StageName
from topology.pipeline import Bounds, Pipeline, Routes
from topology.policy.in_force import Policies
from topology.ports import Check, ConversationStates, Generator, Labeler, Stage
from topology.steps.canary import RequireGenuine, require_genuine
from topology.steps.case import Case
from topology.steps.drafting import Budget, CompilePrompt, Drafting
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.kafka.client import slot_name
from workers.kafka.sink_process import open_sink
from workers.kafka.source import KafkaSource
from workers.policy.files import PolicyFiles
from workers.policy.grants import Ed25519GrantVerifier, public_keys, signature_verifier
from workers.policy.keeper import PolicyKeeper
from workers.policy.topic import PolicyTopic
from workers.process.clock import SystemClock
from workers.process.exit_codes import ExitCode
from workers.process.interpreter import tune_interpreter
from workers.settings import Settings, StageSettings
from workers.stages.batching import BatchedCheck, InlineRunner
from workers.stages.language_models import ModelSet
from workers.stages.pool import ActorRunner
from workers.stream.conversation_states import memory_of, open_states
from workers.stream.crash_journal import CrashJournal, own_directory
from workers.stream.loop import Loop, LoopHealth
from workers.stream.quarantine import Quarantine
from workers.telemetry.logs import configure_logging
from workers.telemetry.openmetrics import Family
from workers.telemetry.setup import Telemetry, start_telemetry

logger = logging.getLogger("sluicegate.assembly")

TELEMETRY_STOP_S = 5.0
"""Bound on the last export."""


class Worker:
    """One slot's loop and everything it owns."""

    def __init__(self, loop: Loop, telemetry: Telemetry, keeper: PolicyKeeper) -> None:
        self._loop = loop
        self._telemetry = telemetry
        self._keeper = keeper

    def run(self) -> int:
        """Work until drained; returns how many records were committed. Raises what broke the loop."""
        tune_interpreter()
        try:
            self._loop.run()
        except Exception:
            logger.exception("worker failed")  # the supervisor, in another process, sees the type alone
            raise
        finally:
            self._keeper.stop()
            self._telemetry.shutdown(TELEMETRY_STOP_S)
        return self._loop.health().committed_count

    def drain(self, timeout_s: float) -> None:
        """As `Loop.drain`."""
        self._loop.drain(timeout_s)

    def health(self) -> LoopHealth:
        """As `Loop.health`, with what the keeper says of the policy."""
        return structs.replace(self._loop.health(), policy=self._keeper.health())

    def families(self) -> list[Family]:
        """As `Telemetry.families`."""
        return self._telemetry.families()


def build_worker(settings: Settings, slot: int, stage_actors: Mapping[str, Sequence[Any]]) -> Worker:
    """The worker of `slot`, connected to Kafka. `stage_actors` holds handles for stages placed in actors.

    Raises KafkaUnavailable, KafkaRefused or SlotFenced, and PolicyError for a policy that must not be loaded.
    """
    configure_logging(settings.telemetry.log_level, sys.stdout)
    telemetry = start_telemetry(settings.telemetry, "ingress", slot)
    with ExitStack() as undo:  # this process may build many before one succeeds
        undo.callback(telemetry.shutdown, TELEMETRY_STOP_S)
        try:
            keeper = policy_keeper(settings, telemetry.instruments)
            loop = _build_loop(settings, slot, stage_actors, telemetry, keeper, undo)
        except Exception:
            logger.exception("worker not built")  # the supervisor, in another process, sees the type alone
            raise
        undo.pop_all()
    return Worker(loop, telemetry, keeper)


def _build_loop(
    settings: Settings,
    slot: int,
    stage_actors: Mapping[str, Sequence[Any]],
    telemetry: Telemetry,
    keeper: PolicyKeeper,
    undo: ExitStack,
) -> Loop:
    """The loop; what must be let go of when a later part fails is put on `undo`."""
    metrics = telemetry.instruments
    if settings.canary.keys:  # from now on somebody waits for probes
        metrics.gauge_set(Metric.CANARY_LAST_SUCCESS, SystemClock().now_ms() / 1000)
    undo.callback(keeper.stop)
    keeper.start()
    models = ModelSet(settings, SystemClock(), metrics)
    checks = build_checks(settings, stage_actors, models.checks, metrics)
    tracing = telemetry.tracing(settings)
    states = open_states(settings, SystemClock(), metrics)
    if states is not None:
        undo.callback(states.close)
    pipeline = build_pipeline(
        settings, keeper.current, models.labeler, models.generator, checks, tracing, metrics, states
    )

    async def close() -> None:
        for check in checks:
            if isinstance(check, BatchedCheck):
                await check.close()
        await models.aclose()

    undo.callback(lambda: asyncio.run(close()))
    journal = open_journal(settings, slot, metrics)
    undo.callback(journal.close)
    source = KafkaSource(settings.kafka, settings.topics.events, slot, metrics=metrics)
    undo.callback(source.close)
    log_level = settings.telemetry.log_level
    sink = open_sink(settings.kafka, slot, exit_process=ending(journal), metrics=metrics, log_level=log_level)
    logger.info("worker started", extra={"slot": slot, "pid": os.getpid(), "policy": keeper.current().bundle.ref})
    return Loop(
        source,
        sink,
        pipeline.process,
        clock=SystemClock(),
        limits=settings.limits,
        metrics=metrics,
        tracing=tracing,
        close=close,
        quarantine=build_quarantine(settings, journal, pipeline),
        states=states,
    )


def policy_keeper(settings: Settings, metrics: Instruments) -> PolicyKeeper:
    """The keeper of the policy, from where settings say it comes."""
    return PolicyKeeper(
        PolicyTopic(settings, metrics) if settings.policy.source == "topic" else PolicyFiles(settings),
        source_name=settings.policy.source,
        interval_s=settings.policy.reload_interval_s,
        clock=SystemClock(),
        metrics=metrics,
    )


def open_journal(settings: Settings, slot: int, metrics: Instruments) -> CrashJournal:
    """What the slot's last process left running, if it crashed."""
    limits = settings.limits
    parent = Path(limits.crash_journal_directory or tempfile.gettempdir())
    journal = CrashJournal.open(parent / own_directory(), slot_name(settings.kafka, slot), limits.in_flight_max)
    metrics.count(Metric.SUSPECTS, journal.new_count)
    return journal


def ending(journal: CrashJournal) -> Callable[[int], NoReturn]:
    """Ends the process on purpose, so that what runs is held against nobody."""

    def exit_process(code: int) -> NoReturn:
        journal.end()
        os._exit(code)

    return exit_process


def build_quarantine(settings: Settings, journal: CrashJournal, pipeline: Pipeline) -> Quarantine:
    """One whose records the pipeline answers."""
    return Quarantine(
        journal, crashes_max=settings.limits.crashes_max, decodes=pipeline.decodes, answer=pipeline.quarantine
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
) -> Pipeline:
    """The pipeline over the given ports, with bounds and routes from settings; no memory without `states`."""
    limits, topics = settings.limits, settings.topics
    return Pipeline(
        policies=policies,
        labeler=labeler,
        drafting=_build_drafting(settings, generator, checks, metrics),
        grants=Ed25519GrantVerifier(public_keys(settings.grants.keys)),
        digest=text_digest(settings),
        routes=Routes(
            audited=topics.audited,
            audit=topics.audit,
            review=topics.review,
            canary=topics.canary,
            dead_letters=topics.dead_letters,
            wire=Wire(topics.wire),
        ),
        bounds=Bounds(
            deadline_default_s=limits.deadline_default_s,
            assess_timeout_s=limits.assess_timeout_s,
            records=RecordLimits(
                event_bytes_max=limits.event_bytes_max,
                dead_letter_bytes_max=limits.dead_letter_bytes_max,
                nesting_depth_max=limits.nesting_depth_max,
            ),
        ),
        tracing=tracing,
        metrics=metrics,
        clock=SystemClock(),
        memory=None if states is None else memory_of(settings, states),
        require_genuine=canary_guard(settings),
    )


def canary_guard(settings: Settings) -> RequireGenuine:
    """Tells canaries that the platform signed from forged ones."""
    is_signed = signature_verifier(public_keys(settings.canary.keys))
    age_max_ms = int(settings.canary.age_max_s * 1000)
    return lambda event, now_ms: require_genuine(event, now_ms, age_max_ms, is_signed)


def _build_drafting(
    settings: Settings, generator: Generator, checks: Sequence[Check], metrics: Instruments
) -> Drafting:
    return Drafting(
        generator=generator,
        checks=checks,
        compile_prompt=prompt_compiler(),
        prompt_hash=rules_hash(),
        budget=Budget(
            revisions_max=settings.policy.revisions_max,
            candidate_regenerate=settings.policy.candidate_blocked == "regenerate",
            checks_timeout_s=settings.limits.checks_timeout_s,
            attempts_max=settings.generation.attempts_max,
            backoff_initial_s=settings.generation.backoff_initial_s,
            backoff_max_s=settings.generation.backoff_max_s,
        ),
        clock=SystemClock(),
        metrics=metrics,
        jitter=random.random,
    )


def build_checks(
    settings: Settings, stage_actors: Mapping[str, Sequence[Any]], further: Sequence[Check], metrics: Instruments
) -> list[Check]:
    """The three stages as checks, each where its placement says, and `further` ones."""
    checks: list[Check] = []
    for name, stage in stage_settings(settings).items():
        host = build_stage(settings, name)
        if stage.placement == "actor":
            runner = ActorRunner(name, stage_actors[name], stage)
            checks.append(BatchedCheck(name, host.version, runner, stage, metrics))
        else:
            inline = InlineRunner(host, stage.timeout_s, _replace_process)
            checks.append(BatchedCheck(name, host.version, inline, stage, metrics))
    return [*checks, *further]


def build_stage(settings: Settings, name: str) -> Stage:
    """The stage `name`, ready to run. Loads its model: takes up to a few seconds."""
    from serving.guards.bias import BiasStage
    from serving.guards.classification import ClassificationStage, classification_version
    from serving.guards.linear import LinearModel
    from serving.personal_data.redaction import LoggingStage, Redactor

    match name:
        case StageName.CLASSIFICATION:
            model = LinearModel.load()
            version = classification_version(model)
            return PolicyStage(name, version, lambda policy: ClassificationStage(model, policy))
        case StageName.BIAS:
            return BiasStage(LinearModel.load())
        case StageName.LOGGING:
            region = settings.redaction.default_region
            return LoggingStage(Redactor(text_digest(settings), region=region))
        case _:
            raise ValueError(f"no stage {name}")


def stage_settings(settings: Settings) -> dict[str, StageSettings]:
    """The three stages' settings by name."""
    stages = settings.stages
    return {
        StageName.CLASSIFICATION.value: stages.classification,
        StageName.BIAS.value: stages.bias,
        StageName.LOGGING.value: stages.logging,
    }


def prompt_compiler() -> CompilePrompt:
    """The generator's prompt for a case, in the words of the case's own policy and tenant."""
    wordings = PerPolicy(wording)

    def compile_for(case: Case, plan: Plan, feedback: str) -> tuple[Message, ...]:
        words, tenant = wordings.of(case.bundle), tenant_text(case.overlay)
        return compile_prompt(words, plan, case.event, tenant, state=case.state, feedback=feedback)

    return compile_for


def text_digest(settings: Settings) -> Callable[[str], str]:
    """The keyed digest of texts; with a random key of this process, and a warning, where settings name none."""
    from serving.personal_data.redaction import KeyedDigest

    key = settings.redaction.digest_key.reveal().encode() or _process_key()
    return KeyedDigest(key, settings.redaction.digest_key_id)


@functools.cache
def _process_key() -> bytes:
    """One for the whole process: an audit record's digests of response and draft must be comparable."""
    logger.warning("no digest key is set: digests of this process cannot be compared with others'")
    return secrets.token_bytes(32)


def _replace_process(stage: str) -> None:
    logger.critical("stage hangs; replacing this process", extra={"stage": stage})
    os._exit(ExitCode.STAGE_STUCK)
