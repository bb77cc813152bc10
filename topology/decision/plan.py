"""The plan: turns labels, policy, overlay and user into a response mode and ceilings. Pure and deterministic.

Each finding is planned on its own. The last mode in the enumeration's order wins, and every ceiling stays in force.
"""

from collections.abc import Collection, Iterable

from msgspec import Struct, structs

from topology.contract.conversation import EMPTY, FLOOR_MODES, ConversationState, RiskMemory
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
    RiskSubject,
    SideEffect,
    Urgency,
    Vulnerability,
)
from topology.decision.ceilings import Subject, ceiling, reckoned_harm, reckoned_intent, subject_of, with_doubt
from topology.decision.risks import is_anothers, touched_risk
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

AGE_UNKNOWN = "age_unknown"
"""The reason in plan and answer if a verified adult would have got a laxer mode, or more of what was asked."""

CRISIS_LINE = "crisis_line"
"""The obligation to name a line to call; a risk remembered on another subject asks for it once."""

# Tuples: hashing an Enum is a call into Python.
_CRISIS = (Vulnerability.ACUTE_SELF_HARM, Vulnerability.HARM_TO_OTHERS)
_FLOORING = (Vulnerability.AT_RISK, Vulnerability.RADICALIZATION_RISK, Vulnerability.DELUSION_MANIA)
_SIGNAL = (SideEffect.ACCOUNT_SIGNAL, SideEffect.HUMAN_REVIEW)
_SOURCES_MIN = 2
"""The independent sources without which a finding has no grave side effect."""

_ABOUT = (
    Context.EDUCATIONAL,
    Context.HISTORICAL,
    Context.NEWS,
    Context.SCIENTIFIC_MEDICAL,
    Context.COUNTER_SPEECH,
    Context.PROTECTIVE,
    Context.REPORTING,
    Context.TRANSFORMATION,
)
"""The contexts of a question about something, as opposed to showing it."""


class Weighed(Struct, frozen=True, kw_only=True):
    """A finding and its ceiling. `finding` carries the intent that is planned with, and its clamped harm."""

    finding: RequestFinding
    category: Category
    ceiling: Level
    ceiling_rules: tuple[str, ...]

    @property
    def is_means(self) -> bool:
        """Return whether something is asked, with malicious intent, of which an answer may contain nothing."""
        asked = self.finding.asked_detail >= 1
        return self.ceiling == 0 and asked and self.finding.intent is Intent.MALICIOUS


class Planned(Struct, frozen=True, kw_only=True):
    """The plan of one finding: how it was weighed, and the mode that it asks for by itself."""

    weighed: Weighed
    mode: Mode
    mode_rule: str

    @property
    def outcome(self) -> tuple[Mode, Level]:
        """Return the mode and how much of what was asked may be given."""
        return self.mode, min(self.ceiling, self.finding.asked_detail)

    @property
    def finding(self) -> RequestFinding:
        """Return the finding with the intent and the harm that are planned with."""
        return self.weighed.finding

    @property
    def category(self) -> Category:
        """Return the finding's category."""
        return self.weighed.category

    @property
    def ceiling(self) -> Level:
        """Return the finding's ceiling."""
        return self.weighed.ceiling


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
    labels = with_doubt(labels)
    subject = subject_of(bundle, labels, overlay=overlay, user=user, grants=grants, state=state)
    touched = touched_risk(bundle, labels, state)
    remembered = Vulnerability.NONE if touched is None else touched.vulnerability
    planned = _planned(bundle, labels, overlay, subject, state, remembered)
    asked_mode = max([each.mode for each in planned], key=MODES.index)
    mode = max(asked_mode, _floor_mode(planned, remembered), key=MODES.index)
    rules = _rules(bundle, planned, mode, labels, touched, subject)
    mode_rules = [] if mode is asked_mode else [REMEMBERED_RULE]
    is_by_age = _is_by_age(bundle, labels, overlay, subject, frozenset(grants), state, remembered, planned)
    by_age = [AGE_UNKNOWN] if is_by_age else []
    owed = [CRISIS_LINE] if state.owes_line and touched is None else []
    return sealed(
        Plan(
            mode=mode,
            ceilings=_lowest(planned),
            withhold=_withhold(bundle, planned, rules),
            must_include=_unique([*_must_include(planned, rules, overlay), *owed]),
            must_offer=_must_offer(planned, rules, mode),
            style_profile="+".join(_unique([rule.style for rule in rules])),
            rule_ids=_unique(
                [*[rule for each in planned for rule in (*each.weighed.ceiling_rules, each.mode_rule)], *mode_rules]
            ),
            reasons=_unique([*by_age, *[_reason(each) for each in planned]]),
            side_effects=_side_effects(planned, labels),
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
    labels: RequestLabels,
    overlay: TenantOverlay,
    subject: Subject,
    state: ConversationState,
    remembered: Vulnerability,
) -> list[Planned]:
    """Plan each finding by itself; only a request for means to hurt others bears on the modes of the rest."""
    weighed = [_weighed(bundle, finding, labels, overlay, subject, state) for finding in labels.findings or (HARMLESS,)]
    is_armed = Vulnerability.HARM_TO_OTHERS in (labels.vulnerability, remembered)
    wants_means = is_armed and any(each.is_means for each in weighed)
    planned = []
    for each in weighed:
        mode, rule = _mode(each, labels.vulnerability, wants_means=wants_means)
        planned.append(Planned(weighed=each, mode=mode, mode_rule=f"{rule}:{each.finding.category}"))
    return planned


def _weighed(
    bundle: PolicyBundle,
    finding: RequestFinding,
    labels: RequestLabels,
    overlay: TenantOverlay,
    subject: Subject,
    state: ConversationState,
) -> Weighed:
    level, ceiling_rules = ceiling(bundle, finding, overlay, subject, labels.signals, state)
    intent, harm = reckoned_intent(bundle, finding, labels.signals, state), reckoned_harm(bundle, finding, state)
    is_reckoned = intent is finding.intent and harm == finding.harm
    return Weighed(
        finding=finding if is_reckoned else structs.replace(finding, intent=intent, harm=harm),
        category=bundle.categories[finding.category],
        ceiling=level,
        ceiling_rules=ceiling_rules,
    )


def _mode(each: Weighed, vulnerability: Vulnerability, *, wants_means: bool) -> tuple[Mode, str]:
    """Return the mode for one finding and the rule that set it: the first condition that holds.

    `wants_means`: the user wants to hurt others and asks for the means. They are refused, and nobody is in crisis for
    wanting to hurt.
    """
    category, finding, level = each.category, each.finding, each.ceiling
    for_safety = _safety_mode(each, vulnerability, wants_means=wants_means)
    if for_safety is not None:
        return for_safety
    is_malicious = finding.intent is Intent.MALICIOUS
    is_asked = finding.asked_detail >= 1
    if level == 0 and is_asked:
        is_worst = category.content_class is ContentClass.PROHIBITED or finding.harm == 4
        return (Mode.HARD_REFUSE, "M3") if is_malicious and is_worst else (Mode.REFUSE_REDIRECT, "M4")
    if finding.asked_detail > level:
        return Mode.SAFE_COMPLETION, "M5"
    if vulnerability in _FLOORING or (category.floor_mode is not None and not _is_about(finding)):
        return Mode.SAFE_COMPLETION, "M6"
    return (Mode.SAFE_COMPLETION, "M6m") if is_malicious and is_asked else (Mode.DIRECT_ANSWER, "M7")


def _is_about(finding: RequestFinding) -> bool:
    """Return whether a finding is a plain question about its category, which the user does not show."""
    return finding.intent is Intent.BENIGN and finding.context in _ABOUT


def _safety_mode(each: Weighed, vulnerability: Vulnerability, *, wants_means: bool) -> tuple[Mode, str] | None:
    """Return the mode that a person at risk gets, whatever is asked; None if nobody is at risk."""
    if each.category.force_mode is not None and not (wants_means and each.is_means):
        return each.category.force_mode, "M1f"
    if vulnerability in _CRISIS and not (wants_means and vulnerability is Vulnerability.HARM_TO_OTHERS):
        return Mode.CRISIS_SUPPORT, "M1"
    return (Mode.EMERGENCY_GUIDANCE, "M2") if vulnerability is Vulnerability.IMMINENT_DANGER else None


def _floor_mode(planned: list[Planned], remembered: Vulnerability) -> Mode:
    """Return the lowest mode that a remembered risk leaves, where the turn touches it."""
    if remembered is Vulnerability.HARM_TO_OTHERS and any(each.weighed.is_means for each in planned):
        return Mode.DIRECT_ANSWER
    return FLOOR_MODES.get(remembered, Mode.DIRECT_ANSWER)


def _rules(
    bundle: PolicyBundle,
    planned: list[Planned],
    mode: Mode,
    labels: RequestLabels,
    touched: RiskMemory | None,
    subject: Subject,
) -> list[ModeRule]:
    """Return the rules of the mode and its add-ons, for this turn's risk and the remembered one that it touches."""
    risks = (labels.vulnerability, Vulnerability.NONE if touched is None else touched.vulnerability)
    is_urgent = labels.urgency is Urgency.NOW or (touched is not None and touched.has_begun)
    shown = [each.finding.category for each in planned if not _is_about(each.finding)]
    holds = {
        AddOn.URGENT: is_urgent or Vulnerability.IMMINENT_DANGER in risks,
        AddOn.TEEN: subject.is_teen and mode is not Mode.DIRECT_ANSWER,
        AddOn.TRANSFORMATION: Context.TRANSFORMATION in [each.finding.context for each in planned],
        AddOn.DELUSION: Vulnerability.DELUSION_MANIA in risks or "delusion_mania" in shown,
        AddOn.AT_RISK: Vulnerability.AT_RISK in risks and mode not in (Mode.CRISIS_SUPPORT, Mode.EMERGENCY_GUIDANCE),
        AddOn.HARM_TO_OTHERS: Vulnerability.HARM_TO_OTHERS in risks,
        AddOn.HELPER: mode is Mode.CRISIS_SUPPORT and is_anothers(labels, touched),
    }
    return [bundle.modes[mode], *[bundle.add_ons[add_on] for add_on, is_held in holds.items() if is_held]]


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
    capped = {each.finding.category for each in planned if f"C7:{each.finding.category}" in each.weighed.ceiling_rules}
    return any(notice.category in capped for notice in overlay.legal_notices)


def _must_offer(planned: list[Planned], rules: list[ModeRule], mode: Mode) -> tuple[str, ...]:
    """Collect the offers of the limited findings, else of all findings. A hard refusal offers nothing."""
    if mode is Mode.HARD_REFUSE or mode is Mode.DIRECT_ANSWER:
        return ()
    limited = [each for each in planned if each.mode is not Mode.DIRECT_ANSWER] or planned
    of_categories = [name for each in limited for name in each.category.offer]
    return _unique([*[name for rule in rules for name in rule.offer], *of_categories])


def _side_effects(planned: list[Planned], labels: RequestLabels) -> tuple[SideEffect, ...]:
    """Return the side effects of the worst requests, whatever the mode: human review, and an account signal.

    The signal needs two independent sources for what it rests on, and is never for another's threat that is reported.
    """
    sources = [each.finding.sources for each in planned if _is_worst(each)]
    if labels.vulnerability is Vulnerability.HARM_TO_OTHERS:
        sources.append(labels.risk_sources if labels.risk_subject is RiskSubject.SELF else ())
    if not sources:
        return ()
    return _SIGNAL if any(is_corroborated(names) for names in sources) else (SideEffect.HUMAN_REVIEW,)


def is_corroborated(sources: Collection[str]) -> bool:
    """Return whether two independent sources found the same: two guards, or a guard and a phrase rule."""
    return len(set(sources)) >= _SOURCES_MIN


def _is_by_age(
    bundle: PolicyBundle,
    labels: RequestLabels,
    overlay: TenantOverlay,
    subject: Subject,
    grants: frozenset[str],
    state: ConversationState,
    remembered: Vulnerability,
    planned: list[Planned],
) -> bool:
    """Return whether the outcome is stricter only because the user's age is unknown: by a limit or a barred grant."""
    is_limited = any("C8" in rule for each in planned for rule in each.weighed.ceiling_rules)
    if subject.is_teen or not (is_limited or grants > subject.grants):
        return False
    as_adult = structs.replace(subject, has_teen_limits=False, grants=grants)
    lax = _planned(bundle, labels, overlay, as_adult, state, remembered)
    return [each.outcome for each in lax] != [each.outcome for each in planned]


def _is_worst(each: Planned) -> bool:
    is_malicious = each.finding.intent is Intent.MALICIOUS
    is_excused = each.finding.context in (*each.category.education, *each.category.protection) and not is_malicious
    is_prohibited = each.category.content_class is ContentClass.PROHIBITED
    return (is_prohibited and not is_excused) or (each.finding.harm == 4 and is_malicious)


def _reason(each: Planned) -> str:
    finding = each.finding
    asked = f"asked D{finding.asked_detail}, ceiling D{each.ceiling}"
    return f"{finding.category}: H{finding.harm} {finding.intent} {finding.context}, {asked}: {each.mode}"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names in order of first mention, each once."""
    return tuple(dict.fromkeys(names))
