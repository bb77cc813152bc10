"""The faults that make a policy bundle unusable. Each check yields its reasons, with paths.

The checks guarantee what `plan` and `judge` rely on: ceilings never rise with harm or intent, only limits that the
specification leaves open can be loosened, and no row publishes a draft above its ceiling or revises without budget.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import pairwise, product
from string import Formatter

from topology.contract.labels import NONE, AgeBand, Context, Intent, Mode, VerdictKind, Vulnerability
from topology.policy.bundle import (
    LOCALE_DEFAULT,
    AddOn,
    AgeDefault,
    Aspect,
    Authority,
    Category,
    CeilingRow,
    ContentClass,
    Family,
    PolicyBundle,
    VerdictRow,
)
from topology.policy.verdict_table import UNMATCHED, Fault, first_row, is_fault_in

EDUCATION = frozenset({Context.EDUCATIONAL, Context.SURVIVOR_SUPPORT})
"""The only contexts in which the prohibited class may be mentioned."""

PROTECTION = frozenset({Context.PROTECTIVE, Context.REPORTING, Context.VICTIM})
"""The contexts of those who protect, report or are the victim."""

SAFETY_MODES = frozenset({Mode.CRISIS_SUPPORT, Mode.EMERGENCY_GUIDANCE})
SELF_HARM_ANCHOR = "do_not_encourage_self_harm"

VOCABULARY: dict[str, type[StrEnum]] = {
    "authority": Authority,
    "content_class": ContentClass,
    "family": Family,
    "intent": Intent,
    "context": Context,
    "age_band": AgeBand,
    "vulnerability": Vulnerability,
    "mode": Mode,
    "verdict": VerdictKind,
}
PLACEHOLDERS = {"offer": {"offers"}, "crisis_line": {"line", "number"}, "emergency_number": {"emergency"}}
TEMPLATE_KEYS = frozenset(
    {
        "limit",
        "inability",
        "withheld",
        "offer",
        "offer_generic",
        "offer_or",
        "grounding_opening",
        "acknowledgement_helper",
        "crisis_closing",
        "crisis_closing_helper",
        "crisis_line",
        "crisis_line_generic",
        "emergency_closing",
        "emergency_number",
        "emergency_number_generic",
        "teen_support",
        "referral",
        "legal_notice",
    }
)


def bundle_faults(bundle: PolicyBundle) -> list[str]:
    """Return every reason not to use a bundle, in a fixed order; empty if it is sound."""
    reasons = [*_vocabulary(bundle), *_tables(bundle)]
    for name, category in bundle.categories.items():
        reasons.extend(f"categories.{name}.{reason}" for reason in _category(category))
    reasons.extend([*_references(bundle), *_modes(bundle), *_templates(bundle), *_rows(bundle)])
    reasons.extend([*_conduct(bundle), *_guard_groups(bundle)])
    return reasons


def is_falling(row: Iterable[int]) -> bool:
    """Return whether no number is above the one before it."""
    return all(later <= earlier for earlier, later in pairwise(row))


def _vocabulary(bundle: PolicyBundle) -> Iterator[str]:
    for name, kind in VOCABULARY.items():
        if set(bundle.enums.get(name, ())) != {str(member) for member in kind}:
            yield f"enums.{name}: not the vocabulary of this version"
    yield from (f"enums.{name}: unknown" for name in bundle.enums.keys() - VOCABULARY.keys())


def _tables(bundle: PolicyBundle) -> Iterator[str]:
    for family in Family:
        rows = bundle.base_ceiling.get(family, ())
        if len(rows) != 5:
            yield f"base_ceiling.{family}: {len(rows)} rows, one for each of H0 to H4"
        yield from (
            f"base_ceiling.{family}[{i}]: rises with intent" for i, row in enumerate(rows) if not is_falling(row)
        )
        columns = zip(*rows, strict=True)
        yield from (
            f"base_ceiling.{family}: rises with harm for {intent}"
            for intent, column in zip(Intent, columns, strict=False)
            if not is_falling(column)
        )
        if family not in bundle.withhold_above:
            yield f"withhold_above.{family}: missing"
    if NONE not in bundle.categories or bundle.categories[NONE].harm != (0, 0):
        yield "categories.none: missing, or not at H0"


def _category(category: Category) -> Iterator[str]:
    if category.harm[0] > category.harm[1]:
        yield "harm: the range is empty"
    rows: dict[str, CeilingRow] = {f"grants.{name}": row for name, row in category.grants.items()}
    if category.fixed is not None:
        rows["fixed"] = category.fixed
    yield from (f"{path}: rises with intent" for path, row in rows.items() if not is_falling(row))
    if category.raise_contexts and category.content_class is not ContentClass.SENSITIVE:
        yield f"raise: a {category.content_class} category knows no raising contexts"
    if category.education and (
        category.content_class is not ContentClass.PROHIBITED or not EDUCATION.issuperset(category.education)
    ):
        yield "education: for the prohibited class only, and only educational or survivor_support"
    if not PROTECTION.issuperset(category.protection):
        yield "protection: only protective, reporting or victim"
    if category.loosen is not None:
        yield from _loosening(category, category.loosen.by)
    yield from _transformation(category)
    yield from (
        f"{path}: {mode} is not a mode that a category may ask for"
        for path, mode, allowed in (
            ("force_mode", category.force_mode, SAFETY_MODES),
            ("floor_mode", category.floor_mode, {Mode.SAFE_COMPLETION}),
        )
        if mode is not None and mode not in allowed
    )
    if not category.offer:
        yield "offer: empty"


def _loosening(category: Category, by: Authority) -> Iterator[str]:
    if category.authority.rank <= Authority.SYSTEM.rank:
        yield f"loosen: a rule at {category.authority} level is not loosened by tenants"
    if by.rank < Authority.DEVELOPER.rank or by.rank > category.authority.rank:
        yield f"loosen.by: {by} cannot override a rule at {category.authority} level"


def _transformation(category: Category) -> Iterator[str]:
    if category.transformable and category.no_transform:
        yield "transformable: contradicts no_transform"
    if category.transformable and category.content_class is ContentClass.PROHIBITED:
        yield "transformable: prohibited content is not transformed"
    if category.anchor == SELF_HARM_ANCHOR and is_transformable(category):
        yield "transformable: self-harm categories are not lifted by transformation"


def is_transformable(category: Category) -> bool:
    """Return whether text that the user supplied in full may be transformed at the detail it already has."""
    by_class = category.content_class in {ContentClass.RESTRICTED, ContentClass.SENSITIVE}
    return not category.no_transform and (category.transformable or by_class)


def _references(bundle: PolicyBundle) -> Iterator[str]:
    offers, withholds, obligations = bundle.offers.keys(), bundle.withholds.keys(), bundle.obligations.keys()
    users = [(f"modes.{mode}", rule) for mode, rule in bundle.modes.items()]
    users += [(f"add_ons.{add_on}", rule) for add_on, rule in bundle.add_ons.items()]
    users += [(f"categories.{name}", category) for name, category in bundle.categories.items()]
    for path, user in users:
        yield from (f"{path}.offer: unknown {name}" for name in user.offer if name not in offers)
        yield from (f"{path}.withhold: unknown {name}" for name in user.withhold if name not in withholds)
        yield from (f"{path}.include: unknown {name}" for name in user.include if name not in obligations)
    for family, names in bundle.withhold_above.items():
        yield from (f"withhold_above.{family}: unknown {name}" for name in names if name not in withholds)
    yield from (
        f"offers.{name}: no phrase in {LOCALE_DEFAULT}"
        for name, words in bundle.offers.items()
        if LOCALE_DEFAULT not in words
    )
    if "legal_notice" not in obligations:
        yield "obligations.legal_notice: missing, overlays need it"


def _modes(bundle: PolicyBundle) -> Iterator[str]:
    yield from (f"modes.{mode}: missing" for mode in Mode if mode not in bundle.modes)
    yield from (f"add_ons.{add_on}: missing" for add_on in AddOn if add_on not in bundle.add_ons)
    yield from (f"tenant_floors: {mode} is missing" for mode in sorted(SAFETY_MODES - set(bundle.tenant_floors)))
    if bundle.age_default not in AgeDefault:
        yield "age_default: unknown"


def _templates(bundle: PolicyBundle) -> Iterator[str]:
    if LOCALE_DEFAULT not in bundle.templates:
        yield f"templates.{LOCALE_DEFAULT}: missing"
    for locale, words in bundle.templates.items():
        needed = TEMPLATE_KEYS | bundle.obligations.keys()
        yield from (f"templates.{locale}.{key}: missing" for key in sorted(needed - words.keys()))
        yield from (f"templates.{locale}.{key}: unknown" for key in sorted(words.keys() - needed))
        yield from (
            f"templates.{locale}.{key}: placeholders must be {sorted(PLACEHOLDERS.get(key, set()))}"
            for key, text in words.items()
            if _placeholders(text) != PLACEHOLDERS.get(key, set())
        )
    for region, line in bundle.help_lines.items():
        if len(region) != 2 or not region.isupper():
            yield f"help_lines.{region}: not a region of two capital letters"
        if bool(line.name) is not bool(line.number):
            yield f"help_lines.{region}: a line has both a name and a number, or neither"


def _placeholders(text: str) -> set[str]:
    """Return the names that a template asks for; one that cannot be parsed gives the impossible name `?`."""
    try:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
    except ValueError:
        return {"?"}


def _conduct(bundle: PolicyBundle) -> Iterator[str]:
    known = {Aspect.UNFAIR.value, *bundle.soft_rules}
    for name, rule in bundle.conduct.items():
        yield from (f"conduct.{name}.checked_by: unknown {fault}" for fault in rule.checked_by if fault not in known)
    yield from (f"crosswalk.{name}: unknown category" for name in bundle.crosswalk if name not in bundle.categories)


def _guard_groups(bundle: PolicyBundle) -> Iterator[str]:
    """Find categories in two groups, which would get two answers, and unknown names, which would fail every answer."""
    named = [name for group in bundle.guard_groups.values() for name in group.categories]
    yield from (f"guard_groups: {name} is in two groups" for name in sorted({n for n in named if named.count(n) > 1}))
    known = {Aspect.UNFAIR.value, *bundle.soft_rules}
    for key, group in bundle.guard_groups.items():
        path = f"guard_groups.{key}"
        yield from (f"{path}: unknown category {name}" for name in group.categories if name not in bundle.categories)
        yield from (f"{path}.faults: unknown {fault}" for fault in group.faults if fault not in known)
        if bool(group.categories) is bool(group.faults):
            yield f"{path}: has either categories or faults"
        for place, example in enumerate(group.examples):
            if example.category != NONE and example.category not in group.categories:
                yield f"{path}.examples[{place}]: {example.category} is not of this group"
            if example.rule not in group.criteria:
                yield f"{path}.examples[{place}]: no criterion {example.rule}"
            if not set(example.faults) <= set(group.faults):
                yield f"{path}.examples[{place}]: names a fault that is not of this group"


def _rows(bundle: PolicyBundle) -> Iterator[str]:
    ids = [row.id for row in bundle.rules]
    yield from (f"rules.{name}: twice" for name in sorted({name for name in ids if ids.count(name) > 1}))
    for row in bundle.rules:
        yield from (f"rules.{row.id}: {reason}" for reason in _row(row))
    open_faults = {reason for fault in _every_fault(bundle) if (reason := _open_fault(bundle, fault))}
    yield from sorted(open_faults)


def _row(row: VerdictRow) -> Iterator[str]:
    if row.verdict is VerdictKind.REVISE and row.budget != "more":
        yield "revises without budget"
    if row.aspect is Aspect.FINDING and row.verdict in {VerdictKind.PUBLISH}:
        yield "publishes a finding"
    if row.aspect is Aspect.GUARD and row.verdict not in {VerdictKind.ESCALATE, VerdictKind.REFUSE}:
        yield "a guard that could not tell must hold the draft"
    if row.verdict is VerdictKind.REDACT and row.separable is not True:
        yield "redacts what may not be separable"


def _every_fault(bundle: PolicyBundle) -> Iterator[Fault]:
    """Yield every fault that can reach the table: findings over their ceiling, and other aspects in every mode."""
    kinds = sorted({(category.content_class, category.family) for category in bundle.categories.values()})
    for (content_class, family), harm, over in product(kinds, range(5), range(1, 5)):
        for separable, has_budget in product((False, True), (False, True)):
            yield Fault(
                aspect=Aspect.FINDING,
                mode=Mode.DIRECT_ANSWER,
                has_budget=has_budget,
                content_class=content_class,
                family=family,
                harm=harm,
                over=over,
                separable=separable,
            )
    for aspect, mode, has_budget in product(Aspect, Mode, (False, True)):
        if aspect is not Aspect.FINDING and is_fault_in(aspect, mode):
            yield Fault(aspect=aspect, mode=mode, has_budget=has_budget)


MAY_PUBLISH = frozenset({Aspect.REFUSAL, Aspect.DECLINING, Aspect.SOFT})
"""The aspects whose faults may be published, flagged, once the budget is spent."""


def _open_fault(bundle: PolicyBundle, fault: Fault) -> str:
    """Return why a fault is not dealt with; empty if it is."""
    row = first_row(bundle.rules, fault)
    if row is None or row is UNMATCHED:
        return f"rules: no row for {fault.aspect} at H{fault.harm}, {fault.over} over, in {fault.mode}"
    if row.verdict is VerdictKind.PUBLISH and fault.aspect not in MAY_PUBLISH:
        return f"rules.{row.id}: publishes a fault of {fault.aspect}"
    is_worst = fault.content_class is ContentClass.PROHIBITED or fault.harm == 4
    if is_worst and row.verdict is not VerdictKind.REFUSE:
        return f"rules.{row.id}: prohibited content, and H4, above the ceiling are refused"
    return ""
