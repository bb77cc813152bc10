"""The categories of a policy and their ceilings, also under a tenant's overlay, as data for tables. Pure."""

from collections.abc import Iterator

from msgspec import Struct

from topology.contract.labels import AgeBand, CategoryId, Context, Level
from topology.policy.bundle import INTENTS, LOCALE_DEFAULT, AgeDefault, Category, PolicyBundle
from topology.policy.overlays import TenantOverlay
from workers.commands.policy.ceiling_space import PLAIN, Situation, harms_of, level_of

Row = tuple[Level, Level, Level]
"""Ceilings for benign, dual use and malicious intent."""


class CategoryShown(Struct, frozen=True, kw_only=True):
    """One category. `ceilings`, by harm, are those of a verified adult in a general context, `teen_ceilings` of a teen.

    `tenant_ceilings` are those of an adult under an overlay, `tenant_unknown_ceilings` those for unknown age; or None.
    """

    name: CategoryId
    anchor: str
    content_class: str
    authority: str
    family: str
    ceilings: dict[Level, Row]
    teen_ceilings: dict[Level, Row]
    tenant_ceilings: dict[Level, Row] | None
    tenant_unknown_ceilings: dict[Level, Row] | None
    teen_cap: Level | None
    special: tuple[str, ...]
    offers: dict[str, str]


class Shown(Struct, frozen=True, kw_only=True):
    """A policy, and the overlay under which its ceilings are shown; `overlay_ref` is empty without one."""

    policy_ref: str
    follows: str
    age_default: AgeDefault
    languages: tuple[str, ...]
    overlay_ref: str
    categories: tuple[CategoryShown, ...]


def shown(bundle: PolicyBundle, names: tuple[CategoryId, ...], overlay: TenantOverlay | None) -> Shown:
    """Return the categories `names` of the policy; all categories if `names` is empty."""
    return Shown(
        policy_ref=bundle.ref,
        follows=f"{bundle.policy.spec.name} {bundle.policy.spec.version}",
        age_default=bundle.age_default,
        languages=tuple(sorted(bundle.templates)),
        overlay_ref="" if overlay is None else overlay.ref,
        categories=tuple(_category(bundle, name, overlay) for name in names or tuple(bundle.categories)),
    )


def _category(bundle: PolicyBundle, name: CategoryId, overlay: TenantOverlay | None) -> CategoryShown:
    category = bundle.categories[name]
    return CategoryShown(
        name=name,
        anchor=category.anchor,
        content_class=category.content_class.value,
        authority=category.authority.value,
        family=category.family.value,
        ceilings=_ceilings(bundle, name, AgeBand.ADULT, PLAIN),
        teen_ceilings=_ceilings(bundle, name, AgeBand.TEEN, PLAIN),
        tenant_ceilings=None if overlay is None else _ceilings(bundle, name, AgeBand.ADULT, overlay),
        tenant_unknown_ceilings=None if overlay is None else _ceilings(bundle, name, AgeBand.UNKNOWN, overlay),
        teen_cap=category.teen_cap,
        special=tuple(_special(category)),
        offers={offer: bundle.offers[offer][LOCALE_DEFAULT] for offer in category.offer},
    )


def _ceilings(bundle: PolicyBundle, name: CategoryId, age: AgeBand, overlay: TenantOverlay) -> dict[Level, Row]:
    def row(harm: Level) -> Row:
        benign, dual_use, malicious = (
            level_of(bundle, name, Situation(harm=harm, intent=intent, age=age), overlay) for intent in INTENTS
        )
        return benign, dual_use, malicious

    return {harm: row(harm) for harm in harms_of(bundle.categories[name])}


def _special(category: Category) -> Iterator[str]:
    """Yield everything else that changes its ceiling or mode."""
    if category.raise_contexts:
        yield f"one more in {_named(category.raise_contexts)}"
    if category.education:
        yield f"mentioned in {_named(category.education)}"
    for grant, row in category.grants.items():
        yield f"grant {grant}: {'/'.join(map(str, row))}"
    if category.loosen is not None:
        yield f"tenants may raise it to D{category.loosen.to}, at {category.loosen.by} level"
    if category.transformable:
        yield "the user's own text may be transformed"
    if category.no_transform:
        yield "not even the user's own text may be transformed"
    if category.force_mode is not None:
        yield f"always {category.force_mode}"
    if category.floor_mode is not None:
        yield f"at least {category.floor_mode}"


def _named(contexts: tuple[Context, ...]) -> str:
    return ", ".join(contexts)
