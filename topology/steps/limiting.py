"""The admission of an event by its tenant's budget, and the charge for its answer."""

from dataclasses import dataclass

from topology.contract.events import Action, Attempt, Usage
from topology.contract.labels import Extent
from topology.contract.names import ActionReason, DraftSource
from topology.contract.tenants import Charge, Spent, Use
from topology.ports import Departures, ReleasesFactory, TenantUses
from topology.steps.canary import RequireGenuine, no_canaries
from topology.steps.case import Case, Decision
from topology.steps.withholding import limited
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric


@dataclass(frozen=True, slots=True)
class Gate:
    """The decision on which events pass: canaries that are genuine, and events within budgets; None: all of them.

    `departures` says for whose events nobody waits any more; None: somebody always does.
    `releases` makes the place where judged text leaves before an answer is whole; None: every answer leaves whole.
    """

    require_genuine: RequireGenuine = no_canaries
    uses: TenantUses | None = None
    departures: Departures | None = None
    releases: ReleasesFactory | None = None


@dataclass(frozen=True, slots=True)
class Limiting:
    """The gate before everything that costs: guards and models. `uses` None: nothing is limited. A canary passes."""

    uses: TenantUses | None
    metrics: Instruments

    def refused(self, case: Case, now_ms: int) -> Decision | None:
        """Admit an event, which `case.admission` then says, or return the answer `rate_limited`."""
        if self.uses is None or case.event.canary is not None:
            return None
        tenant_id = case.event.tenant_id
        budget = case.policies.budget_of(tenant_id)
        admission = case.admission = self.uses.admit(case.record, tenant_id, budget, now_ms)
        if admission.retry_after_ms is None:
            outcome = "shadow_limited" if admission.is_shadow_limited else "admitted"
            self.metrics.count(Metric.TENANT_EVENTS, budget=budget.tenant_id, outcome=outcome)
            return None
        self.metrics.count(Metric.TENANT_EVENTS, budget=budget.tenant_id, outcome="limited")
        return limited(case, admission.retry_after_ms)


def charge_of(case: Case, decision: Decision) -> Charge | None:
    """Return the charge for an answered event; None for a canary and for what is no valid event."""
    if case.event.canary is not None or decision.action is Action.REJECTED:
        return None
    is_limited, is_repeated = decision.reason is ActionReason.RATE_LIMITED, bool(decision.duplicate_of)
    drafts = [(index, each) for index, each in enumerate(case.attempts) if _is_generated(each)]
    cut = [] if case.streamed is None else _unjudged(case)
    use = Use(
        events=0 if is_limited or is_repeated else 1,
        limited=int(is_limited),
        repeated=int(is_repeated),
        shadow_limited=int(case.admission is not None and case.admission.is_shadow_limited),
        generation=_spent([each.usage for index, each in drafts if index == 0] + ([] if drafts else cut)),
        regeneration=_spent([each.usage for index, each in drafts if index > 0] + (cut if drafts else [])),
        guards=Spent(calls=len(case.guards) + sum([len(each.labels.guards) for each in case.attempts])),
    )
    return Charge(tenant_id=case.event.tenant_id, use=use)


def _is_generated(attempt: Attempt) -> bool:
    """Return whether a model was asked for this draft, and not only judged again what is known of it."""
    if attempt.extent is Extent.PREFIX or attempt.source is DraftSource.REDACTION:
        return attempt.usage != Usage()
    return attempt.source is DraftSource.GENERATOR


def _unjudged(case: Case) -> list[Usage]:
    """Return what a streamed answer has cost beyond the drafts that were judged: text of it may have left."""
    judged = [each.usage for each in case.attempts]
    rest = Usage(
        input_tokens=max(0, case.usage.input_tokens - sum([each.input_tokens for each in judged])),
        output_tokens=max(0, case.usage.output_tokens - sum([each.output_tokens for each in judged])),
    )
    return [] if rest == Usage() else [rest]


def _spent(drafts: list[Usage]) -> Spent:
    return Spent(
        calls=len(drafts),
        input_tokens=sum([each.input_tokens for each in drafts]),
        output_tokens=sum([each.output_tokens for each in drafts]),
    )
