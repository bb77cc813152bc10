"""What holds of every plan: shown for each combination of a finite space, none left out."""

from collections.abc import Callable

import numpy as np
import pytest

from tests.topology.decision.plan_space import (
    ASKED,
    CONTEXTS,
    INTENTS,
    KINDS,
    MODES,
    RISKS,
    SIGNALS,
    Held,
    Levels,
    Space,
    along,
    asked_at_risk,
    asked_by_whom,
    transformed,
    under_overlays,
    where,
)
from topology.contract.labels import Context, Intent, Mode, Vulnerability
from topology.decision.ceilings import WRAPPERS
from topology.policy.bundle import Authority, ContentClass

COMBINATIONS_MIN = 200_000
Record = Callable[[str, object], None]

PROHIBITED = where(kind.content_class is ContentClass.PROHIBITED for kind in KINDS)
SENSITIVE = where(kind.content_class is ContentClass.SENSITIVE for kind in KINDS)
PLATFORMS = where(kind.authority in {Authority.ROOT, Authority.SYSTEM} for kind in KINDS)
FORCED = where(kind.force_mode is not None for kind in KINDS)
FLOORED = where(kind.floor_mode is not None for kind in KINDS)
PROTECTED = where(bool(kind.protection) for kind in KINDS)
ABOUT = {
    Context.EDUCATIONAL,
    Context.HISTORICAL,
    Context.NEWS,
    Context.SCIENTIFIC_MEDICAL,
    Context.COUNTER_SPEECH,
    Context.PROTECTIVE,
    Context.REPORTING,
    Context.TRANSFORMATION,
}
PROTECTIVE = (Context.PROTECTIVE, Context.REPORTING, Context.VICTIM)
CLOSED = PROHIBITED | where(kind.no_transform or kind.anchor == "do_not_encourage_self_harm" for kind in KINDS)
MALICIOUS = INTENTS.index(Intent.MALICIOUS)
TRANSFORMATION = CONTEXTS.index(Context.TRANSFORMATION)
HARM, INTENT, CONTEXT, ASKED_DETAIL, GRANTED, SUBJECT = range(1, 7)
SPACES = (asked_by_whom, asked_at_risk)
AXIS_COUNT = 7


def modes_due(space: Space, risk: Held) -> dict[Mode, Held]:
    """Where each mode is due by the policy's text; `risk` holds crisis, danger, flooring and harm to others.

    The conditions are spelled out, so that they exclude each other by themselves and not by their order.
    """
    lowest, highest = (along(0, [kind.harm[end] for kind in KINDS], AXIS_COUNT) for end in (0, 1))
    harm = np.clip(along(HARM, range(5), AXIS_COUNT), lowest, highest)
    malicious = along(INTENT, [intent is Intent.MALICIOUS for intent in INTENTS], AXIS_COUNT)
    asked = along(ASKED_DETAIL, ASKED, AXIS_COUNT)
    barred = (space.levels == 0) & (asked >= 1)
    means = risk[3] & malicious & barred
    crisis = (along(0, FORCED, AXIS_COUNT) | risk[0]) & ~means
    danger = ~crisis & risk[1]
    calm = ~crisis & ~danger
    worst = malicious & (along(0, PROHIBITED, AXIS_COUNT) | (harm == 4))
    shown = along(0, FLOORED, AXIS_COUNT) & ~_is_about(space)
    limited = (asked > space.levels) | risk[2] | shown | (malicious & (asked >= 1))
    return {
        Mode.CRISIS_SUPPORT: crisis,
        Mode.EMERGENCY_GUIDANCE: danger,
        Mode.HARD_REFUSE: calm & barred & worst,
        Mode.REFUSE_REDIRECT: calm & barred & ~worst,
        Mode.SAFE_COMPLETION: calm & ~barred & limited,
        Mode.DIRECT_ANSWER: calm & ~barred & ~limited,
    }


def _is_about(space: Space) -> Held:
    """Where a category is asked about, not shown: benign, in a context of knowledge or care."""
    contexts = CONTEXTS if space is asked_by_whom() else (Context.GENERAL, Context.ARTISTIC)
    benign = along(INTENT, [intent is Intent.BENIGN for intent in INTENTS], AXIS_COUNT)
    return benign & along(CONTEXT, [context in ABOUT for context in contexts], AXIS_COUNT)


def risks_of(space: Callable[[], Space]) -> Held:
    """Crisis, danger, flooring, harm to others, where the last axis is the vulnerability; else none of them."""
    risks = RISKS if space is asked_at_risk else (Vulnerability.NONE,)
    crisis = [risk in {Vulnerability.ACUTE_SELF_HARM, Vulnerability.HARM_TO_OTHERS} for risk in risks]
    danger = [risk is Vulnerability.IMMINENT_DANGER for risk in risks]
    flooring = [
        risk in {Vulnerability.AT_RISK, Vulnerability.RADICALIZATION_RISK, Vulnerability.DELUSION_MANIA}
        for risk in risks
    ]
    harming = [risk is Vulnerability.HARM_TO_OTHERS for risk in risks]
    return np.stack([along(6, each, AXIS_COUNT) for each in (crisis, danger, flooring, harming)]).astype(np.bool_)


def without_harm_to_others(space: Callable[[], Space]) -> Levels:
    """The modes but for people who want to hurt others: those who ask for means are refused, the rest are in crisis."""
    modes = space().modes
    is_axis = space is asked_at_risk
    return np.delete(modes, RISKS.index(Vulnerability.HARM_TO_OTHERS), axis=6) if is_axis else modes


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.__name__)
def test_every_combination_gets_exactly_the_one_mode_that_is_due(
    space: Callable[[], Space], record_property: Record
) -> None:
    made = space()
    due = modes_due(made, risks_of(space))
    count = sum(np.broadcast_to(held, made.modes.shape).astype(np.int8) for held in due.values())
    assert np.all(count == 1)
    for mode, held in due.items():
        assert np.array_equal(np.broadcast_to(held, made.modes.shape), made.modes == MODES.index(mode))
    assert made.modes.size >= COMBINATIONS_MIN
    record_property(f"plan combinations, {space.__name__.replace('_', ' ')}: one mode each", made.modes.size)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.__name__)
@pytest.mark.parametrize("axis", [HARM, INTENT], ids=["harm", "intent"])
def test_no_ceiling_rises_and_no_mode_gets_laxer_with_harm_or_intent(space: Callable[[], Space], axis: int) -> None:
    assert np.all(np.diff(space().levels, axis=axis) <= 0)
    assert np.all(np.diff(without_harm_to_others(space), axis=axis) >= 0)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.__name__)
def test_asking_for_more_moves_no_ceiling_and_never_gives_a_laxer_mode(space: Callable[[], Space]) -> None:
    assert np.all(np.diff(space().levels, axis=ASKED_DETAIL) == 0)
    assert np.all(np.diff(without_harm_to_others(space), axis=ASKED_DETAIL) >= 0)


def test_who_wants_to_hurt_others_is_refused_the_means_and_else_in_crisis() -> None:
    modes = np.take(asked_at_risk().modes, RISKS.index(Vulnerability.HARM_TO_OTHERS), axis=6)
    refusals = {MODES.index(Mode.REFUSE_REDIRECT), MODES.index(Mode.HARD_REFUSE)}
    assert set(np.unique(modes)) == {*refusals, MODES.index(Mode.CRISIS_SUPPORT)}
    assert not np.isin(modes[:, :, :, :, 0], list(refusals)).any(), "nothing is asked"
    assert not np.isin(np.delete(modes, MALICIOUS, axis=INTENT), list(refusals)).any()
    assert np.isin(modes[FORCED][:, :, MALICIOUS], list(refusals)).any(), "who drives others to their death"


def test_a_younger_subject_is_never_treated_more_laxly() -> None:
    made = asked_by_whom()
    assert np.all(np.diff(made.levels, axis=SUBJECT) <= 0)
    assert np.all(np.diff(made.modes, axis=SUBJECT) >= 0)


def test_youth_and_unknown_age_taken_for_it_get_exactly_the_teen_cap() -> None:
    levels = np.moveaxis(asked_by_whom().levels, SUBJECT, 0)
    caps = along(0, [4 if kind.teen_cap is None else kind.teen_cap for kind in KINDS], AXIS_COUNT - 1)
    _, grown, taken_for_teen, teen, child = levels
    in_care = along(CONTEXT, [context is Context.PROTECTIVE for context in CONTEXTS], AXIS_COUNT - 1)
    meant_well = along(INTENT, [intent is not Intent.MALICIOUS for intent in INTENTS], AXIS_COUNT - 1)
    caps = np.where(along(0, PROTECTED, AXIS_COUNT - 1) & in_care & meant_well, np.maximum(caps, 2), caps)
    for young in (taken_for_teen, teen, child):
        assert np.array_equal(young, np.minimum(grown, caps))


def test_only_a_verified_adult_without_ill_intent_is_served_by_a_grant() -> None:
    levels = asked_by_whom().levels
    without, with_grants = np.moveaxis(levels, GRANTED, 0)
    assert np.all(with_grants >= without)
    assert np.array_equal(with_grants[..., 1:], without[..., 1:])
    assert np.array_equal(with_grants[:, :, MALICIOUS], without[:, :, MALICIOUS])
    helped = {index for index, kind in enumerate(KINDS) if kind.grants}
    assert set(np.nonzero(with_grants > without)[0].tolist()) == helped


def test_no_context_but_transformation_lifts_what_is_not_sensitive_or_excused() -> None:
    levels = asked_by_whom().levels
    general = levels[:, :, :, :1]
    others = np.delete(levels, TRANSFORMATION, axis=CONTEXT)
    lifted = others > general
    assert np.all(others >= general)
    assert not lifted[~SENSITIVE & ~PROHIBITED & ~PROTECTED].any()
    assert not lifted[:, :, MALICIOUS].any()
    assert np.all(others[PROHIBITED] <= np.maximum(general[PROHIBITED], 2))
    left = [context for context in CONTEXTS if context is not Context.TRANSFORMATION]
    by_care = [left.index(context) for context in PROTECTIVE]
    assert np.delete(others, by_care, axis=CONTEXT)[PROHIBITED].max() == 1
    assert np.all((others - general)[SENSITIVE] <= 1)
    assert others[SENSITIVE][np.nonzero(lifted[SENSITIVE])].max() <= 3


def test_a_wrapper_voids_the_context_and_is_never_laxer_than_none() -> None:
    made = asked_at_risk()
    levels = np.moveaxis(made.levels, 5, 0)
    modes = np.moveaxis(made.modes, 5, 0)
    for index, signals in enumerate(SIGNALS[1:], start=1):
        assert np.all(levels[index] <= levels[0])
        assert np.all(modes[index] >= modes[0])
        assert np.array_equal(levels[index][:, :, :, 1], levels[index][:, :, :, 0])
        if not WRAPPERS.isdisjoint(signals):
            left = np.minimum(levels[0][:, :, 0], 1)  # a benign question keeps what a thing is
            assert np.array_equal(levels[index][:, :, 0], np.maximum(levels[index][:, :, 1], left))


def test_overlays_cap_exactly_and_raise_only_what_is_the_tenants_to_raise(record_property: Record) -> None:
    levels = under_overlays()
    plain, caps, raises = levels[..., :1], levels[..., 1:6], levels[..., 6:]
    assert np.array_equal(caps, np.minimum(plain, np.arange(5)))
    assert np.all(raises >= plain)
    assert not (raises > plain)[PLATFORMS].any()
    assert not (raises > plain)[:, :, MALICIOUS].any()
    bound = along(0, [4 if kind.loosen is None else kind.loosen.to for kind in KINDS], levels.ndim)
    assert np.all(raises <= np.maximum(plain, bound))
    lifted = {index for index, kind in enumerate(KINDS) if kind.loosen is not None}
    assert set(np.nonzero(raises > plain)[0].tolist()) == lifted
    assert np.all(np.diff(levels, axis=4) <= 0)
    record_property("ceilings under overlays", levels.size)


def test_transformation_gives_no_more_than_what_was_supplied_and_nothing_where_it_is_closed(
    record_property: Record,
) -> None:
    levels = transformed()
    general, turned = levels[..., 0], levels[..., 1]
    assert np.array_equal(turned[CLOSED], general[CLOSED])
    assert np.array_equal(turned[:, :, MALICIOUS], general[:, :, MALICIOUS])
    assert np.array_equal(turned[..., 0], general[..., 0])
    supplied = along(5, range(5), turned.ndim)
    assert np.all(turned <= np.maximum(general, supplied))
    assert (turned > general).any()
    record_property("ceilings of transformations", levels.size)
