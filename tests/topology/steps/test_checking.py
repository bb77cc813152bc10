"""Checks side by side: each answers, or could not tell, and nothing outlives the draft that it looks at."""

import asyncio
import time
from collections.abc import Coroutine, Sequence

import pytest
import uvloop

from serving.fakes import FakeCheck, clean_report
from tests.topology.steps.pipeline_world import BUNDLE, event, labelled
from topology.contract.drafts import CheckReport, Draft
from topology.contract.labels import Outcome
from topology.contract.names import DraftSource
from topology.contract.records import Record
from topology.decision.plan import plan as make_plan
from topology.policy.overlays import STRICTEST
from topology.ports import Check, CheckInput
from topology.steps.checking import Checked, run_checks
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.process.clock import SystemClock

NAMES = ("classification", "bias", "logging")
LONG_S = 30.0
SHORT_S = 0.02
RECORD = Record(topic="t", partition=0, offset=1, timestamp_ms=1, key=b"c", value=b"v", headers=())


class Waiting:
    """Waits for `release`; counts how it ended. `is_stubborn`: a cancelled one answers all the same."""

    version = "1"

    def __init__(self, name: str, *, is_stubborn: bool = False) -> None:
        self.name = name
        self.is_stubborn = is_stubborn
        self.started_count = 0
        self.cancelled_count = 0

    async def check(self, given: CheckInput) -> CheckReport:
        self.started_count += 1
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            self.cancelled_count += 1
            if not self.is_stubborn:
                raise
        return clean_report(self.name)(given)


class Desk:
    """Runs checks over one draft."""

    def __init__(self) -> None:
        self.metrics = Instruments.none()
        labels, source = labelled("regulated_advice.medical", 1), event()
        plan = make_plan(BUNDLE, labels, overlay=STRICTEST, user=source.user, grants=frozenset())
        self.given = CheckInput(
            event=source,
            labels=labels,
            plan=plan,
            draft=Draft(text="A.", source=DraftSource.GENERATOR),
            attempt=1,
            policy=BUNDLE,
        )

    async def ask(self, checks: Sequence[Check], timeout_s: float = LONG_S) -> Checked:
        return await run_checks(
            checks,
            self.given,
            timeout_s=timeout_s,
            clock=SystemClock(),
            trace=Tracing.none().event(RECORD),
            metrics=self.metrics,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def outcomes(checked: Checked) -> dict[str, Outcome]:
    return {run.guard: run.outcome for run in checked.runs}


def on_worker_loop(work: Coroutine[None, None, None]) -> None:
    """On the kind of event loop that a worker has: it looks at timers before it looks at what is ready."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


def test_every_check_reports_in_the_order_it_was_given(desk: Desk) -> None:
    checked = asyncio.run(desk.ask([FakeCheck(name) for name in NAMES]))
    assert [report.check for report in checked.reports] == [run.guard for run in checked.runs] == list(NAMES)
    assert set(outcomes(checked).values()) == {Outcome.OK}
    report = checked.report_of("bias")
    assert report is not None
    assert report.check == "bias"
    assert checked.report_of("guard_llm") is None


def test_no_checks_are_done_at_once(desk: Desk) -> None:
    assert asyncio.run(desk.ask([])) == Checked(reports=(), runs=())


def test_a_late_check_could_not_tell_and_the_others_are_heard(desk: Desk) -> None:
    late = Waiting("bias")
    checked = asyncio.run(desk.ask([FakeCheck("classification"), late, FakeCheck("logging")], SHORT_S))
    assert outcomes(checked) == {"classification": Outcome.OK, "bias": Outcome.TIMEOUT, "logging": Outcome.OK}
    assert checked.report_of("bias") is None
    assert late.cancelled_count == 1
    assert desk.metrics.value(Metric.FAIL_CLOSED, stage="bias", reason="timeout") == 1


def test_a_check_that_raises_ends_no_other(desk: Desk) -> None:
    crashing = FakeCheck("bias", faults=[ValueError("no")])
    checked = asyncio.run(desk.ask([crashing, FakeCheck("logging", delay_s=0.001, clock=SystemClock())]))
    assert outcomes(checked) == {"bias": Outcome.CRASHED, "logging": Outcome.OK}


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_when_the_event_is_cancelled_every_check_is_and_has_ended(desk: Desk, *, is_stubborn: bool) -> None:
    waiting = [Waiting("bias", is_stubborn=is_stubborn), Waiting("logging")]

    async def cancel() -> None:
        asking = asyncio.create_task(desk.ask(waiting))
        for _ in range(3):
            await asyncio.sleep(0)
        assert [each.started_count for each in waiting] == [1, 1]
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert [each.cancelled_count for each in waiting] == [1, 1]
        assert desk.metrics.value(Metric.STAGE_TIMEOUTS, stage="logging") == 0, "a cancelled event is not a late check"
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(cancel())


def test_a_loop_that_stood_still_longer_than_the_limit_makes_a_check_late_and_no_cancelled_event(desk: Desk) -> None:
    late = Waiting("bias")

    async def stall() -> None:
        asking = asyncio.create_task(desk.ask([late], SHORT_S))
        asyncio.get_running_loop().call_soon(time.sleep, 4 * SHORT_S)  # before the check's first step
        assert outcomes(await asking) == {"bias": Outcome.TIMEOUT}

    on_worker_loop(stall())
