"""The ceiling on detail: how much of one finding may be published, for this user of this tenant.

The steps have a fixed order, and each is cited by a rule id (docs/policy.md): the base, then steps that may lift it,
then steps that lower it. Nothing lifts a ceiling for malicious intent, and every step keeps the property of the base:
more harm or worse intent never gives more. The state of the conversation comes last, and only lowers.
"""

from collections.abc import Collection

from msgspec import Struct, structs

from topology.contract.conversation import EMPTY, ConversationState, stricter
from topology.contract.events import UserContext
from topology.contract.labels import AgeBand, CategoryId, Context, Intent, Level, RequestFinding, RequestLabels, Signal
from topology.policy.bundle import INTENTS, AgeDefault, Category, ContentClass, Family, PolicyBundle
from topology.policy.faults import is_transformable
from topology.policy.overlays import TenantOverlay

CONTEXT_CEILING: Level = 3
"""The highest ceiling that a context can lift to."""

PROTECTIVE_CEILING: Level = 2
"""The ceiling in the contexts of those who protect, report or are the victim: recognition and response, no method."""

MENTION_CEILING: Level = 1
"""The ceiling that a wrapper leaves a benign question: what a thing is. A signal alone makes nothing harmful."""

SERIOUS_HARM: Level = 3
"""The harm level from which answers at the ceiling are counted, unless the intent is benign."""

WRAPPERS = frozenset({Signal.JAILBREAK_ROLEPLAY, Signal.JAILBREAK_OTHER, Signal.ENCODING})
"""The signals of a user who wraps the request. Injected text is not the user's: it says nothing about intent."""

_FROM_OLDEST = tuple(AgeBand)
_YOUNG = (AgeBand.TEEN, AgeBand.UNDER13)  # a tuple: hashing an Enum is a call into Python


class Subject(Struct, frozen=True, kw_only=True):
    """The person who asks, for ceilings. `is_teen` is known youth; `has_teen_limits` also covers unknown age."""

    is_teen: bool
    has_teen_limits: bool
    grants: frozenset[str] = frozenset()


def with_doubt(labels: RequestLabels) -> RequestLabels:
    """Return the labels of a request as they are planned with: none of them benign where a marked part is unread."""
    partial = labels.partly_read
    if partial is None or not partial.marked_unread:
        return labels
    findings = [
        structs.replace(finding, intent=Intent.DUAL_USE) if finding.intent is Intent.BENIGN else finding
        for finding in labels.findings
    ]
    return structs.replace(labels, findings=tuple(findings))


def settled_age(
    labels: RequestLabels,
    user: UserContext,
    state: ConversationState = EMPTY,
    *,
    is_statement_stronger: bool = False,
) -> RequestLabels:
    """Return the labels with the age that counts: a verified one, else the youngest ever stated, else unknown.

    A stated age makes nobody older. It makes a verified adult younger only with `is_statement_stronger`, which is the
    tenant's to say. An unverified `adult` counts as unknown. Settling again, with a user of whom less is known, changes
    nothing.
    """
    if not labels.age_verified and labels.age_band is user.age_band is state.age_band is AgeBand.UNKNOWN:
        return labels
    said = (
        (labels.age_band, labels.age_verified),
        (user.age_band, user.age_verified),
        (state.age_band, False),
    )
    verified = [band for band, is_verified in said if is_verified and band is not AgeBand.UNKNOWN]
    is_young_by_statement = is_statement_stronger and any(band in _YOUNG for band, _ in said)
    claimed = [AgeBand.UNKNOWN if band is AgeBand.ADULT else band for band, _ in said]
    bands = claimed if is_young_by_statement or not verified else verified
    youngest = max(bands, key=_FROM_OLDEST.index)
    is_verified = bool(verified) and not is_young_by_statement
    if youngest is labels.age_band and is_verified is labels.age_verified:
        return labels
    return structs.replace(labels, age_band=youngest, age_verified=is_verified)


def subject_of(
    bundle: PolicyBundle,
    labels: RequestLabels,
    *,
    overlay: TenantOverlay,
    user: UserContext,
    grants: Collection[str],
    state: ConversationState = EMPTY,
) -> Subject:
    """Return who asks. Grants serve verified adults only; unknown age follows the tenant's or the bundle's default."""
    settled = settled_age(labels, user, state, is_statement_stronger=overlay.heeds_stated_age)
    is_teen = settled.age_band in _YOUNG
    age_default = bundle.age_default if overlay.age_default is None else overlay.age_default
    is_unknown = settled.age_band is AgeBand.UNKNOWN
    return Subject(
        is_teen=is_teen,
        has_teen_limits=is_teen or (is_unknown and age_default is AgeDefault.TEEN),
        grants=frozenset(grants) if settled.age_band is AgeBand.ADULT else frozenset(),
    )


def floored(intent: Intent, signals: Collection[Signal]) -> Intent:
    """Return the intent to plan with: a wrapped request is at least `dual_use`, but never malicious for that alone."""
    is_wrapped = bool(signals) and not WRAPPERS.isdisjoint(signals)
    return Intent.DUAL_USE if is_wrapped and intent is Intent.BENIGN else intent


def reckoned_intent(
    bundle: PolicyBundle, finding: RequestFinding, signals: Collection[Signal], state: ConversationState
) -> Intent:
    """Return the floored intent of a finding, at least as strict as any remembered for it or a neighbour.

    Neighbours are the categories of one group of guard prompts.
    """
    if not state.is_wary:
        return floored(finding.intent, signals)
    return floored(_shown_intent(bundle, finding, state), (*signals, *state.signals))


def _shown_intent(bundle: PolicyBundle, finding: RequestFinding, state: ConversationState) -> Intent:
    """Return the strictest intent of a finding and of what is remembered for it, whatever it was wrapped in."""
    intent = finding.intent
    for name in neighbours(bundle, finding.category):
        intent = stricter(intent, state.intent_of(name))
    return intent


def neighbours(bundle: PolicyBundle, category: CategoryId) -> tuple[CategoryId, ...]:
    """Return the categories of one group of guard prompts with this one; itself alone if it is in no group."""
    groups = [group.categories for group in bundle.guard_groups.values()]
    return next((names for names in groups if category in names), (category,))


def reckoned_harm(bundle: PolicyBundle, finding: RequestFinding, state: ConversationState) -> Level:
    """Return a finding's harm: at least the one remembered for its own category, clamped into the category's range."""
    return harm_of(bundle.categories[finding.category], max(finding.harm, state.harm_of(finding.category)))


def harm_of(category: Category, harm: Level) -> Level:
    """Clamp a labelled harm level into the category's range."""
    return max(category.harm[0], min(category.harm[1], harm))


def is_serious(category: Category, harm: Level, intent: Intent) -> bool:
    """Return whether answers at the ceiling add up: several of them, put together, may give more than one.

    Advice does not add up: nobody assembles it, and those who ask most are often those who need it. Plainly benign
    requests do not add up either.
    """
    if category.content_class is ContentClass.PROHIBITED:
        return True
    is_grave = harm_of(category, harm) >= SERIOUS_HARM and intent is not Intent.BENIGN
    return is_grave and category.family is not Family.ADVICE


def ceiling(
    bundle: PolicyBundle,
    finding: RequestFinding,
    overlay: TenantOverlay,
    subject: Subject,
    signals: Collection[Signal] = (),
    state: ConversationState = EMPTY,
) -> tuple[Level, tuple[str, ...]]:
    """Return the highest detail that may be published of `finding`, and the rules that set it, in order.

    The category must be one of the bundle's.
    """
    level, rules = _in_conversation(bundle, finding, overlay, subject, signals, state)
    return level, tuple([f"{rule}:{finding.category}" for rule in rules])


def ceiling_level(
    bundle: PolicyBundle,
    finding: RequestFinding,
    overlay: TenantOverlay,
    subject: Subject,
    signals: Collection[Signal] = (),
    state: ConversationState = EMPTY,
) -> Level:
    """Return the level of `ceiling` without its rules, which judging does not need."""
    return _in_conversation(bundle, finding, overlay, subject, signals, state)[0]


def _in_conversation(
    bundle: PolicyBundle,
    finding: RequestFinding,
    overlay: TenantOverlay,
    subject: Subject,
    signals: Collection[Signal],
    state: ConversationState,
) -> tuple[Level, list[str]]:
    """Return the ceiling, and its rules without the category."""
    level, rules = _of_turn(bundle, finding, overlay, subject, signals)
    if state.is_wary:
        remembered = _remembered(bundle, finding, overlay, subject, signals, state)
        if remembered < level:
            level = remembered
            rules.append("C9")
    return level, rules


def _remembered(
    bundle: PolicyBundle,
    finding: RequestFinding,
    overlay: TenantOverlay,
    subject: Subject,
    signals: Collection[Signal],
    state: ConversationState,
) -> Level:
    """Return the ceiling with the intent and signals of earlier turns, minus the detail that their answers spent."""
    shown, harm = _shown_intent(bundle, finding, state), reckoned_harm(bundle, finding, state)
    wrappers = (*signals, *state.signals)
    worse = structs.replace(finding, intent=shown, harm=harm)
    level, _ = _of_turn(bundle, worse, overlay, subject, wrappers)
    if not is_serious(bundle.categories[finding.category], harm, floored(shown, wrappers)):
        return level
    return max(0, level - state.spent_of(finding.category))


def _of_turn(
    bundle: PolicyBundle,
    finding: RequestFinding,
    overlay: TenantOverlay,
    subject: Subject,
    signals: Collection[Signal],
) -> tuple[Level, list[str]]:
    """Return the ceiling of a request by itself, and its rules without the category."""
    category = bundle.categories[finding.category]
    intent = floored(finding.intent, signals)
    level, base_rule = _base(bundle, category, finding.harm, intent)
    if level == 0 and finding.intent is Intent.BENIGN:
        level = min(MENTION_CEILING, _base(bundle, category, finding.harm, finding.intent)[0])
    rules = [base_rule]
    if intent is not Intent.MALICIOUS:
        for rule, lifted in (
            ("C2", _excused(category, finding)),
            ("C3", _in_context(category, finding, level, signals)),
            ("C4", _granted(category, subject, intent) if subject.grants else 0),
            ("C5", _transformed(category, finding)),
            ("C6", _raised(category, finding, overlay) if overlay.raises else 0),
        ):
            if lifted > level:
                level = lifted
                rules.append(rule)
    cap = overlay.caps.get(finding.category)
    if cap is not None and cap < level:
        level = cap
        rules.append("C7")
    teen_cap = _teen_cap(category, finding, intent) if subject.has_teen_limits else level
    if teen_cap < level:
        level = teen_cap
        rules.append("C8")
    return level, rules


def _teen_cap(category: Category, finding: RequestFinding, intent: Intent) -> Level:
    """Return the limit for the young: 4 if there is none. It leaves those who protect others what they may be told."""
    cap = 4 if category.teen_cap is None else category.teen_cap
    is_protective = finding.context in category.protection and intent is not Intent.MALICIOUS
    return max(cap, PROTECTIVE_CEILING) if is_protective else cap


def _base(bundle: PolicyBundle, category: Category, harm: Level, intent: Intent) -> tuple[Level, str]:
    column = INTENTS.index(intent)
    if category.fixed is not None:
        return category.fixed[column], "C1f"
    return bundle.base_ceiling[category.family][harm_of(category, harm)][column], "C1"


def _excused(category: Category, finding: RequestFinding) -> Level:
    """Allow a grave subject to be mentioned in non-graphic education, and to be recognised, reported and survived."""
    if finding.context in category.protection:
        return PROTECTIVE_CEILING
    return 1 if finding.context in category.education else 0


def _in_context(category: Category, finding: RequestFinding, level: Level, signals: Collection[Signal]) -> Level:
    """Lift sensitive content by one level in a fitting context, unless the request carries any signal."""
    is_sensitive = category.content_class is ContentClass.SENSITIVE
    if not is_sensitive or signals or finding.context not in category.raise_contexts:
        return 0
    return min(CONTEXT_CEILING, level + 1)


def _granted(category: Category, subject: Subject, intent: Intent) -> Level:
    column = INTENTS.index(intent)
    return max([row[column] for name, row in category.grants.items() if name in subject.grants], default=0)


def _transformed(category: Category, finding: RequestFinding) -> Level:
    """Let text that the user supplied in full keep the detail it has."""
    is_whole = finding.context is Context.TRANSFORMATION and finding.supplied_in_full
    return finding.input_detail if is_whole and is_transformable(category) else 0


def _raised(category: Category, finding: RequestFinding, overlay: TenantOverlay) -> Level:
    """Return the tenant's raised ceiling, bounded by how far the category lets tenants raise."""
    raised = overlay.raises.get(finding.category)
    return 0 if raised is None or category.loosen is None else min(raised.to, category.loosen.to)
