"""A count of the recorded decisions that another policy would change, in memory that does not grow with their number.

Pure. The drafts are the recorded ones; `topology.decision.recompute` says what can and cannot be told from them.
"""

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct

from topology.contract.events import Action, AuditRecord, ShadowDifference, Shift
from topology.contract.labels import NONE, Verdict
from topology.decision.recompute import Recomputed, recompute
from topology.decision.shadow import difference
from topology.policy.bundle import PolicyBundle
from topology.policy.overlays import STRICTEST, TenantOverlay
from topology.policy.verdict_table import STRICTNESS

UNKNOWN = "unknown"
"""The value in place of an action if the policy would have asked for a draft that nobody made."""

ACTIONS = tuple(action.value for action in Action)
OUTCOMES = (*ACTIONS, UNKNOWN)
HEADINGS = {UNKNOWN: "one more draft"}

NAMES_MAX = 1000
"""The most names of one kind that are counted, since records may hold any name; later names are left out."""

EXAMPLES_MAX = 5
"""The most audit ids that are kept for each change."""

K = TypeVar("K")
_Moved = tuple[str, bool]
"""A category, and whether it got looser."""


class Changes(Struct, frozen=True, kw_only=True):
    """One cell of the matrix: decisions with action `before` that would get action `after`, possibly the same."""

    before: str
    after: str
    count: int
    examples: tuple[str, ...]


class Moves(Struct, frozen=True, kw_only=True):
    """The changes of one category: decisions that get looser or stricter, and through which ceilings and drafts."""

    category: str
    looser: int
    stricter: int
    ceilings_raised: int
    ceilings_lowered: int
    drafts_looser: int
    drafts_stricter: int


class RuleChange(Struct, frozen=True, kw_only=True):
    """The number of drafts on which rule `after` would decide instead of rule `before`."""

    before: str
    after: str
    count: int


class Simulated(Struct, frozen=True, kw_only=True):
    """The whole count, most frequent first.

    `changed` decisions differ in anything, and `shifts` splits them. `acted` of them end, or may, in another action;
    `planned` has examples of the others. `policies` counts decisions by the policy that their record names, and
    `other_overlays` those that were made under another overlay than their tenant has here.
    """

    policy_ref: str
    decisions: int
    changed: int
    acted: int
    shifts: dict[str, int]
    changes: tuple[Changes, ...]
    categories: tuple[Moves, ...]
    rules: tuple[RuleChange, ...]
    planned: tuple[str, ...]
    policies: dict[str, int]
    other_overlays: int


class Simulation:
    """A counter of decisions under `bundle`. `overlays` are by tenant id; a tenant without one gets the strictest."""

    def __init__(self, bundle: PolicyBundle, overlays: Mapping[str, TenantOverlay]) -> None:
        self._bundle = bundle
        self._overlays = overlays
        self._count = self._changed = self._acted = self._other_overlays = 0
        self._shifts: Counter[Shift] = Counter()
        self._policies: Counter[str] = Counter()
        self._actions: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], list[str]] = {}
        self._planned: list[str] = []
        self._moved: Counter[_Moved] = Counter()
        self._ceilings: Counter[_Moved] = Counter()
        self._drafts: Counter[_Moved] = Counter()
        self._rules: Counter[tuple[str, str]] = Counter()

    @property
    def count(self) -> int:
        """Return the number of decisions so far."""
        return self._count

    def add(self, record: AuditRecord) -> None:
        """Count one decision."""
        overlay = self._overlays.get(record.tenant_id, STRICTEST)
        found = recompute(record, self._bundle, overlay)
        self._count += 1
        self._other_overlays += record.overlay_ref != overlay.ref
        _count(self._policies, record.policy_ref)
        after = UNKNOWN if found.action is None else found.action.value
        self._actions[record.action.value, after] += 1
        what = difference(record, found, self._bundle.ref)
        if what is None:
            return
        self._changed += 1
        self._shifts[what.shift] += 1
        self._note_example(record, after)
        ceilings, drafts = _ceilings_moved(record, what), _draft_moved(record, found, what)
        for counter, moved in ((self._ceilings, ceilings), (self._drafts, drafts), (self._moved, ceilings | drafts)):
            for each in moved:
                _count(counter, each)
        if what.attempt:
            index = what.attempt - 1
            _count(self._rules, (_decisive(record.attempts[index].verdict), _decisive(found.verdicts[index])))

    def result(self) -> Simulated:
        """Return the count so far."""
        names = {name for name, _ in self._moved}
        moves = [self._moves(name) for name in names]
        return Simulated(
            policy_ref=self._bundle.ref,
            decisions=self._count,
            changed=self._changed,
            acted=self._acted,
            shifts={shift.value: self._shifts[shift] for shift in Shift},
            other_overlays=self._other_overlays,
            policies=dict(self._policies.most_common()),
            changes=tuple(
                Changes(before=before, after=after, count=n, examples=tuple(self._examples.get((before, after), ())))
                for (before, after), n in sorted(self._actions.items(), key=lambda cell: (-cell[1], cell[0]))
            ),
            categories=tuple(sorted(moves, key=lambda each: (-each.looser - each.stricter, each.category))),
            rules=tuple(
                RuleChange(before=before, after=after, count=n)
                for (before, after), n in sorted(self._rules.items(), key=lambda pair: (-pair[1], pair[0]))
            ),
            planned=tuple(self._planned),
        )

    def _moves(self, name: str) -> Moves:
        return Moves(
            category=name,
            looser=self._moved[name, True],
            stricter=self._moved[name, False],
            ceilings_raised=self._ceilings[name, True],
            ceilings_lowered=self._ceilings[name, False],
            drafts_looser=self._drafts[name, True],
            drafts_stricter=self._drafts[name, False],
        )

    def _note_example(self, record: AuditRecord, after: str) -> None:
        before = record.action.value
        if before == after:
            examples = self._planned
        else:
            self._acted += 1
            examples = self._examples.setdefault((before, after), [])
        if len(examples) < EXAMPLES_MAX:
            examples.append(record.audit_id)


def _ceilings_moved(record: AuditRecord, what: ShadowDifference) -> set[_Moved]:
    before = record.plan.ceilings if record.plan else {}
    return {(name, level > before.get(name, level)) for name, level in what.ceilings.items()}


def _draft_moved(record: AuditRecord, found: Recomputed, what: ShadowDifference) -> set[_Moved]:
    """Return the categories of a draft that is judged differently: those with another ceiling, else all found in it."""
    if not what.attempt:
        return set()
    attempt, verdict = record.attempts[what.attempt - 1], found.verdicts[what.attempt - 1]
    seen = {finding.category for finding in attempt.labels.findings}
    is_looser = STRICTNESS[verdict.verdict] < STRICTNESS[attempt.verdict.verdict]
    return {(name, is_looser) for name in (seen & what.ceilings.keys()) or seen or {NONE}}


def _decisive(verdict: Verdict) -> str:
    """Return the rule that decided; empty if the record, which may come from anywhere, names none."""
    return next(iter(verdict.rule_ids), "")


def _count(counter: Counter[K], key: K) -> None:
    if key in counter or len(counter) < NAMES_MAX:
        counter[key] += 1
