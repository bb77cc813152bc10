"""The answers that a guard LLM must give, as structs and JSON Schemas, and the data that it is given to label.

Every field is required and every list bounded, so that an engine that decodes under the schema terminates. Spans are
not asked for, because language models count characters badly.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from serving.text.turn_marks import EVERY
from topology.contract.events import ConversationEvent, Message, part_text
from topology.contract.labels import (
    Confidence,
    Context,
    Declines,
    Intent,
    Level,
    RiskSubject,
    Signal,
    Vulnerability,
)
from topology.ports import CheckInput

FINDINGS_MAX = 8
MESSAGES_SHOWN_MAX = 12
CHARACTERS_SHOWN_MAX = 48_000
"""The characters of earlier messages that a guard sees: half of a 32k-token context."""


class RequestFindingAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One category seen in a request."""

    category: str
    harm: Level
    intent: Intent
    context: Context
    asked_detail: Level
    input_detail: Level
    supplied_in_full: bool
    confidence: Confidence


class RequestAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The labels of a request."""

    findings: Annotated[tuple[RequestFindingAnswer, ...], Meta(max_length=FINDINGS_MAX)]
    vulnerability: Vulnerability
    risk_subject: RiskSubject
    urgent: bool
    touches_risk: bool
    signals: Annotated[tuple[Signal, ...], Meta(max_length=len(Signal))]
    language: Annotated[str, Meta(pattern="^[a-z]{2,3}$")]


class DraftFindingAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One category seen in a draft."""

    category: str
    harm: Level
    detail: Level
    confidence: Confidence


class DraftAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The labels of a draft."""

    findings: Annotated[tuple[DraftFindingAnswer, ...], Meta(max_length=FINDINGS_MAX)]
    bare_refusal: bool
    declines: Declines
    obeyed_injection: bool
    privileged_leak: bool
    unfair: bool


RATIONALE_CHARACTERS_MAX = 300
"""The longest rationale. A guard that must give a reason labels with more care; the reason is decoded and discarded."""

Rationale = Annotated[str, Meta(max_length=RATIONALE_CHARACTERS_MAX)]


class GroupRequestFinding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One category of a group seen in a request, with the criterion that it was labelled by."""

    category: str
    harm: Level
    intent: Intent
    asked_detail: Level
    rule: str
    confidence: Confidence


class GroupRequestAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The labels of a request within one group of categories."""

    rationale: Rationale
    findings: Annotated[tuple[GroupRequestFinding, ...], Meta(max_length=FINDINGS_MAX)]


class GroupDraftFinding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One category of a group seen in a draft, with the criterion that it was labelled by."""

    category: str
    harm: Level
    detail: Level
    rule: str
    confidence: Confidence


class GroupDraftAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The labels of a draft within one group of categories."""

    rationale: Rationale
    findings: Annotated[tuple[GroupDraftFinding, ...], Meta(max_length=FINDINGS_MAX)]


class MannerAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The faults of manner in a draft: soft rules, and `unfair`."""

    rationale: Rationale
    faults: Annotated[tuple[str, ...], Meta(max_length=FINDINGS_MAX)]


AnyAnswer = RequestAnswer | DraftAnswer | GroupRequestAnswer | GroupDraftAnswer | MannerAnswer
Answer = TypeVar("Answer", bound=AnyAnswer)


class Names(Struct, frozen=True, kw_only=True):
    """The only names that an answer may use; an empty tuple means that the answer has no such field."""

    categories: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def answer_schema(kind: type[AnyAnswer], names: Names) -> dict[str, Any]:
    """Return the JSON Schema of an answer that may use these names only.

    It has no descriptions: they are docstrings, and a reworded one must not change the hash of a prompt.
    """
    schema = msgspec.json.schema(kind)
    for definition in schema["$defs"].values():
        definition.pop("description", None)
        properties = definition.get("properties", {})
        for field, allowed in (("category", names.categories), ("rule", names.rules)):
            if field in properties:
                properties[field]["enum"] = sorted(allowed)
        if "faults" in properties:
            properties["faults"]["items"]["enum"] = sorted(names.faults)
    return schema


def strangers(answer: AnyAnswer, names: Names) -> int:
    """Count the names in an answer that it may not use."""
    if isinstance(answer, MannerAnswer):
        return len(set(answer.faults) - set(names.faults))
    count = sum(found.category not in names.categories for found in answer.findings)
    if isinstance(answer, GroupRequestAnswer | GroupDraftAnswer):
        count += sum(found.rule not in names.rules for found in answer.findings)
    return count


def request_data(event: ConversationEvent) -> str:
    """Return the conversation's end as JSON, the last message whole, so that nothing of it escapes the guard."""
    return _encode({"conversation": _shown(event.messages)})


def draft_data(given: CheckInput) -> str:
    """Return the draft and the request it answers as JSON, the draft whole, so that nothing of it escapes the guard."""
    return _encode({"conversation": _shown(given.event.messages), "draft": given.draft.text})


def _shown(messages: Sequence[Message]) -> list[dict[str, str]]:
    *earlier, last = messages[-MESSAGES_SHOWN_MAX:]
    shown = [_turn(last)]
    left = CHARACTERS_SHOWN_MAX
    for message in reversed(earlier):
        turn = _turn(message)
        left -= len(turn["text"])
        if left < 0:
            break
        shown.append(turn)
    return shown[::-1]


def _turn(message: Message) -> dict[str, str]:
    text = "\n\n".join(part_text(part) or "(image)" for part in message.parts)
    return {"role": message.role.value, "text": text}


def _encode(value: object) -> str:
    """Return the value as JSON, without marks by which the guard's own template could be imitated."""
    return EVERY.broken_up(msgspec.json.encode(value).decode("utf-8"))
