"""The plan: turns labels, policy, overlay and user into a response mode and ceilings. Pure and deterministic.

Each finding is planned on its own. The last mode in the enumeration's order wins, and every ceiling stays in force.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct, structs

from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.errors import CheckFailed
from topology.contract.events import UserContext
from topology.contract.labels import (
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
from topology.decision.ceilings import Subject, ceiling, harm_of, reckoned_intent, subject_of
from topology.policy.bundle import AddOn, Category, ContentClass, ModeRule, PolicyBundle
from topology.policy.documents import digest
from topology.policy.overlays import TenantOverlay

MODES = tuple(Mode)
DETAIL_WITH_INCLUDES: Level = 2
"""The detail from which an answer must carry its category's obligations, such as a referral."""

HARMLESS = RequestFinding(category=NONE, harm=0, intent=Intent.BENIGN)
"""The finding that a request without findings is planned with."""

REMEMBERED_RULE = "M8"
"""The rule cited if the mode is due to a risk that the user stated a few turns ago."""

# Tuples: hashing an Enum is a call into Python.
_CRISIS = (Vulnerability.ACUTE_SELF_HARM, Vulnerability.HARM_TO_OTHERS)
_FLOORING = (Vulnerability.RADICALIZATION_RISK, Vulnerability.DELUSION_MANIA)
_SIGNAL = (SideEffect.ACCOUNT_SIGNAL, SideEffect.HUMAN_REVIEW)


class Planned(Struct, frozen=True, kw_only=True):
    """The plan of one finding. `finding` carries the intent that is planned with, and its clamped harm."""

    finding: RequestFinding
    category: Category
    ceiling: Level
    ceiling_rules: tuple[str, ...]
    mode: Mode
    mode_rule: str


def plan(
    bundle: PolicyBundle,
    labels: RequestLabels,
    *,
    overlay: TenantOverlay,
    user: UserContext,
    grants: Collection[str],
    state: ConversationState = EMPTY,
) -> Plan:
    """Plan what may be published in answer to this request, and how. `grants` are the names of verified grants.

    `state` is the conversation's before this turn; it lowers ceilings and makes the mode stricter, never the reverse.
    Raises CheckFailed if a label names a category that the policy does not know.
    """
    require_known(bundle, labels)
    subject = subject_of(bundle, labels, overlay=overlay, user=user, grants=grants, state=state)
    planned = [_planned(bundle, finding, labels, overlay, subject, state) for finding in labels.findings or (HARMLESS,)]
    asked_mode = max([each.mode for each in planned], key=MODES.index)
    mode = asked_mode if state is EMPTY else max(asked_mode, state.floor_mode, key=MODES.index)
    rules = _rules(bundle, planned, mode, (labels.vulnerability, state.vulnerability), subject)
    mode_rules = [] if mode is asked_mode else [REMEMBERED_RULE]
    return sealed(
        Plan(
            mode=mode,
            ceilings=_lowest(planned),
            withhold=_withhold(bundle, planned, rules),
            must_include=_must_include(planned, rules, overlay),
            must_offer=_must_offer(planned, rules, mode),
            style_profile="+".join(_unique([rule.style for rule in rules])),
            rule_ids=_unique(
                [*[rule for each in planned for rule in (*each.ceiling_rules, each.mode_rule)], *mode_rules]
            ),
            reasons=_unique([_reason(each) for each in planned]),
            side_effects=_side_effects(planned, labels.vulnerability),
        )
    )


def tighten(made: Plan) -> Plan:
    """Lower every ceiling by one, to generate a safe completion. The draft is judged by the plan itself."""
    lowered = {category: max(0, level - 1) for category, level in made.ceilings.items()}
    return sealed(structs.replace(made, ceilings=lowered, rule_ids=_unique((*made.rule_ids, "T1"))))


def sealed(made: Plan) -> Plan:
    """Fill in the plan's hash: the SHA-256 of its other fields' canonical JSON."""
    fields = structs.asdict(made)
    del fields["plan_hash"]
    return Plan(**fields, plan_hash=digest(fields))


def require_known(bundle: PolicyBundle, labels: RequestLabels) -> None:
    """Raise CheckFailed if the labeller names a category that the policy does not know: it could not tell."""
    unknown = len([finding for finding in labels.findings if finding.category not in bundle.categories])
    if unknown:
        raise CheckFailed(Outcome.UNPARSABLE, labels.labeler.model, f"{unknown} findings of unknown category")


def _planned(
    bundle: PolicyBundle,
    finding: RequestFinding,
    labels: RequestLabels,
    overlay: TenantOverlay,
    subject: Subject,
    state: ConversationState,
) -> Planned:
    category = bundle.categories[finding.category]
    level, ceiling_rules = ceiling(bundle, finding, overlay, subject, labels.signals, state)
    intent, harm = reckoned_intent(finding, labels.signals, state), harm_of(category, finding.harm)
    is_reckoned = intent is finding.intent and harm == finding.harm
    reckoned = finding if is_reckoned else structs.replace(finding, intent=intent, harm=harm)
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
    """Return the mode for one finding and the rule that set it: the first condition that holds."""
    for_safety = _safety_mode(category, vulnerability)
    if for_safety is not None:
        return for_safety
    is_malicious = finding.intent is Intent.MALICIOUS
    is_asked = finding.asked_detail >= 1
    if level == 0 and is_asked:
        is_worst = category.content_class is ContentClass.PROHIBITED or finding.harm == 4
        return (Mode.HARD_REFUSE, "M3") if is_malicious and is_worst else (Mode.REFUSE_REDIRECT, "M4")
    if finding.asked_detail > level:
        return Mode.SAFE_COMPLETION, "M5"
    if vulnerability in _FLOORING or category.floor_mode is not None:
        return Mode.SAFE_COMPLETION, "M6"
    return (Mode.SAFE_COMPLETION, "M6m") if is_malicious and is_asked else (Mode.DIRECT_ANSWER, "M7")


def _safety_mode(category: Category, vulnerability: Vulnerability) -> tuple[Mode, str] | None:
    """Return the mode that a person at risk gets, whatever is asked; None if nobody is at risk."""
    if category.force_mode is not None:
        return category.force_mode, "M1f"
    if vulnerability in _CRISIS:
        return Mode.CRISIS_SUPPORT, "M1"
    return (Mode.EMERGENCY_GUIDANCE, "M2") if vulnerability is Vulnerability.IMMINENT_DANGER else None


def _rules(
    bundle: PolicyBundle,
    planned: list[Planned],
    mode: Mode,
    vulnerabilities: tuple[Vulnerability, ...],
    subject: Subject,
) -> list[ModeRule]:
    """Return the rules of the mode and its add-ons; `vulnerabilities` are this turn's and the remembered one."""
    rules = [bundle.modes[mode]]
    if subject.is_teen and mode is not Mode.DIRECT_ANSWER:
        rules.append(bundle.add_ons[AddOn.TEEN])
    if Context.TRANSFORMATION in [each.finding.context for each in planned]:
        rules.append(bundle.add_ons[AddOn.TRANSFORMATION])
    is_delusion = Vulnerability.DELUSION_MANIA in vulnerabilities
    if is_delusion or "delusion_mania" in [each.finding.category for each in planned]:
        rules.append(bundle.add_ons[AddOn.DELUSION])
    return rules


def _lowest(planned: list[Planned]) -> dict[CategoryId, Level]:
    """Return the ceiling of each category, the lowest if a category was found more than once."""
    lowest: dict[CategoryId, Level] = {}
    for each in planned:
        name = each.finding.category
        lowest[name] = min(each.ceiling, lowest.get(name, each.ceiling))
    return lowest


def _withhold(bundle: PolicyBundle, planned: list[Planned], rules: list[ModeRule]) -> tuple[str, ...]:
    above = [
        bundle.withhold_above[each.category.family][each.ceiling]
        for each in planned
        if each.ceiling < 4 and each.finding.category != NONE
    ]
    of_categories = [name for each in planned for name in each.category.withhold]
    return _unique([*above, *of_categories, *[name for rule in rules for name in rule.withhold]])


def _must_include(planned: list[Planned], rules: list[ModeRule], overlay: TenantOverlay) -> tuple[str, ...]:
    """Collect the obligations of mode, add-ons and categories answered in detail, and the notice of local law.

    A tenant's own notices are no obligation here, because no check knows their words; prompt and templates carry them.
    """
    of_rules = [name for rule in rules for name in rule.include]
    of_categories = [
        name
        for each in planned
        if min(each.ceiling, each.finding.asked_detail) >= DETAIL_WITH_INCLUDES
        for name in each.category.include
    ]
    of_law = ["legal_notice"] if overlay.legal_notices and _is_capped_by_law(planned, overlay) else []
    return _unique([*of_rules, *of_categories, *of_law])


def _is_capped_by_law(planned: list[Planned], overlay: TenantOverlay) -> bool:
    capped = {each.finding.category for each in planned if f"C7:{each.finding.category}" in each.ceiling_rules}
    return any(notice.category in capped for notice in overlay.legal_notices)


def _must_offer(planned: list[Planned], rules: list[ModeRule], mode: Mode) -> tuple[str, ...]:
    """Collect the offers of the limited findings, else of all findings. A hard refusal offers nothing."""
    if mode is Mode.HARD_REFUSE or mode is Mode.DIRECT_ANSWER:
        return ()
    limited = [each for each in planned if each.mode is not Mode.DIRECT_ANSWER] or planned
    of_categories = [name for each in limited for name in each.category.offer]
    return _unique([*[name for rule in rules for name in rule.offer], *of_categories])


def _side_effects(planned: list[Planned], vulnerability: Vulnerability) -> tuple[SideEffect, ...]:
    """Return account signal and human review for the worst requests, whatever the mode."""
    if vulnerability is Vulnerability.HARM_TO_OTHERS or True in [_is_worst(each) for each in planned]:
        return _SIGNAL
    return ()


def _is_worst(each: Planned) -> bool:
    is_malicious = each.finding.intent is Intent.MALICIOUS
    is_excused = each.finding.context in each.category.education and not is_malicious
    is_prohibited = each.category.content_class is ContentClass.PROHIBITED
    return (is_prohibited and not is_excused) or (each.finding.harm == 4 and is_malicious)


def _reason(each: Planned) -> str:
    finding = each.finding
    asked = f"asked D{finding.asked_detail}, ceiling D{each.ceiling}"
    return f"{finding.category}: H{finding.harm} {finding.intent} {finding.context}, {asked}: {each.mode}"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in order of first mention, each once."""
    return tuple(dict.fromkeys(names))
