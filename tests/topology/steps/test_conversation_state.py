"""What a conversation showed makes its next plans more cautious, never less, fades, and stays within its bounds."""

from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.effort import examples
from tests.topology.decision.policy_world import (
    ADULT,
    CATEGORY,
    GRANTS,
    GUARDS,
    LEVELS,
    OPEN,
    OUTPUT_FINDINGS,
    OVERLAYS,
    REQUESTS,
    USERS,
    bundle,
    labels,
)
from topology.contract.codec import encode
from topology.contract.conversation import (
    EMPTY,
    FLOOR_MODES,
    CategoryMemory,
    ConversationState,
    RiskMemory,
    SeenEvent,
    Shown,
)
from topology.contract.events import UserContext
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Intent,
    Mode,
    OutputFinding,
    OutputLabels,
    Plan,
    RequestFinding,
    RequestLabels,
    RiskSubject,
    Signal,
    VerdictKind,
    Vulnerability,
)
from topology.decision.ceilings import SERIOUS_HARM
from topology.decision.judge import judge
from topology.decision.plan import plan
from topology.policy.bundle import ContentClass
from topology.policy.overlays import TenantOverlay
from topology.steps.remembering import StateBounds, Turn, folded, recalled

MODES = tuple(Mode)
WEAPONS = CategoryId("weapons.conventional")
BOUNDS = StateBounds()
DECAY = bundle().memory
HOUR_MS = 3_600_000
NOW_MS = 1_767_225_600_000
TOMORROW_MS = NOW_MS + DECAY.hours * HOUR_MS + 1
TOUCHING = replace(labels(), touches_risk=True)
"""A turn that speaks of the risk without new signs, such as a denial."""
ORDINARY = tuple(
    name
    for name, category in bundle().categories.items()
    if category.content_class is not ContentClass.PROHIBITED and category.force_mode is None
)

SHOWN = st.builds(Shown, turn=st.integers(0, 1000), at_ms=st.integers(0, NOW_MS))
MEMORIES = st.builds(
    CategoryMemory,
    released=LEVELS,
    at_ceiling_count=st.integers(0, 20),
    spent=LEVELS,
    harm=LEVELS,
    intent=st.sampled_from(Intent),
    shown=SHOWN,
)
SEEN = st.builds(SeenEvent, event_id=st.text(max_size=128), audit_id=st.uuids().map(str))
STATES = st.builds(
    ConversationState,
    tenant_id=st.just("t"),
    turns=st.integers(0, 1000),
    updated_ms=st.integers(0, NOW_MS),
    categories=st.dictionaries(CATEGORY, MEMORIES, max_size=4),
    shown_signals=st.dictionaries(st.sampled_from(Signal), SHOWN),
    risk=st.none()
    | st.builds(
        RiskMemory,
        vulnerability=st.sampled_from(tuple(FLOOR_MODES)),
        shown=SHOWN,
        has_begun=st.booleans(),
        subject=st.sampled_from(RiskSubject),
    ),
    line_answers=st.integers(0, 2),
    owes_line=st.booleans(),
    age_band=st.sampled_from((AgeBand.UNKNOWN, AgeBand.TEEN, AgeBand.UNDER13)),
    events=st.lists(SEEN, max_size=4).map(tuple),
)


def asked(
    harm: int = 3, intent: Intent = Intent.DUAL_USE, detail: int = 3, category: str = WEAPONS, **more: Any
) -> RequestLabels:
    finding = RequestFinding(category=CategoryId(category), harm=harm, intent=intent, asked_detail=detail)
    return replace(labels(finding), **more)


def planned(request: RequestLabels, state: ConversationState = EMPTY, user: UserContext = ADULT) -> Plan:
    return plan(bundle(), request, overlay=OPEN, user=user, grants=(), state=state)


def after(
    state: ConversationState,
    request: RequestLabels,
    answered: int = 0,
    bounds: StateBounds = BOUNDS,
    *,
    names_line: bool = False,
) -> ConversationState:
    """After a turn whose answer has that detail, in the first category that was asked for; recalled for the next."""
    found = [
        OutputFinding(category=one.category, harm=one.harm, detail_lo=answered, detail_hi=answered)
        for one in request.findings[:1]
    ]
    turn = Turn(
        tenant_id="t", labels=request, plan=planned(request, state), findings=tuple(found), names_line=names_line
    )
    return later(folded(state, turn, bundle(), NOW_MS, bounds))


def later(state: ConversationState, now_ms: int = NOW_MS, ttl_ms: int = BOUNDS.ttl_ms) -> ConversationState:
    """The state as the next turn finds it at that time."""
    return recalled(state, "t", bundle().memory, now_ms, ttl_ms)


def conversation(*turns: tuple[RequestLabels, int]) -> ConversationState:
    return reduce(lambda state, turn: after(state, *turn), turns, EMPTY)


@given(state=STATES, request=REQUESTS, overlay=OVERLAYS, user=USERS, grants=GRANTS)
@examples(1000)
def test_no_state_raises_a_ceiling_or_loosens_a_mode(
    state: ConversationState, request: RequestLabels, overlay: TenantOverlay, user: UserContext, grants: frozenset[str]
) -> None:
    alone = plan(bundle(), request, overlay=overlay, user=user, grants=grants)
    remembered = plan(bundle(), request, overlay=overlay, user=user, grants=grants, state=state)
    assert remembered.ceilings.keys() == alone.ceilings.keys()
    assert all(remembered.ceilings[name] <= level for name, level in alone.ceilings.items())
    wants_to_hurt = Vulnerability.HARM_TO_OTHERS in {state.vulnerability, request.vulnerability}
    assert wants_to_hurt or MODES.index(remembered.mode) >= MODES.index(alone.mode)
    assert set(alone.side_effects) <= set(remembered.side_effects)


@given(
    state=STATES,
    request=REQUESTS,
    found=st.lists(OUTPUT_FINDINGS, max_size=3, unique_by=lambda finding: finding.category),
    overlay=OVERLAYS,
    user=USERS,
    grants=GRANTS,
)
@examples(1000)
def test_what_leaves_in_a_conversation_would_leave_without_it(
    state: ConversationState,
    request: RequestLabels,
    found: list[OutputFinding],
    overlay: TenantOverlay,
    user: UserContext,
    grants: frozenset[str],
) -> None:
    out = OutputLabels(findings=tuple(found), guards=GUARDS, obligations_present=tuple(sorted(bundle().obligations)))

    def verdict(known: ConversationState) -> VerdictKind:
        made = plan(bundle(), request, overlay=overlay, user=user, grants=grants, state=known)
        ruling = judge(
            bundle(),
            made,
            request,
            out,
            overlay=overlay,
            user=user,
            grants=grants,
            attempts=1,
            revisions_max=2,
            state=known,
        )
        return ruling.verdict

    if verdict(state) is VerdictKind.PUBLISH:
        assert verdict(EMPTY) is VerdictKind.PUBLISH


@given(state=STATES, request=REQUESTS, found=st.lists(OUTPUT_FINDINGS, max_size=3), bytes_max=st.integers(600, 4000))
def test_a_fold_is_deterministic_bounded_and_forgets_no_more_of_the_person_than_time_says(
    state: ConversationState, request: RequestLabels, found: list[OutputFinding], bytes_max: int
) -> None:
    bounds = replace(BOUNDS, bytes_max=bytes_max, events_max=3)
    event = SeenEvent(event_id="e", audit_id="a")
    turn = Turn(tenant_id="t", labels=request, plan=planned(request, state), findings=tuple(found), event=event)
    one, two = (folded(state, turn, bundle(), NOW_MS, bounds) for _ in range(2))
    assert encode(one) == encode(two)
    assert len(encode(one)) <= bytes_max
    assert len(one.events) <= 3
    assert one.turns == state.turns + 1
    assert one.age_band in {state.age_band, request.age_band}
    assert set(one.signals) >= set(request.signals) - {Signal.INJECTION}


@given(st.lists(st.tuples(REQUESTS, LEVELS), max_size=6))
def test_a_benign_conversation_on_nothing_grave_is_planned_as_if_nothing_had_been_said(
    turns: list[tuple[RequestLabels, int]],
) -> None:
    def benign(request: RequestLabels) -> RequestLabels:
        findings = tuple(
            replace(one, intent=Intent.BENIGN, harm=min(one.harm, 2))
            for one in request.findings
            if one.category in ORDINARY and bundle().categories[one.category].harm[0] < SERIOUS_HARM
        )
        return labels(*findings)

    state = conversation(*[(benign(request), detail) for request, detail in turns])
    for request, _ in turns:
        assert planned(benign(request), state) == planned(benign(request))


def test_a_stated_aim_counts_for_the_next_turns_and_fades() -> None:
    state = conversation((asked(intent=Intent.MALICIOUS), 0))
    for _ in range(DECAY.turns):
        made = planned(asked(intent=Intent.BENIGN, detail=2), later(state, TOMORROW_MS))
        assert made.ceilings[WEAPONS] == 0
        assert f"C9:{WEAPONS}" in made.rule_ids
        state = after(state, labels())
    benign = asked(intent=Intent.BENIGN, detail=2)
    assert planned(benign, later(state, NOW_MS + DECAY.hours * HOUR_MS)).ceilings[WEAPONS] == 0, "turns alone are over"
    assert planned(benign, later(state, TOMORROW_MS)) == planned(benign)


def test_an_intent_counts_for_neighbours_and_harm_for_its_own_category_only() -> None:
    state = conversation((asked(harm=4, intent=Intent.MALICIOUS), 0))
    near, far = "drugs.production", "hate"
    assert planned(asked(category=near, intent=Intent.BENIGN), state).ceilings[CategoryId(near)] == 0
    assert planned(asked(category=far, intent=Intent.BENIGN), state) == planned(
        asked(category=far, intent=Intent.BENIGN)
    )
    grave = conversation((asked(harm=4, intent=Intent.BENIGN), 0))
    mild = asked(harm=2, intent=Intent.BENIGN)
    assert planned(mild, grave).ceilings[WEAPONS] == planned(asked(harm=4, intent=Intent.BENIGN)).ceilings[WEAPONS]


def test_a_dish_after_a_bomb_is_a_dish() -> None:
    state = conversation((asked(harm=4, intent=Intent.MALICIOUS), 0))
    assert planned(labels(), state) == planned(labels())


def test_a_recipe_asked_for_in_pieces_ends_after_two() -> None:
    """Every piece stays within its ceiling; together they would not."""
    state, levels = EMPTY, list[int]()
    for _ in range(4):
        level = planned(asked(), state).ceilings[WEAPONS]
        levels.append(level)
        state = after(state, asked(), level)
    assert levels == [1, 1, 0, 0]
    assert planned(asked(), state).mode is Mode.REFUSE_REDIRECT
    assert state.categories[WEAPONS].released == 1


def test_a_draft_is_held_against_the_lowered_ceiling_even_where_the_request_was_not_labelled_so() -> None:
    state = conversation((asked(), 1), (asked(), 1))
    found = OutputFinding(category=WEAPONS, harm=3, detail_lo=1, detail_hi=1)
    out = OutputLabels(findings=(found,), guards=GUARDS)

    def verdict(known: ConversationState) -> VerdictKind:
        made = planned(labels(), known)
        return judge(
            bundle(), made, labels(), out, overlay=OPEN, user=ADULT, grants=(), attempts=1, revisions_max=2, state=known
        ).verdict

    assert verdict(EMPTY) is VerdictKind.PUBLISH
    assert verdict(state) is VerdictKind.SAFE_COMPLETE


@pytest.mark.parametrize(
    ("request_labels", "answered", "why"),
    [
        (asked(detail=1), 1, "no more was asked than what a thing is"),
        (asked(intent=Intent.BENIGN, detail=2), 2, "plainly benign"),
        (asked(harm=2, detail=2), 2, "not grave"),
        (asked(category="regulated_advice.medical", detail=2), 1, "advice"),
        (asked(), 0, "nothing of substance left"),
    ],
)
def test_ordinary_answers_spend_nothing(request_labels: RequestLabels, answered: int, why: str) -> None:
    state = conversation(*[(request_labels, answered)] * 6)
    assert all(memory.spent == 0 for memory in state.categories.values()), why


def test_a_wrapper_is_remembered_and_injected_text_is_not() -> None:
    for signal, expected in ((Signal.JAILBREAK_ROLEPLAY, Intent.DUAL_USE), (Signal.INJECTION, Intent.BENIGN)):
        state = after(EMPTY, labels(signals=(signal,)))
        alone, remembered = planned(asked(intent=Intent.BENIGN)), planned(asked(intent=Intent.BENIGN), state)
        is_lower = remembered.ceilings[WEAPONS] < alone.ceilings[WEAPONS]
        assert is_lower is (expected is Intent.DUAL_USE)


def test_a_teen_stays_one_until_an_age_is_verified() -> None:
    state = after(EMPTY, replace(labels(), age_band=AgeBand.TEEN))
    state = after(state, labels())
    request = asked(intent=Intent.BENIGN, detail=2)
    unknown = UserContext()
    assert planned(request, state, unknown).ceilings[WEAPONS] == 1
    assert planned(request, EMPTY, unknown).ceilings[WEAPONS] == 2
    assert planned(request, state, ADULT) == planned(request, EMPTY, ADULT)


def test_a_state_ends_with_its_time_and_its_events_with_the_tenant() -> None:
    state = replace(conversation((asked(), 1)), events=(SeenEvent(event_id="e", audit_id="a"),))
    assert later(state, NOW_MS + 1000, ttl_ms=1000) == state
    assert later(state, NOW_MS + 1001, ttl_ms=1000) == EMPTY
    foreign = recalled(state, "other", DECAY, NOW_MS, BOUNDS.ttl_ms)
    assert foreign.events == ()
    assert foreign.categories == state.categories


def test_beyond_its_size_the_oldest_events_go_first_and_then_the_categories_that_matter_least() -> None:
    memories = {name: CategoryMemory(released=1) for name in ORDINARY[:10]}
    events = tuple(SeenEvent(event_id=f"event {number}", audit_id="a" * 36) for number in range(20))
    full = ConversationState(categories={**memories, WEAPONS: CategoryMemory(spent=2)}, events=events)
    sizes = [len(encode(full)), 1000, 300, 120]
    kept = [after(full, labels(), bounds=replace(BOUNDS, bytes_max=size)) for size in sizes]
    assert 0 < len(kept[1].events) < 20
    assert kept[1].events == events[-len(kept[1].events) :]
    assert not kept[2].events
    assert set(kept[3].categories) == {WEAPONS}
