"""The differences in meaning between two policies: looser, stricter, or only worded differently. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

import msgspec
from msgspec import Struct

from topology.contract.labels import VerdictKind
from topology.policy.bundle import Authority, Category, Loosen, ModeRule, PolicyBundle
from topology.policy.lint import every_fault
from topology.policy.verdict_table import STRICTNESS, first_row
from workers.commands.policy.ceiling_space import CeilingChange, ceiling_changes


class Kind(StrEnum):
    """The direction of a change. `other`: decisions differ in neither direction alone; `wording`: none differs."""

    LOOSER = "looser"
    STRICTER = "stricter"
    ADDED = "added"
    OTHER = "other"
    WORDING = "wording"


class Step(StrEnum):
    """The part of a version that has to rise: major for loosening, minor for any other decision, patch for wording."""

    NONE = "none"
    PATCH = "patch"
    MINOR = "minor"
    MAJOR = "major"


STEPS = {
    Kind.LOOSER: Step.MAJOR,
    Kind.STRICTER: Step.MINOR,
    Kind.ADDED: Step.MINOR,
    Kind.OTHER: Step.MINOR,
    Kind.WORDING: Step.PATCH,
}
_STEPS = tuple(Step)

WORDED = ("withholds", "offers", "templates", "help_lines", "conduct", "guard_groups", "crosswalk", "enums")
"""The sections that decide nothing by themselves: words for generator, guards and readers."""

BRIEF_CHARACTERS_MAX = 200

K = TypeVar("K", bound=str)


class Change(Struct, frozen=True, kw_only=True):
    """A difference other than a ceiling: its path, and the values before and after, empty if there is none."""

    kind: Kind
    path: str
    before: str = ""
    after: str = ""


class Compared(Struct, frozen=True, kw_only=True):
    """All differences. The version has to rise by `needed` and rises by `stated`, which is None if it falls."""

    old_ref: str
    new_ref: str
    ceilings: tuple[CeilingChange, ...]
    changes: tuple[Change, ...]
    needed: Step
    stated: Step | None

    @property
    def is_different(self) -> bool:
        """Return whether anything differs."""
        return bool(self.ceilings or self.changes)

    @property
    def is_version_fit(self) -> bool:
        """Return whether the version rises by enough."""
        return self.stated is not None and _STEPS.index(self.stated) >= _STEPS.index(self.needed)


def compared(old: PolicyBundle, new: PolicyBundle) -> Compared:
    """Compare two policies, and the change of version that this needs with the one that they state."""
    ceilings = ceiling_changes(old, new)
    changes: tuple[Change, ...] = (
        *_value(Kind.OTHER, "age_default", old.age_default, new.age_default),
        *_categories(old, new),
        *_verdicts(old, new),
        *_rules("modes", old.modes, new.modes),
        *_rules("add_ons", old.add_ons, new.add_ons),
        *_ranked("obligations", old, new),
        *_ranked("soft_rules", old, new),
        *_names("tenant_floors", old.tenant_floors, new.tenant_floors),
        *_worded(old, new),
    )
    if not ceilings and not changes and old.content_hash != new.content_hash:
        changes = (Change(kind=Kind.WORDING, path="$", before="a spelling", after="another one of the same policy"),)
    kinds = [change.kind for change in changes]
    kinds += [Kind.LOOSER if change.is_looser else Kind.STRICTER for change in ceilings]
    return Compared(
        old_ref=old.ref,
        new_ref=new.ref,
        ceilings=ceilings,
        changes=changes,
        needed=max((STEPS[kind] for kind in kinds), key=_STEPS.index, default=Step.NONE),
        stated=_stated(old.version, new.version),
    )


def _stated(old: str, new: str) -> Step | None:
    before, after = ([int(part) for part in version.split(".")] for version in (old, new))
    if after < before:
        return None
    names = (Step.MAJOR, Step.MINOR, Step.PATCH)
    return next((name for name, was, now in zip(names, before, after, strict=True) if now > was), Step.NONE)


def _categories(old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    for name in old.categories.keys() - new.categories.keys():
        # Its labels have no meaning any more, so that nothing limits what it covered.
        yield Change(kind=Kind.LOOSER, path=f"categories.{name}", before="a category")
    for name in new.categories.keys() - old.categories.keys():
        yield Change(kind=Kind.ADDED, path=f"categories.{name}", after="a category")
    for name, before in old.categories.items():
        after = new.categories.get(name)
        if after is not None:
            yield from _category(f"categories.{name}", before, after)


def _category(path: str, old: Category, new: Category) -> Iterator[Change]:
    """Compare everything but the ceilings, which `ceiling_changes` compares."""
    yield from _names(f"{path}.withhold", old.withhold, new.withhold)
    yield from _names(f"{path}.include", old.include, new.include)
    yield from _loosen(f"{path}.loosen", old.loosen, new.loosen)
    for field in ("force_mode", "floor_mode"):
        before, after = getattr(old, field), getattr(new, field)
        kind = Kind.STRICTER if before is None else Kind.LOOSER if after is None else Kind.OTHER
        yield from _value(kind, f"{path}.{field}", before, after)
    for field in ("content_class", "family", "harm", "offer", "authority"):
        yield from _value(Kind.OTHER, f"{path}.{field}", getattr(old, field), getattr(new, field))
    yield from _value(Kind.WORDING, f"{path}.anchor", old.anchor, new.anchor)


def _loosen(path: str, old: Loosen | None, new: Loosen | None) -> Iterator[Change]:
    """Compare how far tenants may raise ceilings, and which tenants may."""
    before, after = ((-1, -1) if one is None else (one.to, one.by.rank) for one in (old, new))
    is_looser = after[0] > before[0] or after[1] > before[1]
    is_stricter = after[0] < before[0] or after[1] < before[1]
    kind = Kind.LOOSER if is_looser else Kind.STRICTER if is_stricter else Kind.OTHER
    yield from _value(kind, path, old, new)


def _verdicts(old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    """Count the faults that get another verdict, by the rows that decide; without any, note that the rows differ."""
    if old.rules == new.rules:
        return
    moved: Counter[tuple[Kind, str, str]] = Counter()
    for fault in {*every_fault(old), *every_fault(new)}:
        before, after = first_row(old.rules, fault), first_row(new.rules, fault)
        verdicts = [VerdictKind.PUBLISH if row is None else row.verdict for row in (before, after)]
        if verdicts[0] is not verdicts[1]:
            kind = Kind.STRICTER if STRICTNESS[verdicts[1]] > STRICTNESS[verdicts[0]] else Kind.LOOSER
            names = ["V99" if row is None else row.id for row in (before, after)]
            moved[kind, f"{names[0]} {verdicts[0]}", f"{names[1]} {verdicts[1]}"] += 1
    for (kind, was, now), count in sorted(moved.items()):
        yield Change(kind=kind, path=f"rules ({count} kinds of fault)", before=was, after=now)
    if not moved:
        yield Change(
            kind=Kind.OTHER, path="rules", before="the same verdicts", after="by other rows, or with other effects"
        )


def _rules(section: str, old: Mapping[K, ModeRule], new: Mapping[K, ModeRule]) -> Iterator[Change]:
    """Compare the obligations of modes and add-ons. All policies that load have the same modes and add-ons."""
    for name, before in old.items():
        after, path = new[name], f"{section}.{name}"
        yield from _names(f"{path}.include", before.include, after.include)
        yield from _names(f"{path}.withhold", before.withhold, after.withhold)
        yield from _value(Kind.OTHER, f"{path}.offer", before.offer, after.offer)
        yield from _value(Kind.WORDING, f"{path}.style", before.style, after.style)


def _ranked(section: str, old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    """Compare obligations or soft rules: fewer of them, or ones of less authority, are looser."""
    was, now = getattr(old, section), getattr(new, section)
    yield from _names(section, tuple(was), tuple(now))
    for name in [name for name in was if name in now]:
        before, after, path = was[name], now[name], f"{section}.{name}"
        kind = Kind.LOOSER if _rank(after.authority) > _rank(before.authority) else Kind.STRICTER
        yield from _value(kind, f"{path}.authority", before.authority, after.authority)
        yield from _value(Kind.WORDING, f"{path}.words", before.words, after.words)


def _rank(authority: Authority) -> int:
    return authority.rank


def _worded(old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    for section in WORDED:
        was, now = getattr(old, section), getattr(new, section)
        for name in sorted({*was, *now}):
            yield from _value(Kind.WORDING, f"{section}.{name}", was.get(name), now.get(name))
    yield from _value(Kind.WORDING, "withhold_above", old.withhold_above, new.withhold_above)
    yield from _value(Kind.WORDING, "policy.id", old.policy.id, new.policy.id)
    yield from _value(Kind.WORDING, "policy.spec", old.policy.spec, new.policy.spec)


def _names(path: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """Compare the names of demands: one less is looser, one more is stricter."""
    for name in old:
        if name not in new:
            yield Change(kind=Kind.LOOSER, path=path, before=name)
    for name in new:
        if name not in old:
            yield Change(kind=Kind.STRICTER, path=path, after=name)


def _value(kind: Kind, path: str, old: object, new: object) -> Iterator[Change]:
    if old != new:
        yield Change(kind=kind, path=path, before=_brief(old), after=_brief(new))


def _brief(value: object) -> str:
    """Return a value as one short line of JSON; empty for None."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= BRIEF_CHARACTERS_MAX else text[: BRIEF_CHARACTERS_MAX - 1] + "…"
