"""What must hold of every ceiling, over the finite space of labels."""

from itertools import pairwise, product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import examples
from tests.topology.decision.policy_world import (
    ADULT,
    CATEGORIES,
    GRANTS,
    OPEN,
    OVERLAYS,
    REQUEST_FINDINGS,
    REQUESTS,
    TEEN,
    USERS,
    bundle,
    labels,
)
from topology.contract.conversation import CategoryMemory, ConversationState, Shown
from topology.contract.events import UserContext
from topology.contract.labels import AgeBand, Context, Intent, Level, RequestFinding, RequestLabels, Signal
from topology.decision.ceilings import Subject, ceiling, settled_age, subject_of
from topology.policy.bundle import Authority, ContentClass
from topology.policy.overlays import STRICTEST, TenantOverlay

SIGNALS = st.lists(st.sampled_from(Signal), max_size=2, unique=True).map(tuple)
GROWN = Subject(is_teen=False, has_teen_limits=False)
YOUNG = Subject(is_teen=True, has_teen_limits=True)


def level(
    finding: RequestFinding, overlay: TenantOverlay = OPEN, subject: Subject = GROWN, signals: tuple[Signal, ...] = ()
) -> Level:
    """The ceiling alone."""
    return ceiling(bundle(), finding, overlay, subject, signals)[0]


@pytest.mark.parametrize("category", CATEGORIES)
def test_more_harm_or_worse_intent_never_gives_more(category: str) -> None:
    name = next(known for known in bundle().categories if known == category)
    for context, detail, subject in product(Context, (0, 2, 4), (GROWN, YOUNG)):
        table = [
            [
                level(
                    RequestFinding(
                        category=name,
                        harm=harm,
                        intent=intent,
                        context=context,
                        input_detail=detail,
                        supplied_in_full=True,
                    ),
                    subject=subject,
                )
                for intent in Intent
            ]
            for harm in range(5)
        ]
        lines = [*table, *zip(*table, strict=True)]
        assert all(later <= earlier for line in lines for earlier, later in pairwise(line))


@examples(400)
@given(REQUEST_FINDINGS, OVERLAYS, GRANTS, SIGNALS)
def test_a_teen_is_never_given_more_than_an_adult(
    finding: RequestFinding, overlay: TenantOverlay, grants: frozenset[str], signals: tuple[Signal, ...]
) -> None:
    request = labels(finding, signals=signals)
    adult = subject_of(bundle(), request, overlay=overlay, user=ADULT, grants=grants)
    unknown = subject_of(bundle(), request, overlay=overlay, user=UserContext(), grants=grants)
    teen = subject_of(bundle(), request, overlay=overlay, user=TEEN, grants=grants)
    levels = [level(finding, overlay, subject, signals) for subject in (adult, unknown, teen)]
    assert levels == sorted(levels, reverse=True)


@examples(400)
@given(REQUEST_FINDINGS, OVERLAYS, SIGNALS)
def test_a_cap_never_raises(finding: RequestFinding, overlay: TenantOverlay, signals: tuple[Signal, ...]) -> None:
    uncapped = msgspec.structs.replace(overlay, caps={})
    capped = level(finding, overlay, signals=signals)
    assert capped <= level(finding, uncapped, signals=signals)
    assert capped <= overlay.caps.get(finding.category, 4)


@examples(400)
@given(REQUEST_FINDINGS, OVERLAYS, SIGNALS)
def test_an_overlay_never_raises_root_or_system_rules_nor_malicious_requests(
    finding: RequestFinding, overlay: TenantOverlay, signals: tuple[Signal, ...]
) -> None:
    is_platforms = bundle().categories[finding.category].authority in {Authority.ROOT, Authority.SYSTEM}
    if is_platforms or finding.intent is Intent.MALICIOUS:
        assert level(finding, overlay, signals=signals) <= level(finding, OPEN, signals=signals)


@examples(400)
@given(REQUEST_FINDINGS, OVERLAYS, GRANTS)
def test_malicious_intent_gets_at_most_the_malicious_column(
    finding: RequestFinding, overlay: TenantOverlay, grants: frozenset[str]
) -> None:
    category = bundle().categories[finding.category]
    stated = msgspec.structs.replace(finding, intent=Intent.MALICIOUS)
    granted = Subject(is_teen=False, has_teen_limits=False, grants=grants)
    harm = max(category.harm[0], min(category.harm[1], finding.harm))
    row = category.fixed or bundle().base_ceiling[category.family][harm]
    assert level(stated, overlay, granted) <= row[2]


@examples(300)
@given(REQUEST_FINDINGS, st.sampled_from(Context))
def test_restricted_content_gains_nothing_from_any_context_but_transformation(
    finding: RequestFinding, context: Context
) -> None:
    kind = bundle().categories[finding.category].content_class
    if kind is ContentClass.RESTRICTED and context is not Context.TRANSFORMATION:
        general = msgspec.structs.replace(finding, context=Context.GENERAL)
        assert level(msgspec.structs.replace(finding, context=context)) == level(general)


@examples(300)
@given(REQUEST_FINDINGS)
def test_transformation_lifts_neither_prohibited_nor_self_harm_nor_weapons_of_mass_harm(
    finding: RequestFinding,
) -> None:
    category = bundle().categories[finding.category]
    is_closed = category.content_class is ContentClass.PROHIBITED or category.no_transform
    if is_closed or category.anchor == "do_not_encourage_self_harm":
        supplied = msgspec.structs.replace(
            finding, context=Context.TRANSFORMATION, supplied_in_full=True, input_detail=4
        )
        general = msgspec.structs.replace(finding, context=Context.GENERAL)
        assert level(supplied) == level(general)


@examples(300)
@given(REQUEST_FINDINGS, st.sampled_from(Signal))
def test_a_wrapper_voids_the_bonus_of_a_context(finding: RequestFinding, signal: Signal) -> None:
    if (
        bundle().categories[finding.category].content_class is ContentClass.SENSITIVE
        and finding.context is not Context.TRANSFORMATION
    ):
        general = msgspec.structs.replace(finding, context=Context.GENERAL)
        assert level(finding, signals=(signal,)) == level(general, signals=(signal,))


@examples(300)
@given(REQUESTS, USERS, GRANTS)
def test_grants_serve_verified_adults_only(
    request_labels: RequestLabels, user: UserContext, grants: frozenset[str]
) -> None:
    subject = subject_of(bundle(), request_labels, overlay=OPEN, user=user, grants=grants)
    is_verified = AgeBand.ADULT in {
        band
        for band, verified in (
            (request_labels.age_band, request_labels.age_verified),
            (user.age_band, user.age_verified),
        )
        if verified
    }
    assert subject.grants <= (grants if is_verified else frozenset())


@examples(300)
@given(REQUESTS, USERS)
def test_settled_labels_suffice_to_know_the_age(request_labels: RequestLabels, user: UserContext) -> None:
    settled = settled_age(request_labels, user)
    assert settled_age(settled, UserContext()) == settled
    assert settled_age(settled, user) == settled


@pytest.mark.parametrize(
    ("said", "user", "expected"),
    [
        (AgeBand.UNKNOWN, UserContext(age_band=AgeBand.ADULT), AgeBand.UNKNOWN),
        (AgeBand.TEEN, UserContext(age_band=AgeBand.ADULT), AgeBand.TEEN),
        (AgeBand.TEEN, ADULT, AgeBand.ADULT),
        (AgeBand.ADULT, TEEN, AgeBand.TEEN),
        (AgeBand.UNDER13, TEEN, AgeBand.UNDER13),
        (AgeBand.TEEN, UserContext(age_verified=True), AgeBand.TEEN),
    ],
)
def test_what_is_said_can_only_make_a_user_younger_unless_it_was_verified(
    said: AgeBand, user: UserContext, expected: AgeBand
) -> None:
    assert settled_age(msgspec.structs.replace(labels(), age_band=said), user).age_band is expected


def test_a_tenant_without_an_overlay_treats_unknown_age_as_teen() -> None:
    finding = RequestFinding(
        category=next(name for name in bundle().categories if name == "drugs.use"), harm=2, intent=Intent.BENIGN
    )
    unknown = subject_of(bundle(), labels(finding), overlay=STRICTEST, user=UserContext(), grants=())
    assert ceiling(bundle(), finding, STRICTEST, unknown) == (1, ("C1:drugs.use", "C8:drugs.use"))
    assert not unknown.is_teen


@pytest.mark.parametrize("name", ["cbrn.weaponization", "privacy.mass_surveillance", "privileged_info"])
def test_a_wrapper_does_not_take_the_harmless_part_of_a_benign_question(name: str) -> None:
    category = next(known for known in bundle().categories if known == name)
    benign = RequestFinding(category=category, harm=4, intent=Intent.BENIGN)
    for signal in Signal:
        assert level(benign, signals=(signal,)) == 1
        state = ConversationState(turns=1, shown_signals={signal: Shown(turn=1, at_ms=1)})
        assert ceiling(bundle(), benign, OPEN, GROWN, (), state)[0] == 1
        unclear = msgspec.structs.replace(benign, intent=Intent.DUAL_USE)
        assert level(unclear, signals=(signal,)) == 0
    shown = CategoryMemory(intent=Intent.MALICIOUS, shown=Shown(turn=1, at_ms=1))
    hostile = ConversationState(turns=1, categories={category: shown})
    assert ceiling(bundle(), benign, OPEN, GROWN, (Signal.ENCODING,), hostile)[0] == 0
