"""The state of a conversation: what it has shown and been given so far, and what follows for its next turn. Pure.

A state makes a plan more cautious, never less: each of its answers is at least as strict as that of `EMPTY`.
`steps/remembering.py` makes states, with their bounds and their decay, which it applies when a state is recalled.
Reading one therefore needs no clock and no setting, so that plan and verdict can be recomputed from an audit record's
`state_before` alone. A value that this version does not know is read as the strictest one (`read_state`).
"""

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from topology.contract.labels import AgeBand, CategoryId, Intent, Level, Mode, RiskSubject, Signal, Vulnerability

INTENTS = tuple(Intent)

FLOOR_MODES = {
    Vulnerability.AT_RISK: Mode.SAFE_COMPLETION,
    Vulnerability.ACUTE_SELF_HARM: Mode.CRISIS_SUPPORT,
    Vulnerability.HARM_TO_OTHERS: Mode.CRISIS_SUPPORT,
    Vulnerability.IMMINENT_DANGER: Mode.EMERGENCY_GUIDANCE,
    Vulnerability.RADICALIZATION_RISK: Mode.SAFE_COMPLETION,
    Vulnerability.DELUSION_MANIA: Mode.SAFE_COMPLETION,
}
"""The lowest mode of later turns that touch a remembered risk. Distress ends with the turn that showed it."""

Count = Annotated[int, Meta(ge=0)]


class Shown(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The turn in which something was last shown, counted from 1, and its time in milliseconds since 1970."""

    turn: Count = 0
    at_ms: Count = 0


class CategoryMemory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The memory of one category.

    `released` is the highest detail that was given. `at_ceiling_count` counts the serious answers that were given at
    their ceiling or above it; `spent` is by how much they lower the ceiling of serious findings. These stay. `harm` and
    `intent` are the strictest ones shown, `shown` says when; they are forgotten.
    """

    released: Level = 0
    at_ceiling_count: Count = 0
    spent: Level = 0
    harm: Level = 0
    intent: Intent = Intent.BENIGN
    shown: Shown = Shown()


class RiskMemory(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A risk above distress, whose it is, and when there were last signs of it.

    `has_begun`: an act had begun, so it never fades, and stays urgent whatever is denied.
    """

    vulnerability: Vulnerability
    shown: Shown = Shown()
    has_begun: bool = False
    subject: RiskSubject = RiskSubject.SELF


class AskedFinding(Struct, frozen=True, kw_only=True):
    """A finding of the last request with content of its own; a turn that takes it up has the same."""

    category: CategoryId
    harm: Level
    intent: Intent
    asked_detail: Level


class SeenEvent(Struct, frozen=True, kw_only=True):
    """An event that was answered, and the audit record that says how."""

    event_id: str
    audit_id: str


class UsedCanary(Struct, frozen=True, kw_only=True):
    """A canary that was taken once, its audit record, and the Unix epoch milliseconds until which its mark is valid."""

    event_id: str
    audit_id: str
    until_ms: Count


class ConversationState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversation after `turns` turns, on `sluicegate.state`; key: the conversation id.

    `shown_signals` says when each was last shown. `line_answers` is for how many answers a help line counts as
    named; `owes_line`: the last turn touched the risk, so the next answer on another subject names the line once more.
    `age_band` is the youngest one ever stated: `teen`, `under13`, or `unknown`. `asked` are the findings of the last
    request with content of its own. `events` are the latest ones that were answered, oldest first; they belong to
    `tenant_id`. `answered` is the keyed digest of the last answer's text. `canaries` are those whose marks are still
    valid.
    """

    tenant_id: str = ""
    turns: Count = 0
    updated_ms: Count = 0
    categories: dict[CategoryId, CategoryMemory] = {}
    shown_signals: dict[Signal, Shown] = {}
    risk: RiskMemory | None = None
    line_answers: Count = 0
    owes_line: bool = False
    age_band: AgeBand = AgeBand.UNKNOWN
    asked: tuple[AskedFinding, ...] = ()
    events: tuple[SeenEvent, ...] = ()
    answered: str = ""
    canaries: tuple[UsedCanary, ...] = ()

    @property
    def vulnerability(self) -> Vulnerability:
        """Return the remembered risk; `none` if there is none."""
        return Vulnerability.NONE if self.risk is None else self.risk.vulnerability

    @property
    def signals(self) -> tuple[Signal, ...]:
        """Return the remembered wrappers."""
        return tuple(self.shown_signals)

    @property
    def is_wary(self) -> bool:
        """Return whether anything remembered may lower a ceiling."""
        return bool(self.categories or self.shown_signals)

    def intent_of(self, category: CategoryId) -> Intent:
        """Return the strictest intent remembered for a category."""
        remembered = self.categories.get(category)
        return Intent.BENIGN if remembered is None else remembered.intent

    def harm_of(self, category: CategoryId) -> Level:
        """Return the harm remembered for a category; 0 if none is."""
        remembered = self.categories.get(category)
        return 0 if remembered is None else remembered.harm

    def spent_of(self, category: CategoryId) -> Level:
        """Return by how much the ceiling of a category's serious findings is lowered."""
        remembered = self.categories.get(category)
        return 0 if remembered is None else remembered.spent

    def audit_id_of(self, event_id: str) -> str:
        """Return the audit id under which an event was answered before; empty if it was not."""
        seen = (*self.canaries, *self.events)
        return next((one.audit_id for one in reversed(seen) if one.event_id == event_id), "")


EMPTY = ConversationState()
"""A conversation of which nothing is known."""

STRICTEST_SIGNAL = Signal.JAILBREAK_OTHER
STRICTEST_RISK = Vulnerability.ACUTE_SELF_HARM


def stricter(one: Intent, other: Intent) -> Intent:
    """Return the stricter of two intents."""
    return max(one, other, key=INTENTS.index)


def read_state(document: dict[str, Any]) -> ConversationState:
    """Return a state that another version may have written: what this version does not know is the strictest.

    Unknown fields are ignored. Raises msgspec.ValidationError if the document has another shape.
    """
    now = {"turn": document.get("turns", 0), "at_ms": document.get("updated_ms", 0)}
    written = dict(document)
    # Until policy 0.3.0 the number of turns left stood in place of when something was shown.
    if "vulnerability" in written:
        written["risk"] = {"vulnerability": written["vulnerability"], "shown": now}
    signals = dict.fromkeys(written.get("signals", {}), now) | written.get("shown_signals", {})
    written["shown_signals"] = {_known(Signal, name, STRICTEST_SIGNAL): shown for name, shown in signals.items()}
    written["categories"] = {name: _category(memory, now) for name, memory in written.get("categories", {}).items()}
    if written.get("risk") is not None:
        risk = written["risk"]
        written["risk"] = risk | {
            "vulnerability": _known(Vulnerability, risk.get("vulnerability"), STRICTEST_RISK),
            "subject": _known(RiskSubject, risk.get("subject"), RiskSubject.SELF),
        }
    if "age_band" in written:
        written["age_band"] = _known(AgeBand, written["age_band"], AgeBand.UNDER13)
    written["asked"] = [
        one | {"intent": _known(Intent, one.get("intent"), Intent.MALICIOUS)} for one in written.get("asked", ())
    ]
    return msgspec.convert(written, ConversationState)


def _category(memory: dict[str, Any], now: dict[str, int]) -> dict[str, Any]:
    if "intent" not in memory:
        return memory
    return {"shown": now} | memory | {"intent": _known(Intent, memory["intent"], Intent.MALICIOUS)}


def _known(kind: type[StrEnum], value: object, strictest: StrEnum) -> str:
    """Return a value of an enumeration as it is written; the strictest one if this version does not know it."""
    return str(value) if value in set(kind) else strictest.value
