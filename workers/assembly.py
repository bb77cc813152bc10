"""From settings to the objects of one worker. The only place that knows every concrete class."""

import asyncio
import functools
import hashlib
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

from serving.clock import SystemClock
from serving.grants import Ed25519GrantVerifier, public_keys, signature_verifier
from serving.per_policy import PerPolicy, PolicyStage
from serving.prompts import compile_prompt
from topology.bundle import AgeDefault, PolicyBundle
from topology.case import Case
from topology.codec import RecordLimits
from topology.drafting import Budget, CompilePrompt, Drafting
from topology.errors import PolicyError
from topology.events import Message
from topology.headers import Wire
from topology.in_force import Policies
from topology.instruments import Instruments
from topology.labels import Plan
from topology.metrics import Metric
from topology.names import StageName
from topology.overlays import TenantOverlay, load_overlay
from topology.pipeline import Bounds, Pipeline, Routes
from topology.policy import load_bundle, packaged_bundle
from topology.ports import Check, Generator, Labeler, Stage
from topology.tracing import Tracing
from workers.batching import BatchedCheck, InlineRunner
from workers.crash_journal import CrashJournal, own_directory
from workers.interpreter import tune_interpreter
from workers.kafka_client import slot_name
from workers.language_models import ModelSet
from workers.logs import configure_logging
from workers.loop import Loop, LoopHealth
from workers.quarantine import Quarantine
from workers.settings import Settings, StageSettings
from workers.sink import TransactionalSink
from workers.source import KafkaSource
from workers.stage_pool import ActorRunner
from workers.telemetry import Telemetry, start_telemetry

logger = logging.getLogger("sluicegate.assembly")

EXIT_STUCK = 71
"""The process is replaced: a stage hangs on threads that cannot be stopped."""

TELEMETRY_STOP_S = 5.0
"""Bound on the last export."""


class Worker:
    """One slot's loop and everything it owns."""

    def __init__(self, loop: Loop, telemetry: Telemetry) -> None:
        self._loop = loop
        self._telemetry = telemetry

    def run(self) -> int:
        """Work until drained; returns how many records were committed. Raises what broke the loop."""
        tune_interpreter()
        try:
            self._loop.run()
        except Exception:
            logger.exception("worker failed")  # the supervisor, in another process, sees the type alone
            raise
        finally:
            self._telemetry.shutdown(TELEMETRY_STOP_S)
        return self._loop.health().committed_count

    def drain(self, timeout_s: float) -> None:
        """As `Loop.drain`."""
        self._loop.drain(timeout_s)

    def health(self) -> LoopHealth:
        """As `Loop.health`."""
        return self._loop.health()


def build_worker(settings: Settings, slot: int, stage_actors: Mapping[str, Sequence[Any]]) -> Worker:
    """The worker of `slot`, connected to Kafka. `stage_actors` holds handles for stages placed in actors.

    Raises KafkaUnavailable, KafkaRefused or SlotFenced, and PolicyError for a policy that must not be loaded.
    """
    configure_logging(settings.telemetry.log_level, sys.stdout)
    telemetry = start_telemetry(settings.telemetry, "ingress", slot)
    with ExitStack() as undo:  # this process may build many before one succeeds
        undo.callback(telemetry.shutdown, TELEMETRY_STOP_S)
        try:
            loop = _build_loop(settings, slot, stage_actors, telemetry, undo)
        except Exception:
            logger.exception("worker not built")  # the supervisor, in another process, sees the type alone
            raise
        undo.pop_all()
    return Worker(loop, telemetry)


def _build_loop(
    settings: Settings, slot: int, stage_actors: Mapping[str, Sequence[Any]], telemetry: Telemetry, undo: ExitStack
) -> Loop:
    """The loop; what must be let go of when a later part fails is put on `undo`."""
    metrics = telemetry.instruments
    policies = load_policies(settings)
    metrics.gauge_set(Metric.POLICY_INFO, 1, version=policies.bundle.version, hash=policies.bundle.content_hash[:12])
    models = ModelSet(settings, SystemClock(), metrics)
    checks = build_checks(settings, stage_actors, models.checks, metrics)
    tracing = telemetry.tracing(settings)
    pipeline = build_pipeline(settings, lambda: policies, models.labeler, models.generator, checks, tracing, metrics)

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
    sink = TransactionalSink(settings.kafka, slot, metrics=metrics, exit_process=ending(journal))
    logger.info("worker started", extra={"slot": slot, "pid": os.getpid(), "policy": policies.bundle.ref})
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
) -> Pipeline:
    """The pipeline over the given ports, with bounds and routes from settings."""
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
    )


def _build_drafting(
    settings: Settings, generator: Generator, checks: Sequence[Check], metrics: Instruments
) -> Drafting:
    return Drafting(
        generator=generator,
        checks=checks,
        compile_prompt=prompt_compiler(),
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
    from serving.bias import BiasStage
    from serving.classification import ClassificationStage, classification_version
    from serving.linear import LinearModel
    from serving.redaction import LoggingStage, Redactor

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


def load_policies(settings: Settings) -> Policies:
    """The bundle and overlays that settings name. Raises PolicyError with every reason, OSError for a missing file."""
    path = settings.policy.bundle
    bundle = load_bundle(Path(path).read_bytes()) if path else packaged_bundle()
    if settings.policy.age_default:
        # Another policy than the document's, so under another hash: equal references must mean equal decisions.
        changed = hashlib.sha256(f"{bundle.content_hash} age_default={settings.policy.age_default}".encode())
        bundle = structs.replace(
            bundle, age_default=AgeDefault(settings.policy.age_default), content_hash=changed.hexdigest()
        )
    return Policies(bundle, _load_overlays(settings, bundle))


def _load_overlays(settings: Settings, bundle: PolicyBundle) -> dict[str, TenantOverlay]:
    directory = settings.policy.overlays
    overlays: dict[str, TenantOverlay] = {}
    reasons: list[str] = []
    is_signed = signature_verifier(public_keys(settings.grants.keys))
    for path in sorted(Path(directory).glob("*.yaml")) if directory else ():
        try:
            overlay = load_overlay(path.read_bytes(), bundle, is_signed)
        except PolicyError as exc:
            reasons.extend(f"{path.name}: {reason}" for reason in exc.reasons)
            continue
        if overlay.tenant_id in overlays:
            reasons.append(f"{path.name}: a second overlay of tenant {overlay.tenant_id}")
        overlays[overlay.tenant_id] = overlay
    if reasons:
        raise PolicyError(*reasons)
    return overlays


def prompt_compiler() -> CompilePrompt:
    """The generator's prompt for a case, with its own bundle's words for the names on the plan card."""
    words_of = PerPolicy(_card_words)

    def compile_for(case: Case, plan: Plan, feedback: str) -> tuple[Message, ...]:
        words = words_of.of(case.bundle)
        tenant = "\n".join(text for text in (case.overlay.persona, case.overlay.scope) if text)
        return compile_prompt(case.bundle.ref, plan, case.event, tenant, words=words, feedback=feedback)

    return compile_for


def _card_words(bundle: PolicyBundle) -> dict[str, str]:
    words = {name: phrases["en"] for name, phrases in bundle.offers.items() if "en" in phrases}
    return words | dict(bundle.withholds)


def text_digest(settings: Settings) -> Callable[[str], str]:
    """The keyed digest of texts; with a random key of this process, and a warning, where settings name none."""
    from serving.redaction import KeyedDigest

    key = settings.redaction.digest_key.reveal().encode() or _process_key()
    return KeyedDigest(key, settings.redaction.digest_key_id)


@functools.cache
def _process_key() -> bytes:
    """One for the whole process: an audit record's digests of response and draft must be comparable."""
    logger.warning("no digest key is set: digests of this process cannot be compared with others'")
    return secrets.token_bytes(32)


def _replace_process(stage: str) -> None:
    logger.critical("stage hangs; replacing this process", extra={"stage": stage})
    os._exit(EXIT_STUCK)
