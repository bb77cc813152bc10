"""What a turn adds to the state of its conversation, what of it fades, and the record that carries it on.

    state of the last turn ─► recalled ─► plan, judge ─► decision ─► folded ─► record, in the event's own transaction

A turn that failed leaves what its request showed, but not its event: put back, it is answered.
"""

from dataclasses import dataclass

from msgspec import Struct, structs

from topology.contract.codec import encode
from topology.contract.conversation import (
    EMPTY,
    FLOOR_MODES,
    INTENTS,
    CategoryMemory,
    ConversationState,
    SeenEvent,
    stricter,
)
from topology.contract.events import ConversationEvent
from topology.contract.labels import (
    AgeBand,
    CategoryId,
    Intent,
    Level,
    Mode,
    OutputFinding,
    Plan,
    RequestLabels,
    Signal,
    Vulnerability,
)
from topology.contract.lineage import position_of
from topology.contract.names import ActionReason
from topology.contract.records import Record
from topology.decision.ceilings import floored, is_serious, reckoned_intent
from topology.policy.bundle import Family, PolicyBundle
from topology.ports import ConversationStates
from topology.steps.audit import DRAFT_SOURCES, audit_id
from topology.steps.case import Case, Decision

UNASKED_CEILING: Level = 2
"""A category that the request was not labelled with has no planned ceiling: its answers count from D2 on."""

CONCEPTS: Level = 1
"""D1 says what a thing is and why it is dangerous. Any number of such answers, where no more was asked, adds up to
nothing; from D2 on they can be put together."""

NOTHING = CategoryMemory()

EVENT_BYTES_MAX = 1024
"""More than an event takes: ids of 128 characters, each at most six bytes. So that many dropped are never too many."""

_YOUNG = (AgeBand.TEEN, AgeBand.UNDER13)
_AGES = tuple(AgeBand)
_MODES = tuple(Mode)


class Turn(Struct, frozen=True, kw_only=True):
    """What a decided event means to its conversation. `findings` are those of a draft that left, if one did.

    `event` is None where the event is not to be remembered, because it failed.
    """

    tenant_id: str
    labels: RequestLabels
    plan: Plan
    findings: tuple[OutputFinding, ...] = ()
    event: SeenEvent | None = None


class StateBounds(Struct, frozen=True, kw_only=True):
    """How long a state lasts and what it may hold: milliseconds since its last turn, encoded bytes, events, turns.

    `caution_turns` is how long intents and signals are remembered, `crisis_turns` how long somebody at risk is.
    `answers_at_ceiling_max` serious answers at the ceiling of a category lower it by one.
    """

    ttl_ms: int = 24 * 3600 * 1000
    bytes_max: int = 8 * 1024
    events_max: int = 32
    caution_turns: int = 10
    crisis_turns: int = 2
    answers_at_ceiling_max: int = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """The states of conversations, and the bounds on them."""

    states: ConversationStates
    bounds: StateBounds

    def recall(self, record: Record, event: ConversationEvent, now_ms: int) -> ConversationState:
        """The state that an event's turn begins with."""
        found = self.states.state_of((record.topic, record.partition), event.conversation_id)
        return recalled(found, event.tenant_id, now_ms, self.bounds.ttl_ms)

    def fold(self, case: Case, decision: Decision, now_ms: int) -> ConversationState:
        """The state that it ends with; the same object where the turn left nothing."""
        turn = turn_of(case, decision)
        return case.state if turn is None else folded(case.state, turn, case.bundle, now_ms, self.bounds)


def recalled(state: ConversationState, tenant_id: str, now_ms: int, ttl_ms: int) -> ConversationState:
    """The state as a turn at `now_ms` finds it: empty once it has expired, and without another tenant's events.

    What was shown under another tenant still makes this one's plans more cautious.
    """
    if now_ms - state.updated_ms > ttl_ms:
        return EMPTY
    return state if state.tenant_id in {"", tenant_id} else structs.replace(state, tenant_id=tenant_id, events=())


def turn_of(case: Case, decision: Decision) -> Turn | None:
    """What `decision` leaves behind; None where nobody could tell what the request was."""
    if case.labels is None or case.plan is None:
        return None
    is_failed = decision.failure is not None or decision.reason is ActionReason.GUARD_FAILED
    event_id = case.event.event_id
    return Turn(
        tenant_id=case.event.tenant_id,
        labels=case.labels,
        plan=case.plan,
        findings=case.attempts[-1].labels.findings if decision.answer.source in DRAFT_SOURCES else (),
        event=None
        if is_failed
        else SeenEvent(event_id=event_id, audit_id=audit_id(position_of(case.record), event_id)),
    )


def folded(
    state: ConversationState, turn: Turn, bundle: PolicyBundle, now_ms: int, bounds: StateBounds
) -> ConversationState:
    """The state after a turn. Of the same turns in the same order it is the same, bit for bit."""
    labels = turn.labels
    signals = {signal: turns - 1 for signal, turns in state.signals.items() if turns > 1}
    signals |= dict.fromkeys(
        [signal for signal in labels.signals if signal is not Signal.INJECTION], bounds.caution_turns
    )
    vulnerability, vulnerability_turns = _vulnerability(state, labels, bundle, bounds)
    events = state.events if turn.event is None else (*state.events, turn.event)[-bounds.events_max :]
    return _within(
        ConversationState(
            tenant_id=turn.tenant_id,
            turns=state.turns + 1,
            updated_ms=max(now_ms, state.updated_ms),
            categories=_categories(state, turn, bundle, bounds),
            signals=signals,
            vulnerability=vulnerability,
            vulnerability_turns=vulnerability_turns,
            age_band=_youngest(state.age_band, labels.age_band),
            events=events,
        ),
        bounds.bytes_max,
    )


def _categories(
    state: ConversationState, turn: Turn, bundle: PolicyBundle, bounds: StateBounds
) -> dict[CategoryId, CategoryMemory]:
    remembered = {name: _faded(memory) for name, memory in state.categories.items()}
    for finding in turn.labels.findings:
        intent = floored(finding.intent, turn.labels.signals)
        memory = remembered.get(finding.category, NOTHING)
        if _is_telling(bundle, finding.category, intent) and stricter(intent, memory.intent) is intent:
            remembered[finding.category] = structs.replace(memory, intent=intent, intent_turns=bounds.caution_turns)
    for finding in turn.findings:
        if finding.category in bundle.categories and finding.detail_hi:
            memory = remembered.get(finding.category, NOTHING)
            remembered[finding.category] = structs.replace(memory, released=max(memory.released, finding.detail_hi))
    for name in {finding.category for finding in turn.findings if _adds_up(finding, state, turn, bundle)}:
        count = remembered[name].at_ceiling_count + 1
        spent = min(4, count // bounds.answers_at_ceiling_max)
        remembered[name] = structs.replace(remembered[name], at_ceiling_count=count, spent=spent)
    return {name: memory for name, memory in remembered.items() if memory != NOTHING}


def _faded(memory: CategoryMemory) -> CategoryMemory:
    """One turn later: the intent is remembered for one turn less. What left stays as it is."""
    if memory.intent_turns > 1:
        return structs.replace(memory, intent_turns=memory.intent_turns - 1)
    return memory if memory.intent is Intent.BENIGN else structs.replace(memory, intent=Intent.BENIGN, intent_turns=0)


def _is_telling(bundle: PolicyBundle, name: CategoryId, intent: Intent) -> bool:
    """Whether an intent says something of later turns. An unclear one does not where advice is asked for."""
    is_advice = bundle.categories[name].family is Family.ADVICE
    return intent is Intent.MALICIOUS or (intent is Intent.DUAL_USE and not is_advice)


def _adds_up(finding: OutputFinding, state: ConversationState, turn: Turn, bundle: PolicyBundle) -> bool:
    """Whether what left of a category was serious, as much as it may be, and worth something beside other answers."""
    category = bundle.categories.get(finding.category)
    level = turn.plan.ceilings.get(finding.category, UNASKED_CEILING)
    if category is None or finding.detail_hi < max(1, level):
        return False
    asked = [one for one in turn.labels.findings if one.category == finding.category]
    if level <= CONCEPTS and max([one.asked_detail for one in asked], default=0) <= level:
        return False
    harm = max([finding.harm, *[one.harm for one in asked]])
    intents = [reckoned_intent(one, turn.labels.signals, state) for one in asked] or [Intent.DUAL_USE]
    return any(is_serious(category, harm, intent) for intent in intents)


def _vulnerability(
    state: ConversationState, labels: RequestLabels, bundle: PolicyBundle, bounds: StateBounds
) -> tuple[Vulnerability, int]:
    """The risk that asks for the strictest mode, this turn's before an older one, and for how many more turns."""
    if not state.vulnerability_turns and not labels.findings and labels.vulnerability is Vulnerability.NONE:
        return Vulnerability.NONE, 0
    forced = [bundle.categories[finding.category].force_mode for finding in labels.findings]
    shown = Vulnerability.ACUTE_SELF_HARM if Mode.CRISIS_SUPPORT in forced else labels.vulnerability
    turns_left = max(0, state.vulnerability_turns - 1)
    older = state.vulnerability if turns_left else Vulnerability.NONE
    if _strictness(shown) >= _strictness(older):
        return (shown, bounds.crisis_turns) if shown in FLOOR_MODES else (Vulnerability.NONE, 0)
    return older, turns_left


def _strictness(vulnerability: Vulnerability) -> int:
    return _MODES.index(FLOOR_MODES.get(vulnerability, Mode.DIRECT_ANSWER))


def _youngest(before: AgeBand, now: AgeBand) -> AgeBand:
    """A young age that was said once stays."""
    return max(before, now, key=_AGES.index) if now in _YOUNG else before


def _within(state: ConversationState, bytes_max: int) -> ConversationState:
    """The state in at most `bytes_max`, as far as that goes: first go the oldest events, then whole categories.

    Of the categories first those that lower no ceiling, then those that lower one least. What concerns the person
    (age, risk, signals) stays.
    """
    while (excess := len(encode(state)) - bytes_max) > 0:
        if state.events:
            state = structs.replace(state, events=state.events[1 + excess // EVENT_BYTES_MAX :])
        elif state.categories:
            kept = sorted(state.categories.items(), key=_weight)[1:]
            state = structs.replace(state, categories=dict(kept))
        else:
            break
    return state


def _weight(remembered: tuple[CategoryId, CategoryMemory]) -> tuple[Level, int, Level, str]:
    name, memory = remembered
    return memory.spent, INTENTS.index(memory.intent), memory.released, name
