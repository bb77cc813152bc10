"""The finite space of requests, enumerated whole: what `plan` makes of each, as arrays with an axis for each cause."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tests.topology.decision.policy_world import ADULT, CATEGORIES, LABELER, OPEN, TEEN, bundle
from topology.contract.events import UserContext
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Context,
    Intent,
    Mode,
    Plan,
    RequestFinding,
    RequestLabels,
    Signal,
    Vulnerability,
)
from topology.decision.ceilings import ceiling, subject_of
from topology.decision.plan import plan
from topology.policy.bundle import AgeDefault, Authority, Category
from topology.policy.overlays import Raise, TenantOverlay

Levels = NDArray[np.int8]
Held = NDArray[np.bool_]

KINDS: tuple[Category, ...] = tuple(bundle().categories[CategoryId(name)] for name in CATEGORIES)
HARMS = ASKED = range(5)
INTENTS, CONTEXTS, RISKS = tuple(Intent), tuple(Context), tuple(Vulnerability)
MODES = tuple(Mode)
GRANTS = (frozenset[str](), bundle().grant_names)
SUBJECTS: tuple[tuple[UserContext, TenantOverlay], ...] = (
    (ADULT, OPEN),
    (UserContext(), OPEN),
    (UserContext(), msgspec.structs.replace(OPEN, age_default=AgeDefault.TEEN)),
    (TEEN, OPEN),
    (UserContext(age_band=AgeBand.UNDER13), OPEN),
)
"""Who asks, of whose tenant, from old to young."""
SIGNALS: tuple[tuple[Signal, ...], ...] = ((), *((signal,) for signal in Signal), tuple(Signal))


class Space(NamedTuple):
    """Ceilings and modes (by their rank) of the same requests."""

    levels: Levels
    modes: Levels


def where(names: Iterator[bool]) -> Held:
    """Which categories something holds of."""
    return np.fromiter(names, np.bool_, len(KINDS))


def along(axis: int, values: Sequence[object] | Held | Levels, axis_count: int) -> NDArray[Any]:
    """Values laid along one axis of an array of `axis_count`."""
    return np.reshape(np.asarray(values), [-1 if each == axis else 1 for each in range(axis_count)])


@cache
def asked_by_whom() -> Space:
    """Axes: category, harm, intent, context, asked detail, grants, subject. Text to transform is supplied at D4."""
    shape = (len(KINDS), 5, len(INTENTS), len(CONTEXTS), 5, len(GRANTS), len(SUBJECTS))
    return _space(shape, _asked_by_whom())


def _asked_by_whom() -> Iterator[Plan]:
    for category, harm, intent, context, asked in product(CATEGORIES, HARMS, INTENTS, CONTEXTS, ASKED):
        finding = RequestFinding(
            category=CategoryId(category),
            harm=harm,
            intent=intent,
            context=context,
            asked_detail=asked,
            input_detail=4,
            supplied_in_full=True,
        )
        labels = RequestLabels(labeler=LABELER, findings=(finding,))
        for grants, (user, overlay) in product(GRANTS, SUBJECTS):
            yield plan(bundle(), labels, overlay=overlay, user=user, grants=grants)


@cache
def asked_at_risk() -> Space:
    """Axes: category, harm, intent, context (general, artistic), asked detail, signals, vulnerability."""
    shape = (len(KINDS), 5, len(INTENTS), 2, 5, len(SIGNALS), len(RISKS))
    return _space(shape, _asked_at_risk())


def _asked_at_risk() -> Iterator[Plan]:
    contexts = (Context.GENERAL, Context.ARTISTIC)
    for category, harm, intent, context, asked in product(CATEGORIES, HARMS, INTENTS, contexts, ASKED):
        finding = RequestFinding(
            category=CategoryId(category), harm=harm, intent=intent, context=context, asked_detail=asked
        )
        for signals, risk in product(SIGNALS, RISKS):
            labels = RequestLabels(labeler=LABELER, findings=(finding,), vulnerability=risk, signals=signals)
            yield plan(bundle(), labels, overlay=OPEN, user=ADULT, grants=())


def _space(shape: tuple[int, ...], plans: Iterator[Plan]) -> Space:
    rank = {mode: index for index, mode in enumerate(MODES)}
    levels, modes = bytearray(), bytearray()
    for made in plans:
        (level,) = made.ceilings.values()
        levels.append(level)
        modes.append(rank[made.mode])
    return Space(*(np.frombuffer(each, np.int8).reshape(shape) for each in (levels, modes)))


def overlays(name: CategoryId) -> tuple[TenantOverlay, ...]:
    """No overlay; caps at D0 to D4; raises to D0 to D4, by whoever the category asks for, where it lets anybody."""
    loosen = bundle().categories[name].loosen
    by = Authority.DEVELOPER if loosen is None else loosen.by
    raises = [{name: Raise(to=level, by=by, attestation="licence")} for level in range(5)]
    return (
        OPEN,
        *(msgspec.structs.replace(OPEN, caps={name: level}) for level in range(5)),
        *(msgspec.structs.replace(OPEN, raises=raised) for raised in raises),
    )


@cache
def under_overlays() -> Levels:
    """Axes: category, harm, intent, context, subject, grants, overlay (none, five caps, five raises)."""
    levels = bytearray()
    who = [
        subject_of(bundle(), RequestLabels(labeler=LABELER), overlay=overlay, user=user, grants=grants)
        for (user, overlay), grants in product(SUBJECTS, GRANTS)
    ]
    for category in CATEGORIES:
        name = CategoryId(category)
        laid = overlays(name)
        for harm, intent, context in product(HARMS, INTENTS, CONTEXTS):
            finding = RequestFinding(
                category=name, harm=harm, intent=intent, context=context, input_detail=3, supplied_in_full=True
            )
            levels.extend([ceiling(bundle(), finding, overlay, subject)[0] for subject in who for overlay in laid])
    shape = (len(KINDS), 5, len(INTENTS), len(CONTEXTS), len(SUBJECTS), len(GRANTS), 11)
    return np.frombuffer(levels, np.int8).reshape(shape)


@cache
def transformed() -> Levels:
    """Axes: category, harm, intent, signals, subject, input detail, supplied in full, context (general, transform.)."""
    levels = bytearray()
    who = [
        subject_of(bundle(), RequestLabels(labeler=LABELER), overlay=overlay, user=user, grants=())
        for user, overlay in SUBJECTS
    ]
    contexts = (Context.GENERAL, Context.TRANSFORMATION)
    for category, harm, intent in product(CATEGORIES, HARMS, INTENTS):
        findings = [
            RequestFinding(
                category=CategoryId(category),
                harm=harm,
                intent=intent,
                context=context,
                input_detail=detail,
                supplied_in_full=is_whole,
            )
            for detail, is_whole, context in product(range(5), (False, True), contexts)
        ]
        levels.extend(
            [
                ceiling(bundle(), finding, OPEN, subject, signals)[0]
                for signals, subject, finding in product(SIGNALS, who, findings)
            ]
        )
    shape = (len(KINDS), 5, len(INTENTS), len(SIGNALS), len(SUBJECTS), 5, 2, 2)
    return np.frombuffer(levels, np.int8).reshape(shape)
