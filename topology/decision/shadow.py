"""Shadow policies: the decisions that candidates for the next policy would have made on an event. Pure.

They are never acted on: the response is already decided, and a candidate that raises an error is only counted.
"""

from collections.abc import Sequence

from msgspec import structs

from topology.contract.events import SHADOWS_MAX, Action, AuditRecord, ShadowDifference, Shift
from topology.contract.labels import CategoryId, Level, Plan, VerdictKind
from topology.contract.names import ShadowOutcome
from topology.decision.recompute import Recomputed, recompute
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import TenantOverlay
from topology.policy.verdict_table import STRICTNESS

LENIENCE = {
    Action.REJECTED: 0,
    Action.WITHHELD: 0,
    Action.REFUSED: 1,
    Action.SAFE_COMPLETED: 2,
    Action.REDACTED: 3,
    Action.PUBLISHED: 4,
}
"""The actions ranked by how much of a draft they publish, from nothing to all."""


def shadowed(
    record: AuditRecord, candidates: Sequence[PolicyBundle], overlay: TenantOverlay
) -> tuple[AuditRecord, tuple[tuple[str, ShadowOutcome], ...]]:
    """Add the decisions of the first SHADOWS_MAX candidates to the record; also return each one's version and outcome.

    An event that was never assessed gives them nothing to decide.
    """
    if not candidates or record.labels is None:
        return record, ()
    judged = [(bundle.version, *_judged(record, bundle, overlay)) for bundle in candidates[:SHADOWS_MAX]]
    record = structs.replace(
        record,
        shadows=tuple([found for _, _, found in judged if found is not None]),
        shadow_count=sum(1 for _, outcome, _ in judged if outcome is not ShadowOutcome.FAILED),
    )
    return record, tuple([(version, outcome) for version, outcome, _ in judged])


def difference(record: AuditRecord, found: Recomputed, policy_ref: str) -> ShadowDifference | None:
    """Return how another policy's decisions differ from the recorded ones; None if they do not."""
    ceilings = _other_ceilings(record.plan, found.plan)
    index = _first_other_verdict(record, found)
    verdict = None if index is None else found.verdicts[index].verdict
    mode = None if found.plan is None else found.plan.mode
    is_same_mode = mode is (None if record.plan is None else record.plan.mode)
    if not ceilings and verdict is None and is_same_mode and found.action is record.action:
        return None
    return ShadowDifference(
        policy_ref=policy_ref,
        shift=_shift(record, found, ceilings, index),
        mode=mode,
        ceilings=ceilings,
        attempt=0 if index is None else index + 1,
        verdict=verdict,
        action=found.action,
    )


def _judged(
    record: AuditRecord, bundle: PolicyBundle, overlay: TenantOverlay
) -> tuple[ShadowOutcome, ShadowDifference | None]:
    try:
        found = difference(record, recompute(record, bundle, overlay), bundle.ref)
    except Exception:  # noqa: BLE001 - an error in a candidate must never cost an answer
        return ShadowOutcome.FAILED, None
    return (ShadowOutcome.SAME, None) if found is None else (ShadowOutcome(found.shift.value), found)


def _other_ceilings(live: Plan | None, other: Plan | None) -> dict[CategoryId, Level]:
    """Return the other plan's ceilings that differ. Both plans are of the same findings, or one is None."""
    if live is None or other is None:
        return {}
    return {name: level for name, level in other.ceilings.items() if live.ceilings.get(name) != level}


def _first_other_verdict(record: AuditRecord, found: Recomputed) -> int | None:
    """Return the first differently judged draft that the other policy's action rests on; None if there is none."""
    for index, verdict in enumerate(found.verdicts[: found.judged_count]):
        if verdict.verdict is not record.attempts[index].verdict.verdict:
            return index
    return None


def _shift(record: AuditRecord, found: Recomputed, ceilings: dict[CategoryId, Level], index: int | None) -> Shift:
    """Return LOOSER if every difference is looser, STRICTER if every one is stricter, else OTHER.

    A different mode alone is OTHER.
    """
    moved = [level - record.plan.ceilings.get(name, level) for name, level in ceilings.items()] if record.plan else []
    if index is not None:
        moved.append(_strictness(record.attempts[index].verdict.verdict) - _strictness(found.verdicts[index].verdict))
    if found.action is not None:
        moved.append(LENIENCE[found.action] - LENIENCE[record.action])
    if any(by > 0 for by in moved):
        return Shift.OTHER if any(by < 0 for by in moved) else Shift.LOOSER
    return Shift.STRICTER if any(by < 0 for by in moved) else Shift.OTHER


def _strictness(verdict: VerdictKind) -> int:
    return STRICTNESS[verdict]
