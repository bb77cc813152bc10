"""A long draft has a lane of its own: no ordinary one waits behind it."""

import asyncio
import threading
from collections.abc import Sequence

from msgspec import structs

from serving.guards.encoder.cheap_look import LONG_CHARACTERS
from tests.workers.stages.test_batching import ScriptedStage, echo, given
from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed
from topology.contract.labels import Outcome
from topology.ports import CheckInput
from topology.telemetry.instruments import Instruments
from workers.settings import StageSettings
from workers.stages.batching import BatchedCheck
from workers.stages.inline import InlineRunner
from workers.stages.lanes import LanedCheck

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
