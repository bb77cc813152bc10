"""The worked examples of requests: each gets the mode and the lowest ceiling that the policy promises."""

from collections.abc import Callable

import pytest
from msgspec import structs

from tests.topology.decision.policy_world import ADULT, OPEN, TEEN, Case, bundle, labels, request_cases
from topology.contract.events import UserContext
from topology.contract.labels import CategoryId, Intent, PartlyRead, Plan, RequestFinding, SideEffect
from topology.decision.plan import AGE_UNKNOWN, plan
from topology.policy.bundle import AgeDefault
from topology.policy.overlays import TenantOverlay

CASES = request_cases()


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: f"{case.id}-{case.f[0].cat}")
def test_a_worked_example_gets_its_mode_and_ceiling(case: Case) -> None:
    made = case.plan()
    assert (made.mode, min(made.ceilings.values())) == (case.mode, case.C)


def test_all_seventy_examples_are_there(record_property: Callable[[str, object], None]) -> None:
    assert sorted(CASES) == list(range(1, 71))
    made = {case.id: case.plan() for case in CASES.values()}
    fitting = [
        case
        for case in CASES.values()
        if (made[case.id].mode, min(made[case.id].ceilings.values())) == (case.mode, case.C)
    ]
    record_property("worked examples planned as expected", len(fitting))


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: str(case.id))
def test_a_plan_repeats_bit_for_bit_and_cites_its_rules(case: Case) -> None:
    made = case.plan()
    assert made == case.plan()
    assert len(made.plan_hash) == 64
    for name in made.ceilings:
        assert any(rule.endswith(f":{name}") for rule in made.rule_ids)


@pytest.mark.parametrize(("case_id", "is_reviewed"), [(10, True), (34, True), (35, False), (67, True), (11, False)])
def test_only_the_worst_requests_are_reviewed_whatever_the_mode(case_id: int, is_reviewed: bool) -> None:
    assert CASES[case_id].plan().side_effects == ((SideEffect.HUMAN_REVIEW,) if is_reviewed else ())


@pytest.mark.parametrize(("case_id", "is_reported"), [(10, True), (34, True), (35, False), (67, True), (11, False)])
def test_an_account_is_signalled_only_if_two_independent_sources_agree(case_id: int, is_reported: bool) -> None:
    case = CASES[case_id]
    for sources, is_signalled in ((("a",), False), (("a", "a"), False), (("a", "b"), is_reported)):
        found = tuple(structs.replace(finding, sources=sources) for finding in case.labels().findings)
        seen = structs.replace(case.labels(), findings=found, risk_sources=sources)
        made = plan(bundle(), seen, overlay=case.tenant(), user=case.user(), grants=())
        assert (SideEffect.ACCOUNT_SIGNAL in made.side_effects) is is_signalled


def test_a_crisis_owes_a_crisis_line_and_offers_to_stay() -> None:
    made = CASES[29].plan()
    assert made.must_include == ("acknowledgement", "crisis_line")
    assert "supportive_presence" in made.must_offer
    assert "methods_and_means" in made.withhold


def test_a_teen_who_is_limited_is_pointed_to_an_adult_and_others_are_not() -> None:
    assert "teen_support" in CASES[36].plan().must_include
    assert "teen_support" not in CASES[34].plan().must_include


def test_advice_with_substance_owes_a_referral() -> None:
    assert "referral" in CASES[51].plan().must_include


def test_transformed_text_comes_with_its_constraints() -> None:
    assert {"no_new_detail", "no_repair", "no_fetch", "information_only"} <= set(CASES[60].plan().withhold)


def test_a_hard_refusal_offers_nothing() -> None:
    assert CASES[10].plan().must_offer == ()


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: str(case.id))
def test_what_a_plan_names_has_words(case: Case) -> None:
    made = case.plan()
    assert set(made.withhold) <= bundle().withholds.keys()
    assert set(made.must_include) <= bundle().obligations.keys()
    assert set(made.must_offer) <= bundle().offers.keys()


def planned_for(user: UserContext, finding: RequestFinding, grants: frozenset[str], overlay: TenantOverlay) -> Plan:
    return plan(bundle(), labels(finding), overlay=overlay, user=user, grants=grants)


@pytest.mark.parametrize("grants", [frozenset[str](), frozenset({"cyber_trusted_access"})])
@pytest.mark.parametrize("asked", [1, 2, 3, 4])
@pytest.mark.parametrize("default", [AgeDefault.ADULT, AgeDefault.TEEN])
@pytest.mark.parametrize("category", ["cyber.offense", "drugs.use", "sexual.explicit", "hate"])
def test_the_unknown_age_is_named_exactly_if_an_adult_would_have_got_more(
    category: str, asked: int, default: AgeDefault, grants: frozenset[str]
) -> None:
    overlay = structs.replace(OPEN, age_default=default)
    finding = RequestFinding(category=CategoryId(category), harm=3, asked_detail=asked)
    unknown = planned_for(UserContext(), finding, grants, overlay)
    grown = planned_for(ADULT, finding, grants, overlay)
    (level,), (grown_level,) = unknown.ceilings.values(), grown.ceilings.values()
    is_stricter = (unknown.mode, min(asked, level)) != (grown.mode, min(asked, grown_level))
    assert (AGE_UNKNOWN in unknown.reasons) is is_stricter
    assert AGE_UNKNOWN not in grown.reasons
    assert AGE_UNKNOWN not in planned_for(TEEN, finding, grants, overlay).reasons


def test_a_grant_that_only_the_unknown_age_bars_is_named() -> None:
    finding = RequestFinding(category=CategoryId("cyber.offense"), harm=3, asked_detail=3)
    adults = structs.replace(OPEN, age_default=AgeDefault.ADULT)
    granted = frozenset({"cyber_trusted_access"})
    assert AGE_UNKNOWN in planned_for(UserContext(), finding, granted, adults).reasons
    assert AGE_UNKNOWN not in planned_for(UserContext(), finding, frozenset(), adults).reasons


def test_a_request_of_which_a_marked_part_is_unread_is_dual_use_at_least() -> None:
    finding = RequestFinding(category=CategoryId("cyber.offense"), harm=3, intent=Intent.BENIGN, asked_detail=3)

    def made(found: RequestFinding, partial: PartlyRead | None) -> Plan:
        seen = structs.replace(labels(found), partly_read=partial)
        return plan(bundle(), seen, overlay=OPEN, user=UserContext(), grants=())

    unmarked = PartlyRead(read=64, windows=300)
    marked = structs.replace(unmarked, marked_unread=1)
    assert made(finding, unmarked) == made(finding, None)
    assert made(finding, marked) == made(structs.replace(finding, intent=Intent.DUAL_USE), None)
    hostile = structs.replace(finding, intent=Intent.MALICIOUS)
    assert made(hostile, marked) == made(hostile, None)
