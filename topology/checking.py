"""Runs all checks over one draft, side by side. A check that is late, raises or is missing "could not tell"."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from topology.errors import CheckFailed
from topology.instruments import Instruments
from topology.labels import GuardRun, Outcome
from topology.metrics import Metric
from topology.names import StageName
from topology.ports import Check, CheckInput, CheckReport, Clock
from topology.tracing import EventTrace


@dataclass(frozen=True, slots=True)
class Checked:
    """What all checks said about one draft: reports of those that could tell, and how each run ended."""

    reports: tuple[CheckReport, ...]
    runs: tuple[GuardRun, ...]

    def report_of(self, name: str) -> CheckReport | None:
        """The report of the check `name`; None where it could not tell."""
        return next((report for report in self.reports if report.check == name), None)


async def run_checks(
    checks: Sequence[Check],
    given: CheckInput,
    *,
    timeout_s: float,
    clock: Clock,
    trace: EventTrace,
    metrics: Instruments,
) -> Checked:
    """Ask every check at once, each for at most `timeout_s`; returns when all have ended."""
    limit = asyncio.timeout(timeout_s)  # one for all: they start together
    running = [asyncio.create_task(_run_one(check, given, limit, clock, trace, metrics)) for check in checks]
    with contextlib.suppress(TimeoutError):
        async with limit:
            await asyncio.gather(*running)
    ended = [task.result() for task in running]
    return Checked(
        reports=tuple([report for report, _ in ended if report is not None]),
        runs=tuple([run for _, run in ended]),
    )


async def _run_one(
    check: Check, given: CheckInput, limit: asyncio.Timeout, clock: Clock, trace: EventTrace, metrics: Instruments
) -> tuple[CheckReport | None, GuardRun]:
    started_s = clock.monotonic_s()
    report: CheckReport | None = None
    outcome = Outcome.OK
    with trace.stage(check.name) as span:
        try:
            report = await check.check(given)
            span.reported(report)
        except asyncio.CancelledError:
            if not limit.expired():
                raise
            outcome = Outcome.TIMEOUT
        except TimeoutError:
            outcome = Outcome.TIMEOUT
        except CheckFailed as exc:
            outcome = exc.outcome
        except Exception:  # noqa: BLE001 - whatever a check raises, it could not tell; the draft is withheld
            outcome = Outcome.CRASHED
        if outcome is not Outcome.OK:
            span.failed(outcome.value)
    latency_s = clock.monotonic_s() - started_s
    note_stage(metrics, check.name, latency_s, outcome)
    run = GuardRun(guard=check.name, version=check.version, outcome=outcome, latency_ms=round(latency_s * 1000, 3))
    return report, run


def note_stage(metrics: Instruments, stage: StageName | str, latency_s: float, outcome: Outcome) -> None:
    """Record one run of a stage: its duration and, where it could not tell, why."""
    metrics.observe(Metric.STAGE_DURATION, latency_s, stage=str(stage))
    if outcome is Outcome.TIMEOUT:
        metrics.count(Metric.STAGE_TIMEOUTS, stage=str(stage))
    if outcome is not Outcome.OK:
        metrics.count(Metric.STAGE_ERRORS, stage=str(stage), reason=outcome.value)
        metrics.count(Metric.FAIL_CLOSED, stage=str(stage), reason=outcome.value)
