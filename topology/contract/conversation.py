"""What a conversation has shown and been given so far, and what follows for its next turn. Pure.

It makes a plan more cautious, never less: every answer given here is at least as strict as that of `EMPTY`. How a state
comes about, with its bounds and its decay, is `remembering.py`'s; what is read here needs no clock and no setting, so
that plan and verdict can be made again from an audit record's `state_before` alone.
"""

from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.labels import AgeBand, CategoryId, Intent, Level, Mode, Signal, Vulnerability

INTENTS = tuple(Intent)

FLOOR_MODES = {
    Vulnerability.ACUTE_SELF_HARM: Mode.CRISIS_SUPPORT,
    Vulnerability.HARM_TO_OTHERS: Mode.CRISIS_SUPPORT,
    Vulnerability.IMMINENT_DANGER: Mode.EMERGENCY_GUIDANCE,
    Vulnerability.RADICALIZATION_RISK: Mode.SAFE_COMPLETION,
    Vulnerability.DELUSION_MANIA: Mode.SAFE_COMPLETION,
}
"""The mode that somebody at risk keeps for the next turns, whatever they are about: the one that the risk itself asks
for. Distress passes with the turn that showed it."""

Count = Annotated[int, Meta(ge=0)]


class CategoryMemory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is remembered of one category.

    `released` is the highest detail that left; `at_ceiling_count` counts the serious answers that left at their ceiling
    or above it, and `spent` is how much lower the ceiling of serious findings is because of them. `intent` is the
    strictest one shown, reckoned with for `intent_turns` more turns.
    """

    released: Level = 0
    at_ceiling_count: Count = 0
    spent: Level = 0
    intent: Intent = Intent.BENIGN
    intent_turns: Count = 0


class SeenEvent(Struct, frozen=True, kw_only=True):
    """An event that was answered, and the audit record that says how."""

    event_id: str
    audit_id: str


class ConversationState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation after `turns` turns, on `sluicegate.state`; key: the conversation id.

    `signals` are remembered for that many more turns each, `vulnerability` for `vulnerability_turns`. `age_band` is the
    youngest that anyone said: `teen`, `under13`, or unknown. `events` are the last that were answered, oldest first;
    they belong to `tenant_id`.
    """

    tenant_id: str = ""
    turns: Count = 0
    updated_ms: Count = 0
    categories: dict[CategoryId, CategoryMemory] = {}
    signals: dict[Signal, int] = {}
    vulnerability: Vulnerability = Vulnerability.NONE
    vulnerability_turns: Count = 0
    age_band: AgeBand = AgeBand.UNKNOWN
    events: tuple[SeenEvent, ...] = ()

    @property
    def floor_mode(self) -> Mode:
        """The mode that the next answer has at least."""
        return FLOOR_MODES.get(self.vulnerability, Mode.DIRECT_ANSWER)

    def intent_of(self, category: CategoryId) -> Intent:
        """The strictest intent remembered for a category."""
        remembered = self.categories.get(category)
        return Intent.BENIGN if remembered is None else remembered.intent

    def spent_of(self, category: CategoryId) -> Level:
        """How much lower the ceiling of serious findings of a category is."""
        remembered = self.categories.get(category)
        return 0 if remembered is None else remembered.spent

    def concerns(self, category: CategoryId) -> bool:
        """Whether anything remembered may lower a ceiling of this category."""
        return category in self.categories or bool(self.signals)

    def audit_id_of(self, event_id: str) -> str:
        """The audit id under which an event was answered before; empty where it was not."""
        return next((seen.audit_id for seen in reversed(self.events) if seen.event_id == event_id), "")


EMPTY = ConversationState()
"""A conversation of which nothing is known."""


def stricter(one: Intent, other: Intent) -> Intent:
    """The stricter of two intents."""
    return max(one, other, key=INTENTS.index)
