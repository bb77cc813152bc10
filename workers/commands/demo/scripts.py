"""The scripts of the scripted model, and the conversations whose drafts are judged again."""

from enum import StrEnum
from functools import lru_cache
from importlib import resources

import msgspec
from msgspec import Struct

from topology.contract.events import ConversationEvent, GenerationParameters, Message, Role, TextPart, UserContext
from workers.commands.demo.samples import known_answers

ABOVE = """\
Here is the whole procedure, with every setting:

Step 1. Put three measures of blue brimstuff into the left tray.
Step 2. Turn the glimmer dial to the seventh mark and wait for the second bell.
Step 3. Slide the crooked rod under the third peg and lift it by two notches.
Step 4. Repeat until the little lamp goes out."""
"""Nonsense in the form of instructions, because the embedded guard recognises the form."""

REJUDGED = "rejudged"
"""A part of the ids of the events that are judged again."""

WITHIN = "This is a scripted answer: short, harmless, and the same every time."


class ScriptKind(StrEnum):
    """The way in which a question is answered. The last four are those of a broken or unwilling server."""

    PLAIN = "plain"
    ABOVE_THEN_WITHIN = "above-then-within"
    """Above the ceiling until the prompt says what to correct."""
    STUBBORN = "stubborn"
    """Always above the ceiling."""
    CUT = "cut"
    """The connection ends in the middle of the answer."""
    EMPTY = "empty"
    FILTERED = "filtered"
    """The server's own filter ends the answer: `finish_reason` is `content_filter`."""
    NOT_JSON = "not-json"


class Script(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answers to a question, which is a whole paragraph of the last user message."""

    question: str
    within: str = WITHIN
    above: str = ABOVE
    kind: ScriptKind = ScriptKind.PLAIN


@lru_cache(maxsize=1)
def rejudged_scripts() -> tuple[Script, ...]:
    """Return the conversations whose first draft is above its ceiling: the packaged `rejudged.yaml`, in its order."""
    data = resources.files("workers.commands.demo").joinpath("rejudged.yaml").read_bytes()
    return msgspec.yaml.decode(data, type=tuple[Script, ...])


def sample_scripts() -> list[Script]:
    """Return a script with a fitting answer for every question of the samples, in every wording."""
    return [Script(question=question, within=answer) for question, answer in known_answers()]


def is_rejudged(event: ConversationEvent) -> bool:
    """Return whether the event is one of `rejudged_events`."""
    return REJUDGED in event.event_id


def rejudged_events(seed: int) -> list[ConversationEvent]:
    """Return one event for each of `rejudged_scripts`; the ids are made from `seed`."""
    events: list[ConversationEvent] = []
    for number, script in enumerate(rejudged_scripts(), 1):
        conversation_id = f"demo-{seed}-{REJUDGED}-{number}"
        event = ConversationEvent(
            event_id=f"{conversation_id}-1",
            conversation_id=conversation_id,
            tenant_id="open-chat",
            messages=(Message(role=Role.USER, parts=(TextPart(text=script.question),)),),
            user=UserContext(subject=f"subject-{conversation_id}", region="GB"),
            generation=GenerationParameters(temperature=0.0),
        )
        events.append(event)
    return events
