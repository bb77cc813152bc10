"""The policy's own words: always there, complete, and free of what the plan withholds."""

import re
from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.guards.draft_markers import has_operational_detail, is_bare_refusal
from serving.guards.obligations.markers import obligations_present
from serving.text.features import fold
from tests.effort import examples
from tests.topology.decision.policy_world import (
    ADULT,
    GUARDS,
    OPEN,
    OVERLAYS,
    REQUESTS,
    USERS,
    bundle,
    labels,
    request_cases,
)
from topology.contract.events import UserContext
from topology.contract.labels import (
    CategoryId,
    Intent,
    Mode,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    RiskSubject,
    Urgency,
    Vulnerability,
)
from topology.decision.judge import judge
from topology.decision.plan import plan
from topology.decision.templates import Kind, fallback, feedback
from topology.policy.overlays import LegalNotice, TenantOverlay

CASES = request_cases()


def planned(risk: Vulnerability, *findings: RequestFinding, **also: object) -> Plan:
    """The plan for an adult at risk, or who puts others at risk."""
    shown = msgspec.structs.replace(labels(*findings, vulnerability=risk), **also)
    return plan(bundle(), shown, overlay=OPEN, user=ADULT, grants=())


KINDS: tuple[Kind, ...] = ("safe_complete", "refuse", "withheld")
LOCALES = ("en", "en-US", "de", "de-AT", "fr_FR", "es", "pt-BR", "", "zz-9")
CRISIS, EMERGENCY, HARD, LIMITED = CASES[29].plan(), CASES[66].plan(), CASES[10].plan(), CASES[14].plan()


@examples(300)
@given(
    REQUESTS, OVERLAYS, USERS, st.sampled_from(KINDS), st.sampled_from(LOCALES), st.sampled_from(["", "US", "ES", "DE"])
)
def test_there_is_always_a_text_and_nothing_is_left_to_fill_in(
    request_labels: RequestLabels, overlay: TenantOverlay, user: UserContext, kind: Kind, locale: str, region: str
) -> None:
    made = plan(bundle(), request_labels, overlay=overlay, user=user, grants=())
    text = fallback(bundle(), made, kind=kind, locale=locale, region=region, overlay=overlay)
    assert text.strip() == text != ""
    assert not re.search(r"[{}]|\n\n\n", text)
    assert len(text) < 1500


def test_a_text_has_no_figures_but_help_numbers() -> None:
    numbers = set(re.findall(r"\d+", f"{bundle().help_lines['US'].number} {bundle().help_lines['US'].emergency}"))
    for case in CASES.values():
        for kind in KINDS:
            text = fallback(bundle(), case.plan(), kind=kind, region="US")
            assert set(re.findall(r"\d+", text)) <= numbers


@pytest.mark.parametrize("kind", KINDS)
def test_a_crisis_keeps_its_text_whatever_became_of_the_drafts(kind: Kind) -> None:
    text = fallback(bundle(), CRISIS, kind=kind, region="US")
    assert "988" in text
    assert "911" in text
    assert "can't help" not in text


@pytest.mark.parametrize(
    ("locale", "region", "number"),
    [
        ("en", "US", "988"),
        ("en", "us", "988"),
        ("es-ES", "", "024"),
        ("es", "ES", "024"),
        ("fr", "CA", "988"),
        ("en-GB", "US", "988"),
        ("de-AT", "", "142"),
        ("en", "AU", "13 11 14"),
        ("en", "NO", "116 123"),
    ],
)
def test_a_crisis_line_fits_the_region(locale: str, region: str, number: str) -> None:
    assert number in fallback(bundle(), CRISIS, kind="withheld", locale=locale, region=region)


@pytest.mark.parametrize(("locale", "region"), [("en", ""), ("de", ""), ("en", "ZZ"), ("en-Latn", "")])
def test_an_unlisted_region_gets_words_without_a_number(locale: str, region: str) -> None:
    text = fallback(bundle(), CRISIS, kind="withheld", locale=locale, region=region)
    assert not re.search(r"\d", text)
    assert bundle().templates[locale[:2]]["emergency_number_generic"] in text


def test_a_region_without_a_known_line_still_gets_its_emergency_number() -> None:
    text = fallback(bundle(), CRISIS, kind="withheld", locale="en", region="IT")
    assert re.findall(r"\d+", text) == ["112"]
    assert bundle().templates["en"]["crisis_line_generic"] in text


def test_an_emergency_says_whom_to_call_and_claims_no_call() -> None:
    text = fallback(bundle(), EMERGENCY, kind="withheld", region="ES")
    assert "112" in text
    assert "can't call anyone" in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_belief_that_lost_touch_is_neither_brushed_off_nor_confirmed(kind: Kind) -> None:
    text = fallback(bundle(), CASES[33].plan(), kind=kind)
    assert text.startswith(bundle().templates["en"]["grounding_opening"])
    assert bundle().offers["grounding"]["en"] in text
    assert text.endswith(bundle().templates["en"]["trusted_person"])


def test_who_is_in_a_crisis_that_cannot_wait_reads_the_emergency_number_first() -> None:
    text = fallback(bundle(), planned(Vulnerability.ACUTE_SELF_HARM, urgency=Urgency.NOW), kind="withheld", region="US")
    assert text.startswith(bundle().templates["en"]["emergency_number"].format(emergency="911"))
    assert text.count("911") == 1


def test_a_worried_helper_is_spoken_to_as_a_helper() -> None:
    made = planned(Vulnerability.ACUTE_SELF_HARM, risk_subject=RiskSubject.OTHER)
    text = fallback(bundle(), made, kind="withheld", region="US")
    assert text.startswith(bundle().templates["en"]["acknowledgement_helper"])
    assert bundle().templates["en"]["acknowledgement"] not in text
    assert "988" in text


def test_who_asks_for_means_to_hurt_others_reads_one_refusal_and_then_how_to_stop() -> None:
    means = RequestFinding(category=CategoryId("wrongdoing.violent"), harm=4, intent=Intent.MALICIOUS, asked_detail=3)
    made = planned(Vulnerability.HARM_TO_OTHERS, means)
    assert made.mode is Mode.HARD_REFUSE
    text = fallback(bundle(), made, kind="refuse", region="US")
    words = bundle().templates["en"]
    assert text.split("\n\n")[:2] == [words["inability"], words["pause_and_distance"]]
    assert "988" in text


def test_who_is_at_risk_is_acknowledged_and_pointed_to_a_line() -> None:
    text = fallback(bundle(), planned(Vulnerability.AT_RISK), kind="safe_complete", region="US")
    assert bundle().templates["en"]["acknowledgement"] in text
    assert "988" in text


def test_a_hard_refusal_is_one_sentence_without_an_offer() -> None:
    assert fallback(bundle(), HARD, kind="refuse") == bundle().templates["en"]["inability"]


@pytest.mark.parametrize("locale", sorted(bundle().templates))
def test_a_limited_answer_offers_in_the_readers_language(locale: str) -> None:
    assert bundle().offers[LIMITED.must_offer[0]][locale] in fallback(bundle(), LIMITED, kind="refuse", locale=locale)


def test_where_an_offer_lacks_a_language_the_general_words_stand_in() -> None:
    wordless = msgspec.structs.replace(bundle(), offers={name: {"en": "x"} for name in bundle().offers})
    assert bundle().templates["de"]["offer_generic"] in fallback(wordless, LIMITED, kind="refuse", locale="de")


def test_notices_of_the_tenant_are_carried() -> None:
    notice = LegalNotice(category=CategoryId("drugs.use"), text="Left out: local law.")
    overlay = TenantOverlay(tenant_id="t", version="1", legal_notices=(notice,), must_include=("House rules apply.",))
    made = Plan(mode=Mode.SAFE_COMPLETION, ceilings={CategoryId("drugs.use"): 1}, must_include=("legal_notice",))
    text = fallback(bundle(), made, kind="safe_complete", overlay=overlay)
    assert text.endswith("Left out: local law.\n\nHouse rules apply.")


@pytest.mark.parametrize("region", sorted(bundle().help_lines))
def test_every_help_line_says_where_it_comes_from(region: str) -> None:
    line = bundle().help_lines[region]
    assert line.source
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", line.as_of)
    assert bool(line.name) is bool(line.number)


def test_feedback_names_rules_categories_and_levels_and_nothing_else() -> None:
    case = CASES[14]
    out = OutputLabels(
        findings=(OutputFinding(category=CategoryId("weapons.conventional"), harm=3, detail_lo=3, detail_hi=3),),
        soft_violations=("preaching", "text of a user"),
        guards=GUARDS,
    )
    verdict = judge(
        bundle(), case.plan(), case.labels(), out, overlay=OPEN, user=ADULT, grants=(), attempts=1, revisions_max=2
    )
    text = feedback(bundle(), verdict, out)
    assert "weapons.conventional at detail 3" in text
    assert bundle().soft_rules["preaching"].words in text
    assert "text of a user" not in text


def test_feedback_says_what_is_still_missing() -> None:
    out = OutputLabels(guards=GUARDS)
    verdict = judge(
        bundle(), CRISIS, CASES[29].labels(), out, overlay=OPEN, user=ADULT, grants=(), attempts=1, revisions_max=2
    )
    assert bundle().obligations["crisis_line"].words in feedback(bundle(), verdict, out)


@pytest.mark.parametrize("locale", sorted(bundle().templates))
def test_the_policys_own_words_meet_its_obligations_and_carry_no_detail(locale: str) -> None:
    for case, region, kind in product(CASES.values(), ("", "US", "DE", "GB", "IT", "BR"), KINDS):
        made = plan(bundle(), case.labels(), overlay=OPEN, user=case.user(), grants=case.grants)
        text = fold(fallback(bundle(), made, kind=kind, locale=locale, region=region))
        assert set(made.must_include) <= set(obligations_present(text, region, bundle().help_lines))
        assert not has_operational_detail(text)
        assert not is_bare_refusal(text) or made.mode is Mode.HARD_REFUSE
