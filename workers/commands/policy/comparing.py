"""What two policies differ in, by meaning: what gets looser, what stricter, what is only worded otherwise. Pure."""

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
    """Which way something changes. `other`: it decides otherwise, neither way alone; `wording`: it decides nothing."""

    LOOSER = "looser"
    STRICTER = "stricter"
    ADDED = "added"
    OTHER = "other"
    WORDING = "wording"


class Step(StrEnum):
    """What of a version has to rise: for loosening major, for all else that decides minor, for wording patch."""

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
"""Sections that decide nothing by themselves: words for generator, guards and readers."""

SPOKEN_MAX = 200

K = TypeVar("K", bound=str)


class Change(Struct, frozen=True, kw_only=True):
    """One difference that is no ceiling: where it stands, and what was and is there; empty where nothing."""

    kind: Kind
    path: str
    before: str = ""
    after: str = ""


class Compared(Struct, frozen=True, kw_only=True):
    """Everything that differs. `needed` is what the version has to rise by, `stated` what it does; None: it falls."""

    old_ref: str
    new_ref: str
    ceilings: tuple[CeilingChange, ...]
    changes: tuple[Change, ...]
    needed: Step
    stated: Step | None

    @property
    def is_different(self) -> bool:
        """Whether anything differs."""
        return bool(self.ceilings or self.changes)

    @property
    def is_version_fit(self) -> bool:
        """Whether the version rises by enough."""
        return self.stated is not None and _STEPS.index(self.stated) >= _STEPS.index(self.needed)


def compared(old: PolicyBundle, new: PolicyBundle) -> Compared:
    """The differences between two policies, and whether the version says so."""
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
        # No label of it means anything any more, so that nothing limits what it was about.
        yield Change(kind=Kind.LOOSER, path=f"categories.{name}", before="a category")
    for name in new.categories.keys() - old.categories.keys():
        yield Change(kind=Kind.ADDED, path=f"categories.{name}", after="a category")
    for name, before in old.categories.items():
        after = new.categories.get(name)
        if after is not None:
            yield from _category(f"categories.{name}", before, after)


def _category(path: str, old: Category, new: Category) -> Iterator[Change]:
    """What differs but for ceilings, which are compared as such."""
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
    """Whether tenants may raise further, or more of them may."""
    before, after = ((-1, -1) if one is None else (one.to, one.by.rank) for one in (old, new))
    is_looser = after[0] > before[0] or after[1] > before[1]
    is_stricter = after[0] < before[0] or after[1] < before[1]
    kind = Kind.LOOSER if is_looser else Kind.STRICTER if is_stricter else Kind.OTHER
    yield from _value(kind, path, old, new)


def _verdicts(old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    """Faults that get another verdict, counted by the rows that decide; rows that differ in anything else."""
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
    """What modes and add-ons oblige answers to. Loaded policies have the same ones."""
    for name, before in old.items():
        after, path = new[name], f"{section}.{name}"
        yield from _names(f"{path}.include", before.include, after.include)
        yield from _names(f"{path}.withhold", before.withhold, after.withhold)
        yield from _value(Kind.OTHER, f"{path}.offer", before.offer, after.offer)
        yield from _value(Kind.WORDING, f"{path}.style", before.style, after.style)


def _ranked(section: str, old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    """Obligations or soft rules: fewer, or ones of less authority, are looser."""
    ours, theirs = getattr(old, section), getattr(new, section)
    yield from _names(section, tuple(ours), tuple(theirs))
    for name in [name for name in ours if name in theirs]:
        before, after, path = ours[name], theirs[name], f"{section}.{name}"
        kind = Kind.LOOSER if _rank(after.authority) > _rank(before.authority) else Kind.STRICTER
        yield from _value(kind, f"{path}.authority", before.authority, after.authority)
        yield from _value(Kind.WORDING, f"{path}.words", before.words, after.words)


def _rank(authority: Authority) -> int:
    return authority.rank


def _worded(old: PolicyBundle, new: PolicyBundle) -> Iterator[Change]:
    for section in WORDED:
        ours, theirs = getattr(old, section), getattr(new, section)
        for name in sorted({*ours, *theirs}):
            yield from _value(Kind.WORDING, f"{section}.{name}", ours.get(name), theirs.get(name))
    yield from _value(Kind.WORDING, "withhold_above", old.withhold_above, new.withhold_above)
    yield from _value(Kind.WORDING, "policy.id", old.policy.id, new.policy.id)
    yield from _value(Kind.WORDING, "policy.spec", old.policy.spec, new.policy.spec)


def _names(path: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """Names of what is demanded: one less is looser, one more stricter."""
    for name in old:
        if name not in new:
            yield Change(kind=Kind.LOOSER, path=path, before=name)
    for name in new:
        if name not in old:
            yield Change(kind=Kind.STRICTER, path=path, after=name)


def _value(kind: Kind, path: str, old: object, new: object) -> Iterator[Change]:
    if old != new:
        yield Change(kind=kind, path=path, before=_spoken(old), after=_spoken(new))


def _spoken(value: object) -> str:
    """A value as one short line of JSON; empty for None."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= SPOKEN_MAX else text[: SPOKEN_MAX - 1] + "…"
