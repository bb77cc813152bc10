"""A stage that is slower than what arrives: everything that can be answered in time is, in the order of deadlines."""

import asyncio
from collections.abc import Sequence

import pytest

from serving.fakes import ManualClock
from tests.contracts.samples import check_input
from topology.contract.drafts import CheckReport
from topology.contract.errors import TooLate
from topology.load.gate import DEADLINE_S
from topology.ports import CheckInput
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.settings import StageSettings
from workers.stages.batching import SLOW_SHARE, BatchedCheck

PER_DRAFT_S = 0.15
SETTINGS = StageSettings(timeout_s=5, linger_ms=0)


class SlowRunner:
    """A runner that takes its time, on a clock of the test; remembers what began, batch by batch."""

    batches_max = 1

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.batches: list[list[str]] = []
        self.took_s: list[float] = []

    def prepare(self, given: CheckInput) -> CheckInput:
        return given

    def size(self, item: CheckInput) -> int:
        return 0

    async def run(self, items: Sequence[CheckInput]) -> Sequence[CheckReport]:
        self.batches.append([item.draft.text for item in items])
        self.took_s.append(PER_DRAFT_S * len(items))
        await self._clock.sleep(self.took_s[-1])
        return [CheckReport(check="bias", version="1") for _ in items]

    def close(self) -> None: ...


class Desk:
    """A stage and drafts that wait for it."""

    def __init__(self) -> None:
        self.clock = ManualClock(advances_itself=True)
        self.runner = SlowRunner(self.clock)
        self.metrics = Instruments.none()
        self.check = BatchedCheck("bias", "1", self.runner, SETTINGS, self.metrics, now_s=self.clock.monotonic_s)

    def ask(self, name: str, deadline_s: float) -> "asyncio.Task[CheckReport]":
        async def asked() -> CheckReport:
            DEADLINE_S.set(deadline_s)
            return await self.check.check(check_input(name))

        return asyncio.create_task(asked())


def test_a_burst_beyond_the_pace_of_a_stage_is_answered_whole_and_batches_shrink_first() -> None:
    async def session() -> None:
        desk = Desk()
        tasks = [desk.ask(f"{number}", 300) for number in range(400)]
        await asyncio.gather(*tasks)
        settled = desk.runner.took_s[5:]
        assert max(settled) <= SETTINGS.timeout_s * SLOW_SHARE + 2 * PER_DRAFT_S
        assert max(desk.runner.took_s) < SETTINGS.timeout_s
        assert desk.metrics.value(Metric.CONCURRENCY_WAITING, part="bias") == 0
        assert desk.metrics.value(Metric.CONCURRENCY_LIMIT, part="bias") < 16
        await desk.check.close()

    asyncio.run(session())


def test_of_a_burst_only_what_cannot_be_in_time_is_shed_and_the_earliest_deadline_goes_first() -> None:
    async def session() -> None:
        desk = Desk()
        await desk.ask("warm", 300)
        soon = [desk.ask(f"soon {number}", 5) for number in range(100)]
        later = [desk.ask(f"later {number}", 300) for number in range(20)]
        ended = await asyncio.gather(*soon, *later, return_exceptions=True)
        shed = [each for each in ended if isinstance(each, TooLate)]
        answered = [each for each in ended if isinstance(each, CheckReport)]
        assert len(shed) + len(answered) == 120
        assert len(answered) >= 20 + 0.7 * 5 / PER_DRAFT_S
        begun = [name for batch in desk.runner.batches for name in batch]
        assert begun.index("later 0") > max(index for index, name in enumerate(begun) if name.startswith("soon"))
        assert not any(isinstance(each, TooLate) for each in ended[100:])
        await desk.check.close()

    asyncio.run(session())


def test_what_is_shed_was_never_begun() -> None:
    async def session() -> None:
        desk = Desk()
        await desk.ask("warm", 300)
        with pytest.raises(TooLate):
            await desk.ask("late", desk.clock.monotonic_s() + PER_DRAFT_S / 2)
        assert desk.runner.batches == [["warm"]]
        await desk.check.close()

    asyncio.run(session())
