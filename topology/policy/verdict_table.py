"""The evaluation of the verdict table: the first row that fits a fault. The rows are data of the bundle."""

from collections.abc import Sequence

from msgspec import Struct

from topology.contract.labels import Level, Mode, VerdictKind
from topology.policy.bundle import Aspect, ContentClass, Family, VerdictRow

STRICTNESS = {verdict: index for index, verdict in enumerate(VerdictKind)}
"""The verdicts from lax to strict; the strictest of all matches stands."""

UNMATCHED = VerdictRow(
    id="V00",
    aspect=Aspect.FINDING,
    verdict=VerdictKind.ESCALATE,
    feedback="The draft broke the policy in a way that no rule describes.",
)
"""The row for a fault that no row fits. A bundle that loads has a row for every fault, so this is a second guard."""


class Fault(Struct, frozen=True, kw_only=True):
    """One fault to be judged. The fields of a finding keep their defaults for other aspects.

    `over` is the observed detail minus the ceiling; `straddle` is 0 if all guards are on one side of it.
    """

    aspect: Aspect
    mode: Mode
    has_budget: bool
    content_class: ContentClass = ContentClass.CONDUCT
    family: Family = Family.PROCEDURAL
    harm: Level = 0
    over: int = 0
    straddle: int = 0
    separable: bool = False


def row_fits(row: VerdictRow, fault: Fault) -> bool:
    """Return whether all conditions of a row hold."""
    return (
        row.aspect is fault.aspect
        and (row.over_min is None or fault.over >= row.over_min)
        and (row.straddle_min is None or fault.straddle >= row.straddle_min)
        and row.harm_min <= fault.harm <= row.harm_max
        and (row.content_class is None or row.content_class is fault.content_class)
        and (row.family is None or row.family is fault.family)
        and (row.separable is None or row.separable is fault.separable)
        and (row.budget is None or row.budget == ("more" if fault.has_budget else "spent"))
        and (not row.modes or fault.mode in row.modes)
    )


def first_row(rows: Sequence[VerdictRow], fault: Fault) -> VerdictRow | None:
    """Return the row that decides a fault; None if nothing is wrong."""
    for row in rows:
        if row_fits(row, fault):
            return row
    is_fault = fault.over >= 1 if fault.aspect is Aspect.FINDING else is_fault_in(fault.aspect, fault.mode)
    return UNMATCHED if is_fault else None


def is_fault_in(aspect: Aspect, mode: Mode) -> bool:
    """Return whether an aspect other than a finding is a fault in a mode.

    A refusal is none where one is planned; declining is one only where a direct answer is.
    """
    if aspect is Aspect.REFUSAL:
        return mode is not Mode.HARD_REFUSE
    return aspect is not Aspect.DECLINING or mode is Mode.DIRECT_ANSWER
