"""The generator's prompt, compiled from the plan: rules, tenant, application, plan card, then the conversation.

The part that is the same for every request of a policy version comes first, byte for byte, so that an engine's prefix
cache holds it. Each line that someone outside wrote begins with a mark, so that no such line can pass for one of the
system's.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from serving.generation.rules import Wording
from serving.text.turn_marks import EVERY, TurnMarks
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.events import (
    CodePart,
    ContentPart,
    ConversationEvent,
    ImagePart,
    Message,
    Role,
    TextPart,
    UserContext,
)
from topology.contract.labels import CategoryId, Mode, Plan
from topology.policy.bundle import region_of
from topology.policy.overlays import TenantOverlay

CONTINUE = (
    "Your answer so far has been shown to the reader and cannot be changed. Go on with it from exactly where it stops, "
    "keeping to the card. Do not repeat any of it, do not apologise, and do not mention this message."
)
"""The request to go on with the beginning of an answer, for servers that cannot go on with a message."""

_QUOTE = "> "
_TAG = re.compile(r"[^A-Za-z0-9-]")


def tenant_text(overlay: TenantOverlay) -> str:
    """Return what a tenant's overlay asks of the generator, one point a line; empty if it asks for nothing."""
    points = (
        ("persona", overlay.persona),
        ("scope", overlay.scope),
        ("viewpoint", overlay.viewpoint),
        ("locale", overlay.locale),
        ("always include", "; ".join(overlay.must_include)),
        ("may be disclosed", "; ".join(overlay.may_disclose)),
        ("legal notices", "; ".join(notice.text for notice in overlay.legal_notices)),
    )
    return "\n".join(f"{name}: {value}" for name, value in points if value)


def compile_prompt(
    words: Wording,
    plan: Plan,
    event: ConversationEvent,
    overlay_text: str = "",
    *,
    state: ConversationState = EMPTY,
    feedback: str = "",
    released: str = "",
    marks: TurnMarks = EVERY,
) -> tuple[Message, ...]:
    """Compile one system message, followed by the conversation in its order and roles.

    `state` is the conversation's before this turn. `feedback` says what to mend in a further attempt. System and
    developer messages of the event become the [application] block, below the rules and above the card; tool output
    becomes quoted text in a user message. Neighbours of one role are joined, because many chat templates require it.
    `released` is the beginning of the answer, which its readers have: it and the request to go on are the last two.
    `marks` are those of the model that reads the prompt; no text of others keeps one.
    """
    blocks = [
        words.rules,
        _block("tenant", _quoted(overlay_text, marks)),
        _block("application", _application(event.messages, marks)),
        _card(plan, event.user, state, _named(words, event.user)),
        _block("mend", feedback),
    ]
    system = "\n\n".join(block for block in blocks if block)
    begun = (_message(Role.ASSISTANT, marks.broken_up(released)), _message(Role.USER, CONTINUE)) if released else ()
    return (_message(Role.SYSTEM, system), *_conversation(event.messages, marks), *begun)


def _named(words: Wording, user: UserContext) -> Mapping[str, str]:
    """Return the words behind the names on a card, with the help lines of the user's region."""
    line = words.help_lines.get(region_of(user.locale, user.region))
    if line is None:
        return words.names
    numbers = {"crisis_line": line.number and f"{line.name}, {line.number}", "emergency_number": line.emergency}
    told = {name: f"{words.names[name]}: {told}" for name, told in numbers.items() if told and name in words.names}
    return words.names | told


def _card(plan: Plan, user: UserContext, state: ConversationState, words: Mapping[str, str]) -> str:
    given = {name: remembered.released for name, remembered in state.categories.items() if name in plan.ceilings}
    lines = [
        "[card]",
        f"mode: {plan.mode.value}",
        f"limits: {_levels(plan.ceilings) or 'none'}",
        *([f"given already: {_levels(given)}"] if any(given.values()) else []),
        *_listed("withhold", plan.withhold, words),
        *_listed("include", plan.must_include, words),
        *([] if plan.mode is Mode.HARD_REFUSE else _listed("offer", plan.must_offer, words)),
        f"style: {plan.style_profile}",
        f"reader: age={user.age_band.value} locale={_TAG.sub('', user.locale)} region={_TAG.sub('', user.region)}",
    ]
    return "\n".join(lines)


def _levels(levels: Mapping[CategoryId, int]) -> str:
    return ", ".join(f"{category}={level}" for category, level in sorted(levels.items()))


def _listed(title: str, names: Iterable[str], words: Mapping[str, str]) -> list[str]:
    lines = [f"- {name}: {words[name]}" if name in words else f"- {name}" for name in names]
    return [f"{title}:", *lines] if lines else []


def _block(title: str, text: str) -> str:
    return f"[{title}]\n{text}" if text else ""


def _application(messages: Iterable[Message], marks: TurnMarks) -> str:
    given = (message for message in messages if message.role in {Role.SYSTEM, Role.DEVELOPER})
    return _quoted("\n".join(_text(message.parts) for message in given), marks)


def _conversation(messages: Iterable[Message], marks: TurnMarks) -> list[Message]:
    turns = [_turn(message, marks) for message in messages if message.role not in {Role.SYSTEM, Role.DEVELOPER}]
    return [
        _message(role, "\n\n".join(text for _, text in neighbours))
        for role, neighbours in groupby(turns, key=lambda turn: turn[0])
    ]


def _turn(message: Message, marks: TurnMarks) -> tuple[Role, str]:
    text = _text(message.parts)
    if message.role is Role.TOOL:
        return Role.USER, f"Tool output, for information:\n{_quoted(text, marks)}"
    return message.role, marks.broken_up(text)


def _text(parts: Iterable[ContentPart]) -> str:
    return "\n\n".join(_part_text(part) for part in parts)


def _part_text(part: ContentPart) -> str:
    match part:
        case TextPart(text=text):
            return text
        case CodePart(code=code, language=language):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", code)), default=0))
            return f"{fence}{_TAG.sub('', language)}\n{code}\n{fence}"
        case ImagePart():
            return "(an image that cannot be shown here)"


def _quoted(text: str, marks: TurnMarks) -> str:
    return "\n".join(_QUOTE + line for line in marks.broken_up(text).splitlines())


def _message(role: Role, text: str) -> Message:
    return Message(role=role, parts=(TextPart(text=text),))
