"""The parts of a pipeline, built from settings: the stages, the checks that run them, and the step that drafts."""

import functools
import logging
import os
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from serving.generation.rules import rules_hash
from serving.guards.warm_up import warm_up_input
from topology.contract.names import StageName
from topology.ports import Check, CheckInput, Generator, Stage
from topology.steps.drafting import Budget, Drafting
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import long_part
from workers.process.clock import SystemClock
from workers.process.exit_codes import ExitCode
from workers.settings import Settings, StageSettings
from workers.stages.batching import BatchedCheck
from workers.stages.inline import InlineRunner
from workers.stages.lanes import LanedCheck
from workers.stages.language_models import prompt_compiler
from workers.stages.on_demand import OnDemandStage
from workers.stages.pool import ActorRunner

logger = logging.getLogger("sluicegate.stages")


def stage_settings(settings: Settings) -> dict[str, StageSettings]:
    """Return the settings of the three stages by name."""
    stages = settings.stages
    return {
        StageName.CLASSIFICATION.value: stages.classification,
        StageName.BIAS.value: stages.bias,
        StageName.LOGGING.value: stages.logging,
    }


def build_checks(
    settings: Settings, stage_actors: Mapping[str, Sequence[Any]], further: Sequence[Check], metrics: Instruments
) -> list[Check]:
    """Return the three stages as checks, each where its placement says, followed by the `further` ones.

    `stage_actors` holds the actor handles of every stage that is placed in actors. Stages of this process are warm.
    Long texts have a lane of their own in this process, wherever the stage is placed; beside actors its stage is
    loaded by the first long text.
    """
    checks: list[Check] = []
    for name, stage in stage_settings(settings).items():
        if stage.placement == "actor":
            build = functools.partial(build_stage, settings, name)
            host: Stage = OnDemandStage(name, _version_of(settings, name), build)
            ordinary = BatchedCheck(name, host.version, ActorRunner(name, stage_actors[name], stage), stage, metrics)
        else:
            host = warmed(build_stage(settings, name))
            inline = InlineRunner(host, stage.timeout_s, _replace_process)
            ordinary = BatchedCheck(name, host.version, inline, stage, metrics)
        checks.append(LanedCheck(ordinary, _lane(settings, stage, host, metrics)))
    return [*checks, *further]


def _version_of(settings: Settings, name: str) -> str:
    """Return the version of the stage `name`, without loading its models, unless they alone know it."""
    from serving.personal_data.names import names_recognizer
    from serving.personal_data.redaction import redactor_version
    from workers.stages.embedded import stage_version

    if name == StageName.LOGGING:
        return redactor_version(names_recognizer(settings.redaction.names_models))
    return stage_version(settings.guard, StageName(name))


def _lane(settings: Settings, stage: StageSettings, host: Stage, metrics: Instruments) -> BatchedCheck[CheckInput]:
    """Return the lane of long texts of a stage: one runs at a time, so that the time of each begins when it runs.

    It has all the time of the checks, since the encoder alone may take its share of the stage's.
    """
    runner = InlineRunner(host, settings.limits.checks_timeout_s, _replace_process)
    alone = structs.replace(stage, batch_events_max=1, in_flight_max=1, replicas=1, linger_ms=0)
    waiting_max = settings.guard.long_waiting_max
    part = long_part(StageName(host.name))
    return BatchedCheck(host.name, host.version, runner, alone, metrics, waiting_max, part=part)


async def close_checks(checks: Sequence[Check]) -> None:
    """Close the checks that run batches. Must run on the event loop that used them."""
    for check in checks:
        if isinstance(check, LanedCheck):
            await check.close()


def build_stage(settings: Settings, name: str) -> Stage:
    """Return the stage `name`. Loads its model, which takes up to a few seconds."""
    from serving.personal_data.names import names_recognizer
    from serving.personal_data.redaction import LoggingStage, Redactor
    from workers.stages.embedded import bias, classification

    match name:
        case StageName.CLASSIFICATION:
            return classification(settings.guard, settings.stages.classification.timeout_s)
        case StageName.BIAS:
            return bias(settings.guard, settings.stages.bias.timeout_s)
        case StageName.LOGGING:
            names = names_recognizer(settings.redaction.names_models)
            region = settings.redaction.default_region
            return LoggingStage(Redactor(text_digest(settings), region=region, names=names))
        case _:
            raise ValueError(f"no stage {name}")


def warmed(stage: Stage) -> Stage:
    """Return the stage after it has judged a first text, so that no event waits for what it builds once.

    Raises what the stage raises.
    """
    stage.run([warm_up_input()])
    return stage


def build_drafting(settings: Settings, generator: Generator, checks: Sequence[Check], metrics: Instruments) -> Drafting:
    """Return the step that drafts answers with `generator` and has them checked by `checks`."""
    return Drafting(
        generator=generator,
        checks=checks,
        compile_prompt=prompt_compiler(settings.generation),
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


def text_digest(settings: Settings) -> Callable[[str], str]:
    """Return the keyed digest of texts. Where settings name no key, it uses a random one of this process, and warns."""
    from serving.personal_data.redaction import KeyedDigest

    key = settings.redaction.digest_key.reveal().encode() or _process_key()
    return KeyedDigest(key, settings.redaction.digest_key_id)


@functools.cache
def _process_key() -> bytes:
    # One for the whole process: the digests of an audit record's response and draft must be comparable.
    logger.warning("no digest key is set: digests of this process cannot be compared with those of another")
    return secrets.token_bytes(32)


def _replace_process(stage: str) -> None:
    logger.critical("stage hangs; replacing this process", extra={"stage": stage})
    os._exit(ExitCode.STAGE_STUCK)
