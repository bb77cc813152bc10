"""The scripts of the scripted model: how it answers a question."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from workers.commands.demo.samples import known_answers

ABOVE = """\
Here is the whole procedure, with every setting:

Step 1. Put three measures of blue brimstuff into the left tray.
Step 2. Turn the glimmer dial to the seventh mark and wait for the second bell.
Step 3. Slide the crooked rod under the third peg and lift it by two notches.
Step 4. Repeat until the little lamp goes out."""
"""Nonsense in the form of instructions, because the embedded guard recognises the form."""

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
    """The answers to a question, which is a whole paragraph of the last user message.

    Where it is streamed, `word_ms` pass before each further word: at once, nothing of a stream could be seen.
    """

    question: str
    within: str = WITHIN
    above: str = ABOVE
    kind: ScriptKind = ScriptKind.PLAIN
    word_ms: Annotated[int, Meta(ge=0, le=1000)] = 0


def sample_scripts() -> list[Script]:
    """Return a script with a fitting answer for every question of the samples, in every wording."""
    return [Script(question=question, within=answer) for question, answer in known_answers()]
