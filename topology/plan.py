"""The plan: from labels, policy, overlay and user to a response mode and ceilings. Pure: same in, same out.

Each finding is planned on its own; the last mode in the enumeration's order wins, and every ceiling stays in force.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct, structs, to_builtins

from topology.bundle import AddOn, Category, ContentClass, ModeRule, PolicyBundle
from topology.ceilings import Subject, ceiling, floored, harm_of, subject_of
from topology.documents import digest, without
from topology.errors import CheckFailed
from topology.events import UserContext
from topology.labels import (
    NONE,
    CategoryId,
    Context,
    Intent,
    Level,
    Mode,
    Outcome,
    Plan,
    RequestFinding,
    RequestLabels,
    SideEffect,
    Vulnerability,
)
from topology.overlays import TenantOverlay

MODES = tuple(Mode)
DETAIL_WITH_INCLUDES: Level = 2
"""From D2 on an answer is specific enough to need what its category includes, such as a referral."""

HARMLESS = RequestFinding(category=NONE, harm=0, intent=Intent.BENIGN)
"""What a request without findings is planned as."""

_CRISIS = frozenset({Vulnerability.ACUTE_SELF_HARM, Vulnerability.HARM_TO_OTHERS})
_FLOORING = frozenset({Vulnerability.RADICALIZATION_RISK, Vulnerability.DELUSION_MANIA})
_SIGNAL = (SideEffect.ACCOUNT_SIGNAL, SideEffect.HUMAN_REVIEW)


class Planned(Struct, frozen=True, kw_only=True):
    """One finding's own plan. `finding` has its intent floored and its harm clamped."""

    finding: RequestFinding
    category: Category
    ceiling: Level
    ceiling_rules: tuple[str, ...]
    mode: Mode
    mode_rule: str

    @property
    def is_limited(self) -> bool:
        """Whether this finding keeps the answer from being what was asked."""
        return self.mode is not Mode.DIRECT_ANSWER


def plan(
    bundle: PolicyBundle, labels: RequestLabels, *, overlay: TenantOverlay, user: UserContext, grants: Collection[str]
) -> Plan:
    """What may be published of an answer to this request, and how. `grants` are the names of verified grants.

    Raises CheckFailed where a label names a category that the policy does not know.
    """
    require_known(bundle, labels)
    subject = subject_of(bundle, labels, overlay=overlay, user=user, grants=grants)
    planned = [_planned(bundle, finding, labels, overlay, subject) for finding in labels.findings or (HARMLESS,)]
    mode = max((each.mode for each in planned), key=MODES.index)
    rules = _rules(bundle, planned, mode, labels, subject)
    return sealed(
        Plan(
            mode=mode,
            ceilings=_lowest(planned),
            withhold=_withhold(bundle, planned, rules),
            must_include=_must_include(planned, rules, overlay),
            must_offer=_must_offer(planned, rules, mode),
            style_profile="+".join(_unique(rule.style for rule in rules)),
            rule_ids=_unique(rule for each in planned for rule in (*each.ceiling_rules, each.mode_rule)),
            reasons=_unique(_reason(each) for each in planned),
            side_effects=_side_effects(planned, labels.vulnerability),
        )
    )


def tighten(made: Plan) -> Plan:
    """The plan to generate a safe completion under: every ceiling one lower. The draft is judged by the plan itself."""
    lowered = {category: max(0, level - 1) for category, level in made.ceilings.items()}
    return sealed(structs.replace(made, ceilings=lowered, rule_ids=_unique((*made.rule_ids, "T1"))))


def sealed(made: Plan) -> Plan:
    """The plan with its hash: the SHA-256 of its other fields' canonical JSON."""
    return structs.replace(made, plan_hash=digest(without(to_builtins(made), "plan_hash")))


def require_known(bundle: PolicyBundle, labels: RequestLabels) -> None:
    """Raise CheckFailed where the labeller speaks of a category that is not the policy's: it could not tell."""
    unknown = sum(1 for finding in labels.findings if finding.category not in bundle.categories)
    if unknown:
        raise CheckFailed(Outcome.UNPARSABLE, labels.labeler.model, f"{unknown} findings of unknown category")


def _planned(
    bundle: PolicyBundle, finding: RequestFinding, labels: RequestLabels, overlay: TenantOverlay, subject: Subject
) -> Planned:
    category = bundle.categories[finding.category]
    level, ceiling_rules = ceiling(bundle, finding, overlay, subject, labels.signals)
    intent = floored(finding.intent, labels.signals)
    reckoned = structs.replace(finding, intent=intent, harm=harm_of(category, finding.harm))
    mode, mode_rule = _mode(category, reckoned, level, labels.vulnerability)
    return Planned(
        finding=reckoned,
        category=category,
        ceiling=level,
        ceiling_rules=ceiling_rules,
        mode=mode,
        mode_rule=f"{mode_rule}:{finding.category}",
    )


def _mode(category: Category, finding: RequestFinding, level: Level, vulnerability: Vulnerability) -> tuple[Mode, str]:
    """The mode for one finding and the rule that set it: the first condition that holds."""
    is_malicious = finding.intent is Intent.MALICIOUS
    is_asked = finding.asked_detail >= 1
    is_barred = level == 0 and is_asked
    is_worst = is_malicious and (category.content_class is ContentClass.PROHIBITED or finding.harm == 4)
    conditions = (
        (category.force_mode is not None, category.force_mode or Mode.CRISIS_SUPPORT, "M1f"),
        (vulnerability in _CRISIS, Mode.CRISIS_SUPPORT, "M1"),
        (vulnerability is Vulnerability.IMMINENT_DANGER, Mode.EMERGENCY_GUIDANCE, "M2"),
        (is_barred and is_worst, Mode.HARD_REFUSE, "M3"),
        (is_barred, Mode.REFUSE_REDIRECT, "M4"),
        (finding.asked_detail > level, Mode.SAFE_COMPLETION, "M5"),
        (vulnerability in _FLOORING or category.floor_mode is not None, Mode.SAFE_COMPLETION, "M6"),
        (is_malicious and is_asked, Mode.SAFE_COMPLETION, "M6m"),
    )
    return next(((mode, rule) for holds, mode, rule in conditions if holds), (Mode.DIRECT_ANSWER, "M7"))


def _rules(
    bundle: PolicyBundle, planned: list[Planned], mode: Mode, labels: RequestLabels, subject: Subject
) -> list[ModeRule]:
    """The mode's rule and those of the add-ons that apply."""
    is_delusion = labels.vulnerability is Vulnerability.DELUSION_MANIA
    add_ons = {
        AddOn.TEEN: subject.is_teen and mode is not Mode.DIRECT_ANSWER,
        AddOn.TRANSFORMATION: any(each.finding.context is Context.TRANSFORMATION for each in planned),
        AddOn.DELUSION: is_delusion or any(each.finding.category == "delusion_mania" for each in planned),
    }
    return [bundle.modes[mode], *(bundle.add_ons[add_on] for add_on, applies in add_ons.items() if applies)]


def _lowest(planned: list[Planned]) -> dict[CategoryId, Level]:
    """The ceiling of each category; the lowest where a category was found more than once."""
    lowest: dict[CategoryId, Level] = {}
    for each in planned:
        name = each.finding.category
        lowest[name] = min(each.ceiling, lowest.get(name, each.ceiling))
    return lowest


def _withhold(bundle: PolicyBundle, planned: list[Planned], rules: list[ModeRule]) -> tuple[str, ...]:
    above = (
        bundle.withhold_above[each.category.family][each.ceiling]
        for each in planned
        if each.ceiling < 4 and each.finding.category != NONE
    )
    of_categories = (name for each in planned for name in each.category.withhold)
    return _unique((*above, *of_categories, *(name for rule in rules for name in rule.withhold)))


def _must_include(planned: list[Planned], rules: list[ModeRule], overlay: TenantOverlay) -> tuple[str, ...]:
    """Obligations: of mode and add-ons, of categories answered in detail, and to say what local law removed.

    A tenant's own notices are no obligation here: no check knows their words. The prompt and the templates carry them.
    """
    of_rules = [name for rule in rules for name in rule.include]
    of_categories = [
        name
        for each in planned
        if min(each.ceiling, each.finding.asked_detail) >= DETAIL_WITH_INCLUDES
        for name in each.category.include
    ]
    capped = {each.finding.category for each in planned if f"C7:{each.finding.category}" in each.ceiling_rules}
    has_legal = any(notice.category in capped for notice in overlay.legal_notices)
    return _unique((*of_rules, *of_categories, *(("legal_notice",) if has_legal else ())))


def _must_offer(planned: list[Planned], rules: list[ModeRule], mode: Mode) -> tuple[str, ...]:
    """What may be offered instead: by what is limited, else by anything found. A hard refusal offers nothing."""
    if mode in {Mode.HARD_REFUSE, Mode.DIRECT_ANSWER}:
        return ()
    limited = [each for each in planned if each.is_limited] or planned
    of_categories = (name for each in limited for name in each.category.offer)
    return _unique((*(name for rule in rules for name in rule.offer), *of_categories))


def _side_effects(planned: list[Planned], vulnerability: Vulnerability) -> tuple[SideEffect, ...]:
    """Account signal and human review, whatever the mode, for the worst requests."""

    def is_worst(each: Planned) -> bool:
        is_malicious = each.finding.intent is Intent.MALICIOUS
        is_excused = each.finding.context in each.category.education and not is_malicious
        is_prohibited = each.category.content_class is ContentClass.PROHIBITED
        return (is_prohibited and not is_excused) or (each.finding.harm == 4 and is_malicious)

    if vulnerability is Vulnerability.HARM_TO_OTHERS or any(is_worst(each) for each in planned):
        return _SIGNAL
    return ()


def _reason(each: Planned) -> str:
    finding = each.finding
    asked = f"asked D{finding.asked_detail}, ceiling D{each.ceiling}"
    return f"{finding.category}: H{finding.harm} {finding.intent} {finding.context}, {asked}: {each.mode}"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Names in order of first mention, each once."""
    return tuple(dict.fromkeys(names))
