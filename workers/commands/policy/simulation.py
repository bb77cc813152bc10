"""Which recorded decisions another policy would change: counted one by one, in memory that their number does not grow.

Pure. The drafts are those that were recorded; `topology.decision.recompute` says what that can and cannot tell.
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
"""In place of an action: the policy would have asked for a draft that nobody made."""

ACTIONS = tuple(action.value for action in Action)
OUTCOMES = (*ACTIONS, UNKNOWN)
HEADINGS = {UNKNOWN: "one more draft"}

NAMES_MAX = 1000
"""Different names of one kind that are counted; records bring some of them along. What comes later is left out."""

EXAMPLES_MAX = 5
"""Audit ids that are kept for each change."""

K = TypeVar("K")
_Moved = tuple[str, bool]
"""A category, and whether it got looser."""


class Changes(Struct, frozen=True, kw_only=True):
    """One cell of the matrix: decisions that went from one action to another, the same one included."""

    before: str
    after: str
    count: int
    examples: tuple[str, ...]


class Moves(Struct, frozen=True, kw_only=True):
    """What changes for one category: decisions that get looser or stricter there, and in what."""

    category: str
    looser: int
    stricter: int
    ceilings_raised: int
    ceilings_lowered: int
    drafts_looser: int
    drafts_stricter: int


class RuleChange(Struct, frozen=True, kw_only=True):
    """How often one rule decides on a draft where another one did."""

    before: str
    after: str
    count: int


class Simulated(Struct, frozen=True, kw_only=True):
    """The whole count; most frequent first.

    `changed` decisions differ in anything, `shifts` splits them; `acted` of them end in another action, or may; of the
    others `planned` are examples. `policies` are those that the records name. `other_overlays` counts decisions that
    were made under another overlay than their tenant has here.
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
    """Counts decisions under `bundle`; `overlays` by tenant id, the strictest defaults for tenants without one."""

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
        """Decisions so far."""
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
        """The count so far."""
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
    """A draft that is judged otherwise, under the categories found in it whose ceiling moved, or else all of them."""
    if not what.attempt:
        return set()
    attempt, verdict = record.attempts[what.attempt - 1], found.verdicts[what.attempt - 1]
    seen = {finding.category for finding in attempt.labels.findings}
    is_looser = STRICTNESS[verdict.verdict] < STRICTNESS[attempt.verdict.verdict]
    return {(name, is_looser) for name in (seen & what.ceilings.keys()) or seen or {NONE}}


def _decisive(verdict: Verdict) -> str:
    """The rule that decided; empty where a record, which may come from anywhere, names none."""
    return next(iter(verdict.rule_ids), "")


def _count(counter: Counter[K], key: K) -> None:
    if key in counter or len(counter) < NAMES_MAX:
        counter[key] += 1
