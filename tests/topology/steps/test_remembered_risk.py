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
from topology.contract.labels import ANSWER, Confidence, Intent, Leaning, Mode, OutputLabels, Urgency, Vulnerability
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


def test_a_line_that_was_named_counts_for_the_next_two_answers() -> None:
    out = OutputLabels(guards=GUARDS, obligations_present=("acknowledgement",))
    request = labels(vulnerability=Vulnerability.ACUTE_SELF_HARM)

    def rules(state: ConversationState) -> tuple[str, ...]:
        return judge(
            bundle(),
            planned(request, state),
            request,
            out,
            overlay=OPEN,
            user=ADULT,
            grants=(),
            attempts=1,
            revisions_max=2,
            state=state,
        ).rule_ids

    state = after(EMPTY, request, names_line=True)
    for _ in range(DECAY.line_answers):
        assert rules(state) == ("V99",)
        state = after(state, request)
    assert rules(state) == ("V10a",)


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
