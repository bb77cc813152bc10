"""The checks of one draft, run side by side. A check that is late or raises "could not tell"."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from topology.contract.drafts import CheckReport
from topology.contract.errors import CheckFailed, TooLate
from topology.contract.labels import GuardRun, Outcome
from topology.contract.names import StageName
from topology.ports import Check, CheckInput, Clock
from topology.steps.time_limit import ServiceTimeLimit
from topology.telemetry.event_trace import EventTrace
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric


class Checked(Struct, frozen=True, kw_only=True):
    """The reports of the checks that could tell, and the outcome of every run over one draft."""

    reports: tuple[CheckReport, ...]
    runs: tuple[GuardRun, ...]

    def report_of(self, name: str) -> CheckReport | None:
        """Return the report of the check `name`; None if it could not tell."""
        for report in self.reports:
            if report.check == name:
                return report
        return None


_Ended = tuple[CheckReport | None, GuardRun]


async def run_checks(
    checks: Sequence[Check],
    given: CheckInput,
    *,
    timeout_s: float,
    clock: Clock,
    trace: EventTrace,
    metrics: Instruments,
) -> Checked:
    """Run every check at once, each for at most `timeout_s` of service; return when all have ended.

    Raises TooLate once they have, if the draft's turn at one of them came too late for the event's deadline.
    A check that lets a draft wait pauses its limit meanwhile: the caller bounds that, by the event's deadline.
    """
    loop = asyncio.get_running_loop()
    running = [loop.create_task(_run_one(check, given, timeout_s, clock, trace, metrics)) for check in checks]
    try:
        await _all_ended(running)
    except asyncio.CancelledError:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        raise
    reports: list[CheckReport] = []
    runs: list[GuardRun] = []
    ended = [task.exception() or task.result() for task in running]
    for each in ended:
        if isinstance(each, BaseException):
            raise each
        report, run = each
        runs.append(run)
        if report is not None:
            reports.append(report)
    return Checked(reports=tuple(reports), runs=tuple(runs))


def _all_ended(running: Sequence[asyncio.Task[_Ended]]) -> asyncio.Future[None]:
    """Return a future that is done when all tasks are; `asyncio.gather` and `wait` cost each event twice as much."""
    all_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    left = len(running)

    def on_end(_task: object) -> None:
        nonlocal left
        left -= 1
        if not left and not all_ended.done():
            all_ended.set_result(None)

    if not left:
        all_ended.set_result(None)
    for task in running:
        task.add_done_callback(on_end)
    return all_ended


async def _run_one(
    check: Check, given: CheckInput, timeout_s: float, clock: Clock, trace: EventTrace, metrics: Instruments
) -> _Ended:
    started_s = clock.monotonic_s()
    report: CheckReport | None = None
    outcome = Outcome.OK
    with trace.stage(check.name) as span:
        try:
            with ServiceTimeLimit(timeout_s):
                report = await check.check(given)
            span.reported(report)
            if report.partly_read is not None:
                metrics.count(Metric.PARTLY_READ, stage=check.name)
        except TimeoutError:
            outcome = Outcome.TIMEOUT
        except CheckFailed as exc:
            outcome = exc.outcome
        except TooLate:
            span.failed(Outcome.OVERLOADED.value)
            raise
        except Exception:  # noqa: BLE001 - whatever a check raises, it could not tell; the draft is withheld
            outcome = Outcome.CRASHED
        if outcome is not Outcome.OK:
            span.failed(outcome.value)
    latency_s = clock.monotonic_s() - started_s
    note_stage(metrics, check.name, latency_s, outcome)
    version = check.version if report is None else report.version  # a report's version includes its policy's part
    run = GuardRun(guard=check.name, version=version, outcome=outcome, latency_ms=round(latency_s * 1000, 3))
    return report, run


def note_stage(metrics: Instruments, stage: StageName | str, latency_s: float, outcome: Outcome) -> None:
    """Record one run of a stage: its duration and, if it could not tell, the reason."""
    metrics.observe(Metric.STAGE_DURATION, latency_s, stage=stage)
    if outcome is Outcome.OK:
        return
    if outcome is Outcome.TIMEOUT:
        metrics.count(Metric.STAGE_TIMEOUTS, stage=stage)
    metrics.count(Metric.STAGE_ERRORS, stage=stage, reason=outcome.value)
    metrics.count(Metric.FAIL_CLOSED, stage=stage, reason=outcome.value)
