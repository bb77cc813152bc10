"""The metrics and the trace of a decided event: one of traffic, or a probe that counts as itself."""

import logging
from dataclasses import dataclass

from topology.contract.events import Action, CanaryMark
from topology.ports import Clock
from topology.steps.canary import is_as_expected
from topology.steps.case import Case, Decision
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric

logger = logging.getLogger("sluicegate.pipeline")

HELP_GIVEN = {
    Action.PUBLISHED: "full",
    Action.REDACTED: "partial",
    Action.SAFE_COMPLETED: "partial",
    Action.REFUSED: "refusal",
    Action.WITHHELD: "refusal",
}
"""The share of a request that each action meets, as `sluicegate_safe_completion_total` names it; none if rejected."""


@dataclass(frozen=True, slots=True)
class Counting:
    """The counters and durations of decided events."""

    metrics: Instruments
    clock: Clock

    def count(self, case: Case, decision: Decision, started_s: float) -> None:
        """Count a decision; `started_s` is when processing began, on the clock's monotonic scale."""
        action, trace = decision.action, case.trace
        trace.decided(action, decision.reason_codes)
        if case.event.canary is not None:
            self._count_canary(case.event.canary, action)
            return
        self.metrics.count(Metric.ACTIONS, action=action, reason=decision.reason)
        tenant = case.policies.tenant_label(case.event.tenant_id)
        self.metrics.count(Metric.TENANT_ACTIONS, known_tenant=tenant, action=action, reason=decision.reason)
        if action in HELP_GIVEN:
            self.metrics.count(Metric.SAFE_COMPLETION, kind=HELP_GIVEN[action])
        took_s = self.clock.monotonic_s() - started_s
        self.metrics.observe(Metric.PROCESSING_DURATION, took_s, trace.context, outcome=action)
        waited_s = max(0, self.clock.now_ms() - case.record.timestamp_ms) / 1000
        self.metrics.observe(Metric.EVENT_DURATION, waited_s, trace.context, outcome=action)

    def _count_canary(self, mark: CanaryMark, action: Action) -> None:
        is_well = is_as_expected(mark, action)
        self.metrics.gauge_set(Metric.CANARY_RESULT, is_well, case=mark.case)
        if is_well:
            self.metrics.gauge_set(Metric.CANARY_LAST_SUCCESS, self.clock.now_ms() / 1000)
        else:
            logger.error("a canary ended otherwise than it must", extra={"case": mark.case, "action": action.value})
