"""The policy's categories as a page: `python -m topology.reference.categories_page > docs/categories.md`."""

import sys
from collections.abc import Iterable, Iterator

from topology.contract.labels import CategoryId
from topology.policy.bundle import INTENTS, Category, CeilingRow, PolicyBundle
from topology.policy.loading import packaged_bundle

_INTRODUCTION = """\
# Categories

Generated from `topology/policies/safe-completion-core.yaml` by `python -m topology.reference.categories_page`; change
the policy, not this page. How to read and change it: [policy-authors.md](policy-authors.md); what the scales mean:
[policy.md](policy.md).

A ceiling is the highest level of detail, D0 to D4, that may be published for a verified adult in a general context. It
is given for benign / dual use / malicious intent, at each harm level of the category. The section is that of the
specification ({spec}); the level says who may override the rule."""

_TABLE = """
| category | class | level | section | family | ceilings | teens at most | special |
|---|---|---|---|---|---|---|---|"""

_OFFERS = """
## What an answer offers instead, and never holds

| category | offers | leaves out, besides detail above its ceiling |
|---|---|---|"""

_CROSSWALK = """
## Labels of other taxonomies

A guard that uses one of these taxonomies says that a category may be present, never how much detail an answer contains.
A dash means that the taxonomy has no label for the category.

| category | {systems} |
|---|{rules}|"""

_GROUPS = """
## Guard prompts

A guard LLM that is asked group by group (`guard.judge_prompts`) gets one prompt for each group.

| group | code | subject | categories or faults |
|---|---|---|---|"""


def page(bundle: PolicyBundle) -> str:
    """Return the page of one policy, with a line end."""
    spec = f"{bundle.policy.spec.name} {bundle.policy.spec.version}"
    return (
        "\n".join(
            (
                _INTRODUCTION.format(spec=spec),
                *_categories(bundle),
                *_offers(bundle),
                *_crosswalk(bundle),
                *_groups(bundle),
            )
        )
        + "\n"
    )


def _categories(bundle: PolicyBundle) -> Iterator[str]:
    yield _TABLE
    for name, category in bundle.categories.items():
        cells = (
            f"`{name}`",
            category.content_class.value,
            category.authority.value,
            f"`{category.anchor}`",
            category.family.value,
            _ceilings(bundle, category),
            "-" if category.teen_cap is None else f"D{category.teen_cap}",
            "; ".join(_special(category)) or "-",
        )
        yield _row(cells)


def _ceilings(bundle: PolicyBundle, category: Category) -> str:
    low, high = category.harm
    if category.fixed is not None:
        harms = f"H{low}" if low == high else f"H{low} to H{high}"
        return f"{harms} {_levels(category.fixed)}, fixed"
    base = bundle.base_ceiling[category.family]
    return "; ".join(f"H{harm} {_levels(base[harm])}" for harm in range(low, high + 1))


def _levels(row: CeilingRow) -> str:
    return "/".join(str(row[column]) for column in range(len(INTENTS)))


def _special(category: Category) -> Iterator[str]:
    if category.force_mode is not None:
        yield f"always {category.force_mode}"
    if category.floor_mode is not None:
        yield f"at least {category.floor_mode}"
    if category.education:
        yield f"D1 in {_and(category.education)}"
    if category.raise_contexts:
        yield f"one more in {_and(category.raise_contexts)}"
    yield from (f"grant `{grant}`: {_levels(row)}" for grant, row in category.grants.items())
    if category.loosen is not None:
        yield f"a {category.loosen.by} may raise it to D{category.loosen.to}"
    if category.transformable:
        yield "transformable"
    if category.no_transform:
        yield "never transformed"
    if category.include:
        yield f"from D2 on includes {_and(category.include)}"


def _offers(bundle: PolicyBundle) -> Iterator[str]:
    yield _OFFERS
    for name, category in bundle.categories.items():
        offers = "; ".join(bundle.offers[offer]["en"] for offer in category.offer)
        yield _row((f"`{name}`", offers, "; ".join(bundle.withholds[each] for each in category.withhold) or "-"))


def _crosswalk(bundle: PolicyBundle) -> Iterator[str]:
    systems = tuple(dict.fromkeys(system for labels in bundle.crosswalk.values() for system in labels))
    yield _CROSSWALK.format(systems=" | ".join(systems), rules="|".join("---" for _ in systems))
    for name in bundle.categories:
        labels = bundle.crosswalk.get(CategoryId(name), {})
        yield _row((f"`{name}`", *(", ".join(labels.get(system, ())) or "-" for system in systems)))


def _groups(bundle: PolicyBundle) -> Iterator[str]:
    yield _GROUPS
    for name, group in bundle.guard_groups.items():
        yield _row(
            (name, group.code, group.title, ", ".join(f"`{each}`" for each in (*group.categories, *group.faults)))
        )


def _and(names: Iterable[str]) -> str:
    return ", ".join(str(name) for name in names)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.write(page(packaged_bundle()))
