# ruff: noqa: E501
"""The setting of a request, by the user's own words: quoted or pasted text sets none. English only."""

import re

from serving.guards.markers import bounded
from serving.text.features import fold
from serving.text.quotations import MARK, STRETCH_CHARACTERS_MIN, Told
from topology.contract.labels import Context, Level


def _any(*alternatives: str) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(alternatives) + r")\b")


_FRAMES: tuple[tuple[Context, re.Pattern[str]], ...] = (
    (Context.SURVIVOR_SUPPORT, _any("i was (?:abused|raped|assaulted|molested)", "as a survivor", "happened to me")),
    (Context.DEFENSIVE, _any(
        "(?:to|help) (?:prevent|protect|detect|defend|spot|recogni[sz]e)", "should (?:staff|we|i) watch for",
        "protect (?:myself|my|our|against)", "how to prevent", "how (?:do|can) (?:i|we) (?:prevent|protect|detect|stop)",
    )),
    (Context.COUNTER_SPEECH, _any("debunk", "counter[ -]speech", "argue against", "counter (?:hate|propaganda|extremis[mt])")),
    (Context.EDUCATIONAL, _any("homework", "for (?:my|a|our) (?:class|school|course|lesson)", "lesson plan", "essay", "textbook", "students")),
    (Context.HISTORICAL, _any("histor(?:y|ical)", "world war", "in (?:1[0-9]|20)[0-9][0-9]", "medieval", "ancient")),
    (Context.NEWS, _any("news (?:report|article|story)", "journalist", "headlines?")),
    (Context.SCIENTIFIC_MEDICAL, _any("physiolog(?:y|ical|ically)", "anatomy", "clinical(?:ly)?", "medically", "biolog(?:y|ical|ically)")),
    (Context.FICTION, _any("novels?", "short story", "screenplay", "fiction(?:al)?", "scene", "story about", "characters?", "fantasy world")),
    (Context.ARTISTIC, _any("poem", "song lyrics for", "painting", "art project")),
)  # fmt: skip
_TRANSFORMS = re.compile(
    r"\b(?:translate|summari[sz]e|paraphrase|proofread|classify|label|rephrase|reformat|convert|turn|fix the (?:grammar|spelling)|correct the grammar)\b"
    rf"[^.?!\n]{{0,120}}?(?:\b(?:this|these|the following|below|above|attached|pasted)\b|:|{MARK})"
)
"""A task that changes only the form, of a text that the user shows: `summarise your answer` is no such task."""


def transforms(said: Told, asked: Level) -> bool:
    """Return whether the user's own words ask for the shown text in another form, without repairs to what it says."""
    is_supplied = any(len(shown) >= STRETCH_CHARACTERS_MIN for shown in said.shown)
    return asked < 4 and is_supplied and _TRANSFORMS.search(bounded(fold(said.marked))) is not None


def context_of(said: Told, asked: Level) -> Context:
    """Return the one setting that the user's own words name.

    `general` if they name none or several, or if they name an invented one and ask for exact steps.
    """
    own = bounded(fold(said.own))
    named = [context for context, pattern in _FRAMES if pattern.search(own)]
    if len(named) != 1:
        return Context.GENERAL
    invented = named[0] in {Context.FICTION, Context.ARTISTIC}
    return Context.GENERAL if invented and asked >= 3 else named[0]
