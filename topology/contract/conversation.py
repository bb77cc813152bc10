"""The state of a conversation: what it has shown and been given so far, and what follows for its next turn. Pure.

A state makes a plan more cautious, never less: each of its answers is at least as strict as that of `EMPTY`.
`steps/remembering.py` makes states, with their bounds and their decay. Reading one needs no clock and no setting, so
that plan and verdict can be recomputed from an audit record's `state_before` alone.
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
"""The lowest mode of the next turns for a user at risk, whatever these are about: the mode that the risk requires.
Distress ends with the turn that showed it."""

Count = Annotated[int, Meta(ge=0)]


class CategoryMemory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The memory of one category.

    `released` is the highest detail that was given. `at_ceiling_count` counts the serious answers that were given at
    their ceiling or above it; `spent` is by how much they lower the ceiling of serious findings. `intent` is the
    strictest one shown, which counts for `intent_turns` more turns.
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

    `signals` holds for each signal the number of turns for which it is still remembered; `vulnerability` is remembered
    for `vulnerability_turns` more. `age_band` is the youngest one ever stated: `teen`, `under13`, or `unknown`.
    `events` are the latest ones that were answered, oldest first; they belong to `tenant_id`.
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
        """Return the lowest mode that the next answer may have."""
        return FLOOR_MODES.get(self.vulnerability, Mode.DIRECT_ANSWER)

    def intent_of(self, category: CategoryId) -> Intent:
        """Return the strictest intent remembered for a category."""
        remembered = self.categories.get(category)
        return Intent.BENIGN if remembered is None else remembered.intent

    def spent_of(self, category: CategoryId) -> Level:
        """Return by how much the ceiling of a category's serious findings is lowered."""
        remembered = self.categories.get(category)
        return 0 if remembered is None else remembered.spent

    def concerns(self, category: CategoryId) -> bool:
        """Return whether anything remembered may lower a ceiling of this category."""
        return category in self.categories or bool(self.signals)

    def audit_id_of(self, event_id: str) -> str:
        """Return the audit id under which an event was answered before; empty if it was not."""
        return next((seen.audit_id for seen in reversed(self.events) if seen.event_id == event_id), "")


EMPTY = ConversationState()
"""A conversation of which nothing is known."""


def stricter(one: Intent, other: Intent) -> Intent:
    """Return the stricter of two intents."""
    return max(one, other, key=INTENTS.index)
