"""A risk that a conversation remembers: where it keeps its mode, how it fades, and what a turn takes up again."""

import pytest
from msgspec.structs import replace

from tests.topology.decision.policy_world import ADULT, GUARDS, OPEN, bundle, labels
from tests.topology.steps.test_conversation_state import (
    DECAY,
    TOMORROW_MS,
    TOUCHING,
    WEAPONS,
    after,
    asked,
    conversation,
    later,
    planned,
)
from topology.contract.conversation import EMPTY, FLOOR_MODES, ConversationState
from topology.contract.labels import (
    ANSWER,
    Confidence,
    Intent,
    Leaning,
    Mode,
    OutputLabels,
    RequestLabels,
    RiskSubject,
    SideEffect,
    Urgency,
    Vulnerability,
)
from topology.decision.judge import judge
from topology.steps.remembering import WITH_LINE
from topology.steps.taking_up import with_asked, without_answer


@pytest.mark.parametrize(("risk", "mode"), FLOOR_MODES.items())
def test_somebody_at_risk_keeps_that_mode_for_the_next_turns(risk: Vulnerability, mode: Mode) -> None:
    state = after(EMPTY, labels(vulnerability=risk))
    for _ in range(DECAY.acute_turns):
        assert planned(TOUCHING, state).mode is mode
        assert "M8" in planned(TOUCHING, state).rule_ids
        assert planned(TOUCHING, state).side_effects == ()
        state = after(state, TOUCHING)
    for _ in range(DECAY.turns - DECAY.acute_turns):
        assert planned(TOUCHING, state).mode is not Mode.DIRECT_ANSWER
        state = after(state, TOUCHING)
    assert planned(TOUCHING, later(state, TOMORROW_MS)) == planned(TOUCHING)


@pytest.mark.parametrize("risk", FLOOR_MODES)
def test_on_another_subject_somebody_at_risk_is_answered_and_told_a_line_once(risk: Vulnerability) -> None:
    state = after(EMPTY, labels(vulnerability=risk))
    made = planned(labels(), state)
    assert made.mode is Mode.DIRECT_ANSWER
    assert ("crisis_line" in made.must_include) is (risk in WITH_LINE)
    assert "crisis_line" not in planned(labels(), after(state, labels())).must_include
    assert planned(TOUCHING, after(state, labels())).mode is not Mode.DIRECT_ANSWER


def test_an_acute_crisis_fades_after_two_quiet_turns_and_never_where_an_act_had_begun() -> None:
    for urgency, then in ((None, Vulnerability.AT_RISK), (Urgency.NOW, Vulnerability.ACUTE_SELF_HARM)):
        state = after(EMPTY, replace(labels(vulnerability=Vulnerability.ACUTE_SELF_HARM), urgency=urgency))
        seen = [state.vulnerability]
        for _ in range(2):
            state = after(state, TOUCHING)
            seen.append(state.vulnerability)
        assert seen == [Vulnerability.ACUTE_SELF_HARM, Vulnerability.ACUTE_SELF_HARM, then]


def test_new_signs_keep_an_acute_crisis_acute() -> None:
    state = after(EMPTY, labels(vulnerability=Vulnerability.ACUTE_SELF_HARM))
    for _ in range(4):
        state = after(state, labels(vulnerability=Vulnerability.AT_RISK))
        assert state.vulnerability is Vulnerability.ACUTE_SELF_HARM


def rules_without_a_line(request: RequestLabels, state: ConversationState) -> tuple[str, ...]:
    """The rules that decide on a draft that takes the person seriously, and names no line."""
    return judge(
        bundle(),
        planned(request, state),
        request,
        OutputLabels(guards=GUARDS, obligations_present=("acknowledgement",)),
        overlay=OPEN,
        user=ADULT,
        grants=(),
        attempts=1,
        revisions_max=2,
        state=state,
    ).rule_ids


ACUTE = labels(vulnerability=Vulnerability.ACUTE_SELF_HARM)


def test_a_line_that_was_named_counts_for_the_next_two_answers() -> None:
    state = after(EMPTY, ACUTE, names_line=True)
    for _ in range(DECAY.line_answers):
        assert rules_without_a_line(TOUCHING, state) == ("V99",)
        state = after(state, TOUCHING)
    assert rules_without_a_line(TOUCHING, state) == ("V10a",)


@pytest.mark.parametrize("signs", [ACUTE, asked(harm=4, category="self_harm.intent")])
def test_new_signs_of_an_acute_risk_owe_the_line_anew(signs: RequestLabels) -> None:
    state = after(EMPTY, ACUTE, names_line=True)
    assert rules_without_a_line(signs, state) == ("V10a",)
    assert rules_without_a_line(labels(vulnerability=Vulnerability.AT_RISK), state) == ("V99",)


def test_a_turn_that_only_carries_on_has_the_findings_of_what_was_asked() -> None:
    state = conversation((asked(intent=Intent.MALICIOUS, detail=3), 0))
    leaning = replace(labels(), leaning=Leaning.CONTINUES, leans=True)
    carried = with_asked(leaning, state)
    (finding,) = carried.findings
    assert (finding.category, finding.intent, finding.asked_detail) == (WEAPONS, Intent.MALICIOUS, 3)
    assert planned(carried, state).mode is Mode.REFUSE_REDIRECT
    again = after(state, carried)
    assert with_asked(leaning, again).findings == carried.findings
    assert with_asked(leaning, EMPTY).findings == ()
    unheld = replace(asked(), leaning=Leaning.CONTINUES, leans=True)
    assert with_asked(unheld, EMPTY).findings[0].confidence is Confidence.LOW
    assert with_asked(leaning, after(state, labels())).findings == (), "a new request takes its place"


def test_a_category_that_forces_the_crisis_mode_is_remembered_as_a_risk() -> None:
    state = after(EMPTY, asked(harm=4, category="self_harm.intent"))
    assert planned(TOUCHING, state).mode is Mode.CRISIS_SUPPORT


def test_a_lesser_risk_does_not_end_a_greater_one() -> None:
    state = after(EMPTY, labels(vulnerability=Vulnerability.ACUTE_SELF_HARM))
    after_danger = after(state, labels(vulnerability=Vulnerability.IMMINENT_DANGER))
    assert after_danger.vulnerability is Vulnerability.ACUTE_SELF_HARM


@pytest.mark.parametrize("quiet", [Leaning.CLOSES, Leaning.DENIES])
def test_what_was_asked_can_still_be_taken_up_after_a_turn_that_asks_for_nothing(quiet: Leaning) -> None:
    state = after(EMPTY, asked(intent=Intent.MALICIOUS))
    state = after(state, replace(labels(), leaning=quiet))
    carried = with_asked(replace(labels(), leaning=Leaning.AGREES), state)
    assert planned(carried, state).mode is Mode.REFUSE_REDIRECT


def test_what_was_asked_counts_whatever_the_event_says_was_asked() -> None:
    state = after(EMPTY, asked(intent=Intent.MALICIOUS, harm=4))
    for claimed in (labels(), asked(intent=Intent.BENIGN, harm=2, detail=1), asked(category="hate")):
        carried = with_asked(replace(claimed, leaning=Leaning.CONTINUES), state)
        (found,) = [one for one in carried.findings if one.category == WEAPONS]
        assert (found.harm, found.intent, found.asked_detail) == (4, Intent.MALICIOUS, 3)
    own = with_asked(replace(labels(), leaning=Leaning.NONE), state)
    assert own.findings == (), "a turn with content takes nothing up"


def test_only_what_an_answer_says_is_dropped_for_one_that_was_published() -> None:
    request, told = asked(), asked(category="hate")
    (answered,) = [replace(one, sources=(ANSWER,)) for one in told.findings]
    both = replace(request, findings=(*request.findings, answered))
    assert without_answer(both) == request
    assert without_answer(request) is request


@pytest.mark.parametrize("risk", FLOOR_MODES)
def test_closing_right_after_a_turn_of_risk_leaves_its_obligations(risk: Vulnerability) -> None:
    state = after(EMPTY, labels(vulnerability=risk), names_line=True)
    closing = replace(labels(), leaning=Leaning.CLOSES)
    made = planned(closing, state)
    assert made.mode is FLOOR_MODES[risk]
    assert set(planned(TOUCHING, state).must_include) == set(made.must_include)
    elsewhere = after(after(state, labels()), labels())
    assert planned(closing, elsewhere).mode is Mode.DIRECT_ANSWER, "it closes another subject"


def test_a_denial_after_an_act_had_begun_is_told_whom_to_call_now() -> None:
    begun = replace(ACUTE, urgency=Urgency.NOW)
    denial = replace(TOUCHING, leaning=Leaning.DENIES)
    assert "emergency_number" in planned(denial, after(EMPTY, begun)).must_include
    assert "emergency_number" not in planned(denial, after(EMPTY, ACUTE)).must_include
    assert "emergency_number" not in planned(labels(), after(EMPTY, begun)).must_include, "on another subject"


def helped(request: RequestLabels, state: ConversationState = EMPTY) -> bool:
    """Whether the answer speaks to somebody who worries about another person."""
    return "helper" in planned(request, state).style_profile.split("+")


OTHERS = replace(ACUTE, risk_subject=RiskSubject.OTHER)


def test_a_remembered_risk_stays_the_one_of_whom_it_was() -> None:
    for shown, is_anothers in ((OTHERS, True), (ACUTE, False)):
        state = after(EMPTY, shown)
        assert helped(TOUCHING, state) is is_anothers
        distressed = replace(TOUCHING, vulnerability=Vulnerability.DISTRESS)
        assert helped(distressed, state) is is_anothers, "to worry is no danger"


@pytest.mark.parametrize(("first", "second"), [(OTHERS, ACUTE), (ACUTE, OTHERS)])
def test_the_users_own_risk_wins_over_the_one_of_somebody_else(first: RequestLabels, second: RequestLabels) -> None:
    state = after(EMPTY, first)
    assert not helped(second, state)
    assert not helped(TOUCHING, after(state, second))


def test_somebody_elses_threat_does_not_take_the_place_of_the_users_own_crisis() -> None:
    threat = replace(labels(vulnerability=Vulnerability.HARM_TO_OTHERS), risk_subject=RiskSubject.OTHER)
    state = after(after(EMPTY, ACUTE), threat)
    assert state.vulnerability is Vulnerability.ACUTE_SELF_HARM
    at_risk = after(EMPTY, labels(vulnerability=Vulnerability.AT_RISK))
    assert after(at_risk, threat).vulnerability is Vulnerability.HARM_TO_OTHERS, "a stricter one does"


def test_a_category_that_forces_the_crisis_mode_leaves_the_subject_as_it_was() -> None:
    state = after(after(EMPTY, OTHERS), asked(harm=4, category="self_harm.intent"))
    assert helped(TOUCHING, state)


@pytest.mark.parametrize(
    ("subject", "effects"),
    [
        (RiskSubject.SELF, (SideEffect.ACCOUNT_SIGNAL, SideEffect.HUMAN_REVIEW)),
        (RiskSubject.OTHER, (SideEffect.HUMAN_REVIEW,)),
    ],
)
def test_who_reports_the_threat_of_another_is_not_signalled(
    subject: RiskSubject, effects: tuple[SideEffect, ...]
) -> None:
    threat = replace(
        labels(vulnerability=Vulnerability.HARM_TO_OTHERS), risk_subject=subject, risk_sources=("encoder", "phrases")
    )
    assert planned(threat).side_effects == effects
