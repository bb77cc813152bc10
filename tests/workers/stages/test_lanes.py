"""A long draft has a lane of its own: no ordinary one waits behind it."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from msgspec import structs

from serving.guards.encoder.cheap_look import LONG_CHARACTERS
from tests.workers.stages.test_batching import ScriptedStage, echo, given
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.contract.names import StageName
from topology.ports import CheckInput, Stage
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric, long_part
from workers.settings import Settings, StageSettings, TelemetrySettings
from workers.stages import building
from workers.stages.batching import BatchedCheck
from workers.stages.building import build_checks, build_stage, close_checks, stage_settings
from workers.stages.inline import InlineRunner
from workers.stages.lanes import LanedCheck
from workers.stages.on_demand import OnDemandStage
from workers.telemetry.setup import start_telemetry

LONG = "a" * (LONG_CHARACTERS + 1)
ALONE = StageSettings(batch_events_max=1, in_flight_max=1, linger_ms=0)


def lane(stage: ScriptedStage, settings: StageSettings, waiting_max: int = 1) -> BatchedCheck[CheckInput]:
    runner = InlineRunner(stage, 5.0, lambda name: None)
    return BatchedCheck("bias", "1", runner, settings, Instruments.none(), waiting_max)


def test_an_ordinary_draft_is_judged_while_a_long_one_is_read_and_too_many_long_ones_are_refused() -> None:
    gate = threading.Event()

    def slow(batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        gate.wait()
        return [structs.replace(report, scores={}) for report in echo(batch)]

    async def session() -> tuple[str, Outcome, CheckReport]:
        check = LanedCheck(lane(ScriptedStage(echo), StageSettings(), 100), lane(ScriptedStage(slow), ALONE))
        running = [asyncio.create_task(check.check(given(LONG))) for _ in range(2)]
        await asyncio.sleep(0)
        ordinary = await check.check(given("short"))
        refused = Outcome.OK
        try:
            await check.check(given(LONG))
        except CheckFailed as exc:
            refused = exc.outcome
        gate.set()
        reports = await asyncio.gather(*running)
        await check.close()
        return next(iter(ordinary.scores)), refused, reports[0]

    first, refused, report = asyncio.run(session())
    assert (first, refused, report.check) == ("short", Outcome.OVERLOADED, "bias")


def test_a_stage_on_demand_is_built_by_its_first_draft_and_again_only_if_that_failed() -> None:
    built: list[str] = []

    def build() -> ScriptedStage:
        built.append("once more")
        if len(built) == 1:
            raise OSError("its model is not there")
        return ScriptedStage(echo)

    stage = OnDemandStage("bias", "1", build)
    assert (stage.name, stage.version, built) == ("bias", "1", [])
    with pytest.raises(OSError, match="not there"):
        stage.run([given(LONG)])
    reports = [stage.run([given(LONG)])[0] for _ in range(2)]
    assert ([report.check for report in reports], len(built)) == (["bias"] * 2, 2)


def test_beside_actors_no_stage_is_loaded_and_its_version_is_that_of_a_loaded_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings()
    stages = {name: structs.replace(stage, placement="actor") for name, stage in stage_settings(settings).items()}
    expected = {name: build_stage(settings, name).version for name in stages}

    def refuse(settings: Settings, name: str) -> Stage:
        raise AssertionError(f"{name} is loaded")

    monkeypatch.setattr(building, "build_stage", refuse)
    placed = structs.replace(settings, stages=structs.replace(settings.stages, **stages))
    checks = build_checks(placed, dict.fromkeys(stages, ()), (), Instruments.none())
    assert {check.name: check.version for check in checks} == expected


def test_what_waits_in_the_lane_of_long_texts_is_shown_apart() -> None:
    telemetry = start_telemetry(TelemetrySettings(), "ingress", 0)

    async def session() -> None:
        checks = build_checks(Settings(), {}, (), telemetry.instruments)
        await checks[0].check(given("short"))
        await checks[0].check(given(LONG))
        await close_checks(checks)

    asyncio.run(session())
    shown = {
        dict(point.labels).get("part")
        for family in telemetry.families()
        if family.name == Metric.CONCURRENCY_LIMIT
        for point in family.points
    }
    telemetry.shutdown(1)
    assert {"classification", long_part(StageName.CLASSIFICATION)} <= shown
