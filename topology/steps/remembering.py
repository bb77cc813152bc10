"""The state of a conversation from one turn to the next: what a turn adds to it, and what fades.

    state of the last turn ─► recalled ─► plan, judge ─► decision ─► folded ─► record, in the event's own transaction

A turn that failed adds what its request showed, but not its event, so that the event is answered when it is put back.
"""

from dataclasses import dataclass

from msgspec import Struct, structs

from topology.contract.codec import encode
from topology.contract.conversation import (
    EMPTY,
    FLOOR_MODES,
    INTENTS,
    AskedFinding,
    CategoryMemory,
    ConversationState,
    RiskMemory,
    SeenEvent,
    Shown,
    stricter,
)
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Intent,
    Leaning,
    Level,
    Mode,
    OutputFinding,
    Plan,
    RequestLabels,
    RiskSubject,
    Signal,
    Urgency,
    Vulnerability,
)
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason
from topology.decision.ceilings import SERIOUS_HARM, floored, harm_of, is_serious, reckoned_harm, reckoned_intent
from topology.decision.plan import CRISIS_LINE
from topology.decision.risks import touched_risk
from topology.policy.bundle import Decay, PolicyBundle
from topology.ports import ConversationStates
from topology.steps.audit import DRAFT_SOURCES, TextDigest, audit_id, well_formed
from topology.steps.canary import spent
from topology.steps.case import Case, Decision

UNASKED_CEILING: Level = 2
"""The ceiling of a category that the request was not labelled with: none is planned, and its answers count from D2."""

CONCEPTS: Level = 1
"""The level of concepts: what a thing is and why it is dangerous. Such answers never add up if no more was asked; from
D2 on, answers can be put together."""

NOTHING = CategoryMemory()
NEVER = Shown()
HOUR_MS = 3_600_000
ASKED_MAX = 8
"""The findings of the last request that are remembered."""

ASKS_NOTHING = (Leaning.CLOSES, Leaning.DENIES)
"""The turns after which what was asked before can still be taken up."""

NOT_ANSWERED = (ActionReason.GUARD_FAILED, ActionReason.CLIENT_GONE)
"""The reasons without a dead letter for which an event is not remembered: it is answered when it is sent again."""

SELF_HARM_RISKS = {Vulnerability.AT_RISK, Vulnerability.ACUTE_SELF_HARM}
WITH_LINE = {*SELF_HARM_RISKS, Vulnerability.HARM_TO_OTHERS}
"""The remembered risks for which an answer on another subject names a line once."""

EVENT_BYTES_MAX = 1024
"""Upper bound of one remembered event's encoded size (ids of 128 characters of up to six bytes): dividing an excess by
it never drops more events than needed."""

_YOUNG = (AgeBand.TEEN, AgeBand.UNDER13)
_AGES = tuple(AgeBand)
_MODES = tuple(Mode)


class Turn(Struct, frozen=True, kw_only=True):
    """The meaning of a decided event for its conversation. `findings` are those of the text that its readers saw.

    `names_line`: the answer names a help line. `event` is None if the event is not to be remembered, because it failed.
    `answered` is the digest of the answer's text.
    """

    tenant_id: str
    labels: RequestLabels
    plan: Plan
    findings: tuple[OutputFinding, ...] = ()
    names_line: bool = False
    event: SeenEvent | None = None
    answered: str = ""


class StateBounds(Struct, frozen=True, kw_only=True):
    """The bounds of a state: milliseconds since its last turn, encoded bytes, events.

    Every `answers_at_ceiling_max` serious answers at the ceiling of a category lower it by one. `canary_age_max_ms` is
    how long a canary's mark is valid.
    """

    ttl_ms: int = 7 * 24 * 3600 * 1000
    bytes_max: int = 8 * 1024
    events_max: int = 32
    answers_at_ceiling_max: int = 2
    canary_age_max_ms: int = 3600 * 1000


@dataclass(frozen=True, slots=True)
class Memory:
    """The states of conversations, and the bounds on them."""

    states: ConversationStates
    bounds: StateBounds

    def recall(self, case: Case, now_ms: int) -> ConversationState:
        """Return the state with which an event's turn begins."""
        record, event = case.record, case.event
        found = self.states.state_of((record.topic, record.partition), event.conversation_id)
        return recalled(found, event.tenant_id, case.bundle.memory, now_ms, self.bounds.ttl_ms)

    def fold(self, case: Case, decision: Decision, now_ms: int, digest: TextDigest) -> ConversationState:
        """Return the state with which the turn ends; the same object if the turn adds nothing."""
        candidate = case.event.candidate
        if decision.reason is ActionReason.UNSEEN or (candidate is not None and not candidate.is_turn):
            return case.state if _is_failed(decision) else noted(case, now_ms, self.bounds)
        turn = turn_of(case, decision, digest)
        return case.state if turn is None else folded(case.state, turn, case.bundle, now_ms, self.bounds)

    def spend(self, case: Case, now_ms: int) -> ConversationState:
        """Return the state after a canary: nothing is added but that it was used, so that a copy of it is none."""
        return spent(self.recall(case, now_ms), case.event, case.record, now_ms, self.bounds.canary_age_max_ms)


def recalled(state: ConversationState, tenant_id: str, decay: Decay, now_ms: int, ttl_ms: int) -> ConversationState:
    """Return the state for a turn at `now_ms`: without what is forgotten by then, and without another tenant's events.

    Everything else that was shown under another tenant still makes this tenant's plans more cautious.
    """
    if state is EMPTY or now_ms - state.updated_ms > ttl_ms:
        return EMPTY
    if state.tenant_id not in {"", tenant_id}:
        state = structs.replace(state, tenant_id=tenant_id, events=())
    risk = _faded(state, decay, now_ms)
    return structs.replace(
        state,
        categories={
            name: memory
            for name, each in state.categories.items()
            if (memory := _without_shown(each, state, decay, now_ms)) != NOTHING
        },
        shown_signals={
            signal: shown
            for signal, shown in state.shown_signals.items()
            if not _is_forgotten(shown, state, decay, now_ms)
        },
        risk=risk,
        owes_line=state.owes_line and risk is not None,
        canaries=tuple(used for used in state.canaries if used.until_ms >= now_ms),
    )


def _is_forgotten(shown: Shown, state: ConversationState, decay: Decay, now_ms: int) -> bool:
    """Return whether both the turns and the hours for which something is remembered are over."""
    turns_since = state.turns + 1 - shown.turn
    return turns_since > decay.turns and now_ms - shown.at_ms > decay.hours * HOUR_MS


def _without_shown(memory: CategoryMemory, state: ConversationState, decay: Decay, now_ms: int) -> CategoryMemory:
    """Return the memory without what was shown, once that is forgotten; what was released stays."""
    if memory.shown == NEVER or not _is_forgotten(memory.shown, state, decay, now_ms):
        return memory
    return structs.replace(memory, harm=0, intent=Intent.BENIGN, shown=NEVER)


def _faded(state: ConversationState, decay: Decay, now_ms: int) -> RiskMemory | None:
    """Return the risk that is left: an acute one becomes `at_risk` after some turns, unless an act had begun."""
    risk = state.risk
    if risk is None or _is_forgotten(risk.shown, state, decay, now_ms):
        return None
    is_quiet = state.turns - risk.shown.turn >= decay.acute_turns
    if risk.vulnerability is Vulnerability.ACUTE_SELF_HARM and is_quiet and not risk.has_begun:
        return structs.replace(risk, vulnerability=Vulnerability.AT_RISK)
    return risk


def turn_of(case: Case, decision: Decision, digest: TextDigest) -> Turn | None:
    """Return what `decision` adds to the state; None if the request could not be assessed and planned."""
    if case.labels is None or case.plan is None:
        return None
    event_id = case.event.event_id
    drafted = case.attempts[-1].labels if decision.answer.source in DRAFT_SOURCES else None
    named = case.plan.must_include if drafted is None else drafted.obligations_present
    shown = () if case.streamed is None else tuple(case.streamed.findings.values())
    return Turn(
        tenant_id=case.event.tenant_id,
        labels=case.labels,
        plan=case.plan,
        findings=shown if drafted is None else drafted.findings,
        names_line=CRISIS_LINE in named,
        event=None
        if _is_failed(decision)
        else SeenEvent(event_id=event_id, audit_id=audit_id(position_of(case.record), event_id)),
        answered=digest(well_formed(decision.answer.text)),
    )


def noted(case: Case, now_ms: int, bounds: StateBounds) -> ConversationState:
    """Return the state of a conversation that remembers no more of an event than that it was answered."""
    state, event_id = case.state, case.event.event_id
    seen = SeenEvent(event_id=event_id, audit_id=audit_id(position_of(case.record), event_id))
    added = structs.replace(
        state,
        tenant_id=case.event.tenant_id,
        updated_ms=max(now_ms, state.updated_ms),
        events=(*state.events, seen)[-bounds.events_max :],
    )
    return _within(added, bounds.bytes_max)


def _is_failed(decision: Decision) -> bool:
    return decision.failure is not None or decision.reason in NOT_ANSWERED


def folded(
    state: ConversationState, turn: Turn, bundle: PolicyBundle, now_ms: int, bounds: StateBounds
) -> ConversationState:
    """Return the state after a turn. The same turns in the same order give the same state, bit for bit."""
    labels = turn.labels
    now = Shown(turn=state.turns + 1, at_ms=max(now_ms, state.updated_ms))
    signals = [signal for signal in labels.signals if signal is not Signal.INJECTION]
    risk = _risk(state, labels, bundle, now)
    events = state.events if turn.event is None else (*state.events, turn.event)[-bounds.events_max :]
    return _within(
        ConversationState(
            tenant_id=turn.tenant_id,
            turns=now.turn,
            updated_ms=now.at_ms,
            categories=_categories(state, turn, bundle, now, bounds),
            shown_signals=state.shown_signals | dict.fromkeys(signals, now),
            risk=risk,
            line_answers=bundle.memory.line_answers if turn.names_line else max(0, state.line_answers - 1),
            owes_line=risk is not None
            and risk.vulnerability in WITH_LINE
            and (risk is not state.risk or touched_risk(bundle, labels, state) is not None),
            age_band=_youngest(state.age_band, labels.age_band),
            asked=state.asked if labels.leaning in ASKS_NOTHING else _asked(labels),
            events=events,
            answered=turn.answered,
            canaries=state.canaries,
        ),
        bounds.bytes_max,
    )


def _asked(labels: RequestLabels) -> tuple[AskedFinding, ...]:
    return tuple(
        [
            AskedFinding(
                category=finding.category,
                harm=finding.harm,
                intent=floored(finding.intent, labels.signals),
                asked_detail=finding.asked_detail,
            )
            for finding in labels.findings[:ASKED_MAX]
        ]
    )


def _categories(
    state: ConversationState, turn: Turn, bundle: PolicyBundle, now: Shown, bounds: StateBounds
) -> dict[CategoryId, CategoryMemory]:
    remembered = dict(state.categories)
    for finding in turn.labels.findings:
        intent = floored(finding.intent, turn.labels.signals)
        harm = harm_of(bundle.categories[finding.category], finding.harm)
        if intent is Intent.MALICIOUS or harm >= SERIOUS_HARM:
            memory = remembered.get(finding.category, NOTHING)
            remembered[finding.category] = structs.replace(
                memory, harm=max(harm, memory.harm), intent=stricter(intent, memory.intent), shown=now
            )
    for finding in turn.findings:
        if finding.category in bundle.categories and finding.detail_hi:
            memory = remembered.get(finding.category, NOTHING)
            remembered[finding.category] = structs.replace(memory, released=max(memory.released, finding.detail_hi))
    for name in {finding.category for finding in turn.findings if _adds_up(finding, state, turn, bundle)}:
        count = remembered[name].at_ceiling_count + 1
        spent = min(4, count // bounds.answers_at_ceiling_max)
        remembered[name] = structs.replace(remembered[name], at_ceiling_count=count, spent=spent)
    return {name: memory for name, memory in remembered.items() if memory != NOTHING}


def _adds_up(finding: OutputFinding, state: ConversationState, turn: Turn, bundle: PolicyBundle) -> bool:
    """Return whether a published finding was serious, at or above its ceiling, and of use beside other answers."""
    category = bundle.categories.get(finding.category)
    level = turn.plan.ceilings.get(finding.category, UNASKED_CEILING)
    if category is None or finding.detail_hi < max(1, level):
        return False
    asked = [one for one in turn.labels.findings if one.category == finding.category]
    if level <= CONCEPTS and max([one.asked_detail for one in asked], default=0) <= level:
        return False
    harm = max([finding.harm, *[reckoned_harm(bundle, one, state) for one in asked]])
    intents = [reckoned_intent(bundle, one, turn.labels.signals, state) for one in asked] or [Intent.DUAL_USE]
    return any(is_serious(category, harm, intent) for intent in intents)


def _risk(state: ConversationState, labels: RequestLabels, bundle: PolicyBundle, now: Shown) -> RiskMemory | None:
    """Return the risk with the strictest mode; signs of self-harm of any degree are new signs of an acute one.

    A risk that is shown again is the user's own if it was once. A stricter one replaces it, and an equally strict one
    unless that is another's and the remembered one the user's own.
    """
    forced = [bundle.categories[finding.category].force_mode for finding in labels.findings]
    shown = Vulnerability.ACUTE_SELF_HARM if Mode.CRISIS_SUPPORT in forced else labels.vulnerability
    if Vulnerability.HARM_TO_OTHERS is labels.vulnerability:
        shown = Vulnerability.HARM_TO_OTHERS
    if shown not in FLOOR_MODES:
        return state.risk
    older, has_begun = state.risk, labels.urgency is Urgency.NOW
    if older is None:
        return RiskMemory(vulnerability=shown, shown=now, has_begun=has_begun, subject=labels.risk_subject)
    # A category that forces the mode says nothing of whose risk it is.
    subject = labels.risk_subject if labels.vulnerability in FLOOR_MODES else older.subject
    margin = _strictness(shown) - _strictness(older.vulnerability)
    if shown is older.vulnerability or {shown, older.vulnerability} <= SELF_HARM_RISKS:
        return RiskMemory(
            vulnerability=shown if margin > 0 else older.vulnerability,
            shown=now,
            has_begun=has_begun or older.has_begun,
            subject=subject if older.subject is RiskSubject.OTHER else older.subject,
        )
    is_displaced = margin > 0 if _is_anothers(subject, older) else margin >= 0
    return RiskMemory(vulnerability=shown, shown=now, has_begun=has_begun, subject=subject) if is_displaced else older


def _is_anothers(subject: RiskSubject, older: RiskMemory) -> bool:
    return subject is RiskSubject.OTHER and older.subject is RiskSubject.SELF


def _strictness(vulnerability: Vulnerability) -> int:
    return _MODES.index(FLOOR_MODES.get(vulnerability, Mode.DIRECT_ANSWER))


def _youngest(before: AgeBand, now: AgeBand) -> AgeBand:
    """Return the youngest age stated; a young one that was stated once stays."""
    return max(before, now, key=_AGES.index) if now in _YOUNG else before


def _within(state: ConversationState, bytes_max: int) -> ConversationState:
    """Return the state in at most `bytes_max`, if possible: the oldest events are dropped first, then whole categories.

    Categories that lower no ceiling are dropped first, then those that lower one least. Age, risk and signals, which
    concern the person, stay, and so do used canaries.
    """
    while (excess := len(encode(state)) - bytes_max) > 0:
        if state.events:
            state = structs.replace(state, events=state.events[1 + excess // EVENT_BYTES_MAX :])
        elif state.categories:
            kept = sorted(state.categories.items(), key=_weight)[1:]
            state = structs.replace(state, categories=dict(kept))
        elif state.asked:
            state = structs.replace(state, asked=())
        else:
            break
    return state


def _weight(remembered: tuple[CategoryId, CategoryMemory]) -> tuple[Level, int, Level, str]:
    name, memory = remembered
    return memory.spent, INTENTS.index(memory.intent), memory.released, name
