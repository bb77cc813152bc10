"""What each rule that a plan or verdict cites says, in words."""

from collections.abc import Iterator

from topology.decision.judge import CLEAN_RULE
from topology.policy.bundle import Aspect, PolicyBundle, VerdictRow
from topology.policy.verdict_table import UNMATCHED

PLAN_RULES = {
    "C1": "the base table, by family of the category, harm and intent",
    "C1f": "the category's own row, by intent",
    "C2": "prohibited content may be mentioned in education and to survivors",
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
    "M8": "somebody was at risk a few turns ago",
    "T1": "every ceiling one lower, to generate a safe completion under",
}
"""Rules of ceilings and modes, which are code; docs/policy.md has the tables. Rules of verdicts are the bundle's."""

ASPECTS = {
    Aspect.GUARD: "a check failed, is missing, or names a category that the policy does not know",
    Aspect.FINDING: "the draft has more detail than its ceiling",
    Aspect.LEAK: "the draft follows an injected instruction, or reveals confidential text",
    Aspect.OBLIGATION: "the draft lacks an obligation of root or system level",
    Aspect.UNFAIR: "the draft treats people differently without cause",
    Aspect.REFUSAL: "the draft only refuses",
    Aspect.SOFT: "the draft has a fault of style or manner, or lacks a lesser obligation",
}


def words_of(rule_id: str, bundle: PolicyBundle) -> str:
    """What a rule says; `rule_id` as plans and verdicts cite it, with or without a category."""
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
    """A row of the verdict table as a sentence: what it looks at, its conditions, its verdict."""
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
