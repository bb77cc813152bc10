"""The ceilings of a policy for a single request, over everything they depend on, and where two policies differ."""

from collections.abc import Iterable, Iterator
from itertools import product

from msgspec import Struct, structs

from topology.contract.labels import AgeBand, CategoryId, Context, Intent, Level, RequestFinding
from topology.decision.ceilings import Subject, ceiling
from topology.policy.bundle import INTENTS, AgeDefault, Category, PolicyBundle
from topology.policy.overlays import Deployment, TenantOverlay

PLAIN = TenantOverlay(tenant_id="none", version="1", deployment=Deployment.THIRD_PARTY)
"""A tenant that changes nothing, so that the ceilings are the policy's own."""

AGES = (AgeBand.ADULT, AgeBand.UNKNOWN, AgeBand.TEEN)
NO_GRANT = "none"
TEXT_DETAIL: Level = 4
"""The detail of a text that is to be transformed: the highest, so that every limit on it shows."""


class Situation(Struct, frozen=True, kw_only=True):
    """The facts that a ceiling depends on. An adult is verified, and `grant` counts for adults alone."""

    harm: Level
    intent: Intent
    context: Context = Context.GENERAL
    age: AgeBand = AgeBand.ADULT
    grant: str = NO_GRANT


class CeilingChange(Struct, frozen=True, kw_only=True):
    """A ceiling that changes from `before` to `after`, for every combination of the listed values."""

    category: CategoryId
    harms: tuple[Level, ...]
    intents: tuple[Intent, ...]
    ages: tuple[AgeBand, ...]
    contexts: tuple[Context, ...]
    grants: tuple[str, ...]
    before: Level
    after: Level

    @property
    def is_looser(self) -> bool:
        """Return whether more may be said."""
        return self.after > self.before


def level_of(bundle: PolicyBundle, name: CategoryId, at: Situation, overlay: TenantOverlay = PLAIN) -> Level:
    """Return the ceiling of a category of the bundle, for a tenant with `overlay`."""
    finding = RequestFinding(
        category=name,
        harm=at.harm,
        intent=at.intent,
        context=at.context,
        input_detail=TEXT_DETAIL,
        supplied_in_full=True,
    )
    age_default = bundle.age_default if overlay.age_default is None else overlay.age_default
    is_teen = at.age is AgeBand.TEEN
    has_grant = at.age is AgeBand.ADULT and at.grant != NO_GRANT
    subject = Subject(
        is_teen=is_teen,
        has_teen_limits=is_teen or (at.age is AgeBand.UNKNOWN and age_default is AgeDefault.TEEN),
        grants=frozenset((at.grant,)) if has_grant else frozenset(),
    )
    return ceiling(bundle, finding, overlay, subject)[0]


def ceiling_changes(old: PolicyBundle, new: PolicyBundle) -> tuple[CeilingChange, ...]:
    """Return how the ceilings of the categories in both policies differ, in few entries and without loss."""
    shared = [name for name in old.categories if name in new.categories]
    return tuple(change for name in shared for change in _merged(_changes(old, new, name)))


def harms_of(category: Category) -> range:
    """Return the harm levels to which labels of a category are clamped."""
    return range(category.harm[0], category.harm[1] + 1)


def _changes(old: PolicyBundle, new: PolicyBundle, name: CategoryId) -> Iterator[CeilingChange]:
    was, now = old.categories[name], new.categories[name]
    harms = sorted({*harms_of(was), *harms_of(now)})
    grants = (NO_GRANT, *sorted({*was.grants, *now.grants}))
    for harm, intent, context, age, grant in product(harms, INTENTS, Context, AGES, grants):
        at = Situation(harm=harm, intent=intent, context=context, age=age, grant=grant)
        before, after = level_of(old, name, at), level_of(new, name, at)
        if before != after:
            yield CeilingChange(
                category=name,
                harms=(harm,),
                intents=(intent,),
                ages=(age,),
                contexts=(context,),
                grants=(grant,),
                before=before,
                after=after,
            )


def _merged(changes: Iterable[CeilingChange]) -> list[CeilingChange]:
    """Return the same changes in fewer entries: field by field, entries that differ in that field alone become one."""
    found = list(changes)
    for field in ("contexts", "grants", "ages", "harms", "intents"):
        alike: dict[CeilingChange, list[CeilingChange]] = {}
        for change in found:
            alike.setdefault(structs.replace(change, **{field: ()}), []).append(change)
        found = [
            structs.replace(key, **{field: tuple(value for each in group for value in getattr(each, field))})
            for key, group in alike.items()
        ]
    return found
