"""The linter of a policy bundle: remarks for its author on oddities that do not make it unusable, each with its path.

Anything unsafe is refused by `topology.policy.faults`. A remark says that something has no effect, is missing, or
differs from the published specification: it harms nobody, but it is probably not what the author meant.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import product

from msgspec import Struct

from topology.contract.labels import NONE, Mode
from topology.policy.bundle import INTENTS, Aspect, Authority, Category, CeilingRow, Evidence, PolicyBundle, VerdictRow
from topology.policy.spec_sections import SpecSections, sections_of
from topology.policy.verdict_table import Fault, row_fits


class RemarkSeverity(StrEnum):
    """The weight of a remark. `warning`: mend it, or know why not. `note`: worth knowing, and often intended."""

    WARNING = "warning"
    NOTE = "note"


class Remark(Struct, frozen=True, kw_only=True):
    """One oddity: its path, its description, and how much it matters."""

    path: str
    text: str
    severity: RemarkSeverity = RemarkSeverity.WARNING


def lint(bundle: PolicyBundle) -> tuple[Remark, ...]:
    """Return every remark on a bundle that loads, in a fixed order: rows, ceilings, words, sections, unused names."""
    return (
        *_unreachable(bundle),
        *_ceilings(bundle),
        *_words(bundle),
        *_sections(bundle),
        *_unused(bundle),
        *_uncovered(bundle),
        *_help_lines(bundle),
    )


def _note(path: str, text: str) -> Remark:
    return Remark(path=path, text=text, severity=RemarkSeverity.NOTE)


def _unreachable(bundle: PolicyBundle) -> Iterator[Remark]:
    """Find rows that decide nothing, because earlier rows fit wherever they do."""
    deciding = {row.id for fault in every_fault(bundle) if (row := _first(bundle.rules, fault)) is not None}
    for row in bundle.rules:
        if row.id not in deciding:
            fits = any(row_fits(row, fault) for fault in every_fault(bundle))
            text = "never reached: earlier rows fit wherever it does" if fits else "never reached: nothing is like this"
            yield Remark(path=f"rules.{row.id}", text=text)


def _first(rows: Iterable[VerdictRow], fault: Fault) -> VerdictRow | None:
    return next((row for row in rows if row_fits(row, fault)), None)


def every_fault(bundle: PolicyBundle) -> Iterator[Fault]:
    """Yield every fault that the table may be asked about: findings at each harm, other aspects in each mode."""
    has_modes = any(row.modes for row in bundle.rules if row.aspect is Aspect.FINDING)
    modes = tuple(Mode) if has_modes else (Mode.DIRECT_ANSWER,)
    kinds = sorted({(category.content_class, category.family) for category in bundle.categories.values()})
    places = product(kinds, range(5), range(-4, 5), (0, 2, 3, 4), (False, True), (False, True), modes)
    for (content_class, family), harm, over, straddle, separable, has_budget, mode in places:
        yield Fault(
            aspect=Aspect.FINDING,
            mode=mode,
            has_budget=has_budget,
            content_class=content_class,
            family=family,
            harm=harm,
            over=over,
            straddle=straddle,
            separable=separable,
        )
    others = [aspect for aspect in Aspect if aspect is not Aspect.FINDING]
    for aspect, mode, has_budget, separable in product(others, Mode, (False, True), (False, True)):
        yield Fault(aspect=aspect, mode=mode, has_budget=has_budget, separable=separable)


def _ceilings(bundle: PolicyBundle) -> Iterator[Remark]:
    for name, category in bundle.categories.items():
        yield from (_note(f"categories.{name}.{field}", text) for field, text in _of_ceiling(bundle, category))


def _of_ceiling(bundle: PolicyBundle, category: Category) -> Iterator[tuple[str, str]]:
    """Find limits above the base table, and steps that change nothing."""
    low, high = category.harm
    base = [bundle.base_ceiling[category.family][harm] for harm in range(low, high + 1)]
    rows = base if category.fixed is None else [category.fixed]
    if category.fixed is not None:
        laxer = [
            str(intent) for column, intent in enumerate(INTENTS) if category.fixed[column] > _at(base[-1:], column)
        ]
        if laxer:
            yield "fixed", f"above the base table at H{high} for {', '.join(laxer)}"
    for grant, row in category.grants.items():
        if row[0] <= _at(rows, 0) and row[1] <= _at(rows, 1):
            yield f"grants.{grant}", "gives no more than everybody has"
    if category.loosen is not None and category.loosen.to <= min(row[0] for row in rows):
        yield "loosen", f"D{category.loosen.to} is no more than everybody has"
    if category.teen_cap is not None and category.teen_cap >= _highest(category, rows):
        yield "teen_cap", f"D{category.teen_cap} is no less than adults have"


def _at(rows: Iterable[CeilingRow], column: int) -> int:
    return max(row[column] for row in rows)


def _highest(category: Category, rows: Iterable[CeilingRow]) -> int:
    """Return the highest ceiling that an adult can have, whatever lifts it."""
    lifts = [row[0] for row in category.grants.values()] + ([category.loosen.to] if category.loosen else [])
    return max(*lifts, _at(rows, 0) + bool(category.raise_contexts), 0)


def _words(bundle: PolicyBundle) -> Iterator[Remark]:
    for name, phrases in bundle.offers.items():
        missing = sorted(bundle.templates.keys() - phrases.keys())
        strange = sorted(phrases.keys() - bundle.templates.keys())
        if missing:
            yield Remark(path=f"offers.{name}", text=f"no phrase in {', '.join(missing)}: general words stand in")
        if strange:
            yield Remark(path=f"offers.{name}", text=f"has {', '.join(strange)}, in which there are no templates")


def _sections(bundle: PolicyBundle) -> Iterator[Remark]:
    """Find anchors that the specification does not have, and levels that differ from it."""
    sections = sections_of(bundle.policy.spec)
    if sections is None:
        yield _note("policy.spec", "no table of that text's sections here: anchors and levels are not compared")
        return
    for path, anchor, authority in _anchored(bundle):
        if anchor not in sections.levels:
            yield Remark(path=f"{path}.anchor", text=f"{anchor or 'nothing'} is no section of the specification")
        else:
            yield from _level(sections, path, sections.levels[anchor], authority)


def _anchored(bundle: PolicyBundle) -> Iterator[tuple[str, str, Authority]]:
    for section, rules in (
        ("categories", bundle.categories),
        ("obligations", bundle.obligations),
        ("soft_rules", bundle.soft_rules),
        ("conduct", bundle.conduct),
    ):
        yield from ((f"{section}.{name}", rule.anchor, rule.authority) for name, rule in rules.items())


def _level(sections: SpecSections, path: str, level: Authority | None, authority: Authority) -> Iterator[Remark]:
    exempt = sections.exempt.get(path.removeprefix("categories."))
    if exempt is not None and exempt.authority is authority:
        yield _note(f"{path}.authority", f"{authority} by exception: {exempt.reason}")
    elif level is None:
        yield Remark(path=f"{path}.authority", text=f"{authority}, and its section has no level")
    elif level is not authority:
        side = "above" if authority.rank < level.rank else "below"
        yield Remark(path=f"{path}.authority", text=f"{authority} is {side} its section's level, {level}")


def _unused(bundle: PolicyBundle) -> Iterator[Remark]:
    users = [*bundle.modes.values(), *bundle.add_ons.values(), *bundle.categories.values()]
    used = {
        "offers": {name for user in users for name in user.offer},
        "withholds": {name for user in users for name in user.withhold}
        | {name for names in bundle.withhold_above.values() for name in names},
        "obligations": {name for user in users for name in user.include} | {"legal_notice"},
        "soft_rules": {name for rule in bundle.conduct.values() for name in rule.checked_by},
    }
    for section, names in used.items():
        known: Iterable[str] = getattr(bundle, section)
        yield from (Remark(path=f"{section}.{name}", text="nothing asks for it") for name in known if name not in names)


def _uncovered(bundle: PolicyBundle) -> Iterator[Remark]:
    grouped = {name for group in bundle.guard_groups.values() for name in group.categories}
    for name in bundle.categories:
        if name not in bundle.crosswalk:
            yield Remark(path=f"crosswalk.{name}", text="missing: labels of other taxonomies do not lead to it")
        if name not in grouped and name != NONE:
            yield Remark(path=f"categories.{name}", text="in no guard group: no prompt defines it")
    for key, group in bundle.guard_groups.items():
        for place, example in enumerate(group.examples):
            low, high = bundle.categories[example.category].harm
            if not low <= example.harm <= high:
                text = f"H{example.harm} is outside the range of {example.category}, H{low} to H{high}"
                yield Remark(path=f"guard_groups.{key}.examples[{place}]", text=text)


def _help_lines(bundle: PolicyBundle) -> Iterator[Remark]:
    for evidence in (Evidence.LISTED, Evidence.RECALLED):
        regions = [region for region, line in bundle.help_lines.items() if line.evidence is evidence]
        if regions:
            yield _note("help_lines", f"{evidence} only, call or look up before use: {', '.join(regions)}")
