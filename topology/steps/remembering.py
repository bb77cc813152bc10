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
"""The ceiling of a category that the request was not labelled with: none is planned, and its answers count from D2."""

CONCEPTS: Level = 1
"""The level of concepts: what a thing is and why it is dangerous. Such answers never add up if no more was asked; from
D2 on, answers can be put together."""

NOTHING = CategoryMemory()

EVENT_BYTES_MAX = 1024
"""Upper bound of one remembered event's encoded size (ids of 128 characters of up to six bytes): dividing an excess by
it never drops more events than needed."""

_YOUNG = (AgeBand.TEEN, AgeBand.UNDER13)
_AGES = tuple(AgeBand)
_MODES = tuple(Mode)


class Turn(Struct, frozen=True, kw_only=True):
    """The meaning of a decided event for its conversation. `findings` are those of the published draft, if any.

    `event` is None if the event is not to be remembered, because it failed.
    """

    tenant_id: str
    labels: RequestLabels
    plan: Plan
    findings: tuple[OutputFinding, ...] = ()
    event: SeenEvent | None = None


class StateBounds(Struct, frozen=True, kw_only=True):
    """The bounds of a state: milliseconds since its last turn, encoded bytes, events, turns.

    Intents and signals are remembered for `caution_turns`, a user at risk for `crisis_turns`. Every
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
        """Return the state with which an event's turn begins."""
        found = self.states.state_of((record.topic, record.partition), event.conversation_id)
        return recalled(found, event.tenant_id, now_ms, self.bounds.ttl_ms)

    def fold(self, case: Case, decision: Decision, now_ms: int) -> ConversationState:
        """Return the state with which the turn ends; the same object if the turn adds nothing."""
        turn = turn_of(case, decision)
        return case.state if turn is None else folded(case.state, turn, case.bundle, now_ms, self.bounds)


def recalled(state: ConversationState, tenant_id: str, now_ms: int, ttl_ms: int) -> ConversationState:
    """Return the state for a turn at `now_ms`: empty once it has expired, and without another tenant's events.

    Everything else that was shown under another tenant still makes this tenant's plans more cautious.
    """
    if now_ms - state.updated_ms > ttl_ms:
        return EMPTY
    return state if state.tenant_id in {"", tenant_id} else structs.replace(state, tenant_id=tenant_id, events=())


def turn_of(case: Case, decision: Decision) -> Turn | None:
    """Return what `decision` adds to the state; None if the request could not be assessed and planned."""
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
    """Return the state after a turn. The same turns in the same order give the same state, bit for bit."""
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
    """Return the memory one turn later: its intent lasts one turn less, what was published stays."""
    if memory.intent_turns > 1:
        return structs.replace(memory, intent_turns=memory.intent_turns - 1)
    return memory if memory.intent is Intent.BENIGN else structs.replace(memory, intent=Intent.BENIGN, intent_turns=0)


def _is_telling(bundle: PolicyBundle, name: CategoryId, intent: Intent) -> bool:
    """Return whether an intent matters to later turns. An unclear one does not if advice is asked for."""
    is_advice = bundle.categories[name].family is Family.ADVICE
    return intent is Intent.MALICIOUS or (intent is Intent.DUAL_USE and not is_advice)


def _adds_up(finding: OutputFinding, state: ConversationState, turn: Turn, bundle: PolicyBundle) -> bool:
    """Return whether a published finding was serious, at or above its ceiling, and of use beside other answers."""
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
    """Return the risk with the strictest mode, this turn's before an older one, and the turns that it still lasts."""
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
    """Return the youngest age stated; a young one that was stated once stays."""
    return max(before, now, key=_AGES.index) if now in _YOUNG else before


def _within(state: ConversationState, bytes_max: int) -> ConversationState:
    """Return the state in at most `bytes_max`, if possible: the oldest events are dropped first, then whole categories.

    Categories that lower no ceiling are dropped first, then those that lower one least. Age, risk and signals, which
    concern the person, stay.
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
