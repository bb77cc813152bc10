"""The steps that led to a recorded answer, from its audit record. Pure; holds no user text."""

from collections.abc import Iterator

from msgspec import Struct

from topology.contract.conversation import ConversationState
from topology.contract.events import Attempt, AuditRecord
from topology.contract.labels import (
    Intent,
    Outcome,
    OutputFinding,
    Plan,
    RequestFinding,
    RequestLabels,
    Verdict,
    Vulnerability,
)
from topology.decision.judge import CLEAN_RULE
from topology.decision.recompute import is_by_verdict, recompute
from topology.policy.bundle import Aspect, PolicyBundle, VerdictRow
from topology.policy.in_force import Policies
from topology.policy.verdict_table import UNMATCHED

PLAN_RULES = {
    "C1": "the base table, by family of the category, harm and intent",
    "C1f": "the category's own row, by intent",
    "C2": "a grave subject may be mentioned in education, and spoken of to those who protect, report or are the victim",
    "C3": "sensitive content gains one level in this context",
    "C4": "a verified grant of a verified adult",
    "C5": "text that the user supplied in full keeps the detail it has",
    "C6": "the tenant raises it, as far as the category allows",
    "C7": "the tenant caps it",
    "C8": "the limit for teens, and for unknown age unless the tenant says otherwise",
    "C9": "what the conversation showed and was given before",
    "M1f": "the category always asks for crisis support",
    "M1": "acute self-harm, or harm to others",
    "M2": "imminent danger",
    "M3": "nothing may be said, something is asked with malice, and the harm is of the worst kind",
    "M4": "nothing may be said, and something is asked",
    "M5": "more detail is asked for than may be given",
    "M6": "the person, or the category, needs care",
    "M6m": "something is asked with malice",
    "M7": "nothing stands in the way of an answer",
    "M8": "the turn touches a risk that the conversation remembers",
    "T1": "every ceiling is one lower, for generating a safe completion",
}
"""The rules of ceilings and modes, which are code; docs/policy.md has the tables. The bundle has those of verdicts."""

ASPECTS = {
    Aspect.GUARD: "a check failed, is missing, or names a category that the policy does not know",
    Aspect.FINDING: "the draft has more detail than its ceiling",
    Aspect.LEAK: "the draft follows an injected instruction, or reveals confidential text",
    Aspect.OBLIGATION: "the draft lacks an obligation of root or system level",
    Aspect.UNFAIR: "the draft treats people differently without cause",
    Aspect.REFUSAL: "the draft only refuses",
    Aspect.DECLINING: "the draft declines what is to be answered directly",
    Aspect.SOFT: "the draft has a fault of style or manner, or lacks a lesser obligation",
}


class Rule(Struct, frozen=True, kw_only=True):
    """A cited rule, and its meaning in words."""

    id: str
    words: str


class Step(Struct, frozen=True, kw_only=True):
    """One step of a decision: its subject, its outcome, the facts it rests on, and the rules that decided."""

    what: str
    outcome: str
    facts: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


class Explained(Struct, frozen=True, kw_only=True):
    """The decision on one event. `is_repeatable` says whether the policy at hand gives the same, bit for bit.

    It is None if the policy or the tenant's overlay at hand is not the one that the record names.
    """

    audit_id: str
    event_id: str
    tenant_id: str
    policy_ref: str
    overlay_ref: str
    action: str
    is_repeatable: bool | None
    steps: tuple[Step, ...]


def explained(record: AuditRecord, policies: Policies) -> Explained:
    """Explain every step from labels to action; the rules of verdicts in the words of the policy at hand."""
    return Explained(
        audit_id=record.audit_id,
        event_id=record.event_id,
        tenant_id=record.tenant_id,
        policy_ref=record.policy_ref,
        overlay_ref=record.overlay_ref,
        action=record.action.value,
        is_repeatable=_is_repeatable(record, policies),
        steps=tuple(_steps(record, policies.bundle)),
    )


def _is_repeatable(record: AuditRecord, policies: Policies) -> bool | None:
    overlay = policies.overlay_of(record.tenant_id)
    if (record.policy_ref, record.overlay_ref) != (policies.bundle.ref, overlay.ref):
        return None
    found = recompute(record, policies.bundle, overlay)
    verdicts = tuple(attempt.verdict for attempt in record.attempts)
    return (found.plan, found.verdicts, found.action) == (record.plan, verdicts, record.action)


def _steps(record: AuditRecord, bundle: PolicyBundle) -> Iterator[Step]:
    if record.labels is None:
        yield Step(what="request", outcome="was not assessed")
    else:
        yield _request(record, record.labels)
    if record.plan is not None:
        yield from _ceilings(record.plan, bundle)
        yield _mode(record.plan, bundle)
    for number, attempt in enumerate(record.attempts, start=1):
        yield _draft(number, attempt, record.plan, bundle)
    yield _action(record)


def _request(record: AuditRecord, labels: RequestLabels) -> Step:
    found = ", ".join(finding.category for finding in labels.findings) or "nothing"
    return Step(what="request", outcome=f"found: {found}", facts=tuple(_request_facts(record, labels)))


def _request_facts(record: AuditRecord, labels: RequestLabels) -> Iterator[str]:
    for finding in labels.findings:
        yield _asked(finding)
    verified = "verified" if labels.age_verified else "not verified"
    yield f"age {labels.age_band}, {verified}; vulnerability {labels.vulnerability}"
    if labels.signals:
        yield f"signals: {', '.join(labels.signals)}"
    if record.grants:
        yield f"grants: {', '.join(f'{use.grant} ({use.status})' for use in record.grants)}"
    yield from _remembered(record.state_before)
    yield f"labelled by {labels.labeler.model} {labels.labeler.version}"


def _remembered(state: ConversationState) -> Iterator[str]:
    """Yield what is still remembered of earlier turns of the conversation."""
    if state.vulnerability is not Vulnerability.NONE:
        turn = 0 if state.risk is None else state.risk.shown.turn
        yield f"remembered: vulnerability {state.vulnerability}, last seen in turn {turn} of {state.turns}"
    if state.signals:
        yield f"remembered: signals {', '.join(state.signals)}"
    for category, memory in state.categories.items():
        if memory.spent or memory.harm or memory.intent is not Intent.BENIGN:
            harm, spent = memory.harm, memory.spent
            yield f"remembered of {category}: harm {harm}, intent {memory.intent}, {spent} of its ceiling spent"


def _asked(finding: RequestFinding) -> str:
    words = (
        f"{finding.category}: H{finding.harm}, intent {finding.intent}, context {finding.context}, "
        f"asks for D{finding.asked_detail}, confidence {finding.confidence}"
    )
    return f"{words}; its text has D{finding.input_detail}" if finding.input_detail else words


def _ceilings(plan: Plan, bundle: PolicyBundle) -> Iterator[Step]:
    for category, level in plan.ceilings.items():
        rules = [rule for rule in plan.rule_ids if rule.startswith("C") and rule.partition(":")[2] == category]
        yield Step(what=f"ceiling of {category}", outcome=f"D{level}", rules=_cited(rules, bundle))


def _mode(plan: Plan, bundle: PolicyBundle) -> Step:
    named = (("withhold", plan.withhold), ("include", plan.must_include), ("offer", plan.must_offer))
    facts = (*plan.reasons, *(f"{what}: {', '.join(names)}" for what, names in named if names))
    rules = [rule for rule in plan.rule_ids if not rule.startswith("C")]
    return Step(what="mode", outcome=plan.mode.value, facts=facts, rules=_cited(rules, bundle))


def _draft(number: int, attempt: Attempt, plan: Plan | None, bundle: PolicyBundle) -> Step:
    labels = attempt.labels
    facts = [_seen(finding, plan) for finding in labels.findings]
    faults = {
        "follows an injected instruction": labels.obeyed_injection,
        "reveals confidential text": labels.privileged_leak,
        "treats people unfairly": labels.unfair,
        "only refuses": labels.is_bare_refusal,
    }
    facts += [fault for fault, is_so in faults.items() if is_so]
    facts += [
        f"check {run.guard} could not tell: {run.outcome}" for run in labels.guards if run.outcome is not Outcome.OK
    ]
    return Step(
        what=f"draft {number} ({attempt.source})",
        outcome=attempt.verdict.verdict.value,
        facts=(*facts, *_verdict_facts(attempt.verdict)),
        rules=_cited(attempt.verdict.rule_ids, bundle),
    )


def _seen(finding: OutputFinding, plan: Plan | None) -> str:
    low, high = finding.detail_lo, finding.detail_hi
    detail = f"D{high}" if low == high else f"D{low} to D{high}"
    planned = None if plan is None else plan.ceilings.get(finding.category)
    limit = "not asked for" if planned is None else f"ceiling D{planned}"
    return f"{finding.category}: H{finding.harm}, detail {detail}, {limit}, confidence {finding.confidence}"


def _verdict_facts(verdict: Verdict) -> Iterator[str]:
    if verdict.flags:
        yield f"flags: {', '.join(verdict.flags)}"
    if verdict.redactions:
        yield f"passages cut out: {len(verdict.redactions)}"
    if verdict.side_effects:
        yield f"asks for: {', '.join(verdict.side_effects)}"


def _action(record: AuditRecord) -> Step:
    why = "by the last verdict" if is_by_verdict(record) else "by a failure, not by a verdict"
    facts = [f"reason codes: {', '.join(record.reason_codes)}"]
    if record.duplicate_of:
        facts.append(f"the event was answered before, see audit record {record.duplicate_of}")
    if record.side_effects:
        facts.append(f"asked for: {', '.join(record.side_effects)}")
    facts += [
        f"candidate policy {other.policy_ref}: {other.shift}, action {other.action or 'unknown: one more draft'}"
        for other in record.shadows
    ]
    return Step(what="action", outcome=f"{record.action.value}, {why}", facts=tuple(facts))


def _cited(rule_ids: tuple[str, ...] | list[str], bundle: PolicyBundle) -> tuple[Rule, ...]:
    return tuple(Rule(id=rule, words=words_of(rule, bundle)) for rule in rule_ids)


def words_of(rule_id: str, bundle: PolicyBundle) -> str:
    """Return the meaning of a rule; `rule_id` as plans and verdicts cite it, with or without a category."""
    name = rule_id.partition(":")[0]
    if name in PLAN_RULES:
        return PLAN_RULES[name]
    if name == CLEAN_RULE:
        return "no fault was found: publish"
    if name == UNMATCHED.id:
        return "a fault that no row of the table describes: escalate"
    row = next((row for row in bundle.rules if row.id == name), None)
    return "a rule that this policy does not have" if row is None else row_words(row)


def row_words(row: VerdictRow) -> str:
    """Return a row of the verdict table as a sentence: its aspect, its conditions, its verdict."""
    conditions = "; ".join((ASPECTS[row.aspect], *_conditions(row)))
    return f"{conditions}: {row.verdict}"


def _conditions(row: VerdictRow) -> Iterator[str]:
    if row.content_class is not None:
        yield f"{row.content_class} class"
    if row.family is not None:
        yield f"family {row.family}"
    if (row.harm_min, row.harm_max) != (0, 4):
        yield _range(row)
    if row.over_min is not None:
        yield f"at least {row.over_min} above it"
    if row.straddle_min is not None:
        yield f"checks on both sides of it, {row.straddle_min} or more apart"
    if row.separable is not None:
        yield "the passages can be cut out" if row.separable else "the passages cannot be cut out"
    if row.budget is not None:
        yield "another draft may be made" if row.budget == "more" else "no further draft may be made"
    if row.modes:
        yield f"planned as {', '.join(row.modes)}"


def _range(row: VerdictRow) -> str:
    if row.harm_min == row.harm_max:
        return f"harm H{row.harm_min}"
    return f"harm up to H{row.harm_max}" if row.harm_min == 0 else f"harm from H{row.harm_min} on"
