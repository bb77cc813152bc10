"""The request that a conversation ends with: every user message since the last answer, and what it leans on.

A turn that says nothing by itself, such as "continue" or "in French please", is read together with the last user turn
that has content. If the event does not hold one, the turn `leans`, and the conversation's memory stands in for it.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.resources import files
from itertools import chain

import msgspec
from msgspec import Struct

from serving.text.spelling import respelled
from topology.contract.events import ConversationEvent, Message, Parts, Role, parts_text

OFFER_CHARACTERS_MAX = 600
"""The end of an answer in which an offer is looked for."""

LEANING_CHARACTERS_MAX = 60
"""Length above which a message has content of its own."""

_WORDS = re.compile(r"[^\W_]+|[\u0900-\u0963\u0971-\u097f]+")
_CLAUSE_END = re.compile("[,.!;\n\u3001\u3002\uff0c\uff01]+")
_OFFER = re.compile("[^.!?\n\u3002\uff01\uff1f]{1,400}[?\uff1f\u061f]\\s*$")
"""A question at the end of a text, in any script."""


class Leaning(StrEnum):
    """What a turn without content of its own does with what was said before; `none`: it has content."""

    NONE = "none"
    CONTINUES = "continues"
    AGREES = "agrees"
    REFORMS = "reforms"
    CLOSES = "closes"
    DENIES = "denies"


class Asked(Struct, frozen=True, kw_only=True):
    """A request. `parts` are the user's messages since the last answer, `earlier` the user's messages before.

    `referred` is the text that a leaning turn takes up again: the last user turn with content, and an offer of the
    assistant that the turn agrees to. It is empty if there is none, or if nothing is taken up.
    """

    parts: Parts
    earlier: tuple[Parts, ...]
    leaning: Leaning
    referred: str = ""

    @property
    def leans(self) -> bool:
        """Return whether the turn takes something up that its event does not hold."""
        return self.leaning in _TAKES_UP and not self.referred


_TAKES_UP = (Leaning.CONTINUES, Leaning.AGREES, Leaning.REFORMS)
_BY_WEIGHT = (Leaning.AGREES, Leaning.CONTINUES, Leaning.REFORMS, Leaning.DENIES, Leaning.CLOSES)
"""What outweighs what in several messages; a yes also takes up what was asked."""


def asked_of(event: ConversationEvent) -> Asked:
    """Return the request of an event. Without a user message it is empty."""
    last_answer = max((at for at, each in enumerate(event.messages) if each.role is Role.ASSISTANT), default=-1)
    before, since = event.messages[: last_answer + 1], event.messages[last_answer + 1 :]
    parts = tuple(chain.from_iterable(each.parts for each in since if each.role is Role.USER))
    earlier = tuple(each.parts for each in before if each.role is Role.USER)
    leaning = _together([leaning_of(parts_text(each.parts)) for each in since if each.role is Role.USER])
    return Asked(
        parts=parts,
        earlier=earlier,
        leaning=leaning,
        referred=_referred(before, leaning) if leaning in _TAKES_UP else "",
    )


def leaning_of(text: str) -> Leaning:
    """Return what a short message does with what was said before; an empty one continues."""
    if len(text) > LEANING_CHARACTERS_MAX:
        return Leaning.NONE
    key = _key(text)
    if not key and any(unicodedata.category(letter) == "So" for letter in text):
        return Leaning.CLOSES  # a thumb or a heart, and no word
    whole = _leanings().get(key)
    if whole is not None:
        return whole
    clauses = [spelt for clause in _CLAUSE_END.split(text) if (spelt := _key(clause))]
    return _together([_leanings().get(clause, Leaning.NONE) for clause in clauses]) if clauses else Leaning.NONE


def _together(leanings: Sequence[Leaning]) -> Leaning:
    """Return what several messages do together: `none` if one has content, else the first kind that takes something up.

    No message continues, as an empty one does.
    """
    if Leaning.NONE in leanings:
        return Leaning.NONE
    return min(leanings, key=_BY_WEIGHT.index, default=Leaning.CONTINUES)


def _referred(before: tuple[Message, ...], leaning: Leaning) -> str:
    content = [parts_text(each.parts) for each in before if each.role is Role.USER]
    asked = next((text for text in reversed(content) if leaning_of(text) is Leaning.NONE), "")
    if leaning is not Leaning.AGREES or not before:
        return asked
    offer = _OFFER.search(parts_text(before[-1].parts)[-OFFER_CHARACTERS_MAX:])
    return "\n".join(text for text in (asked, offer.group().strip() if offer else "") if text)


@functools.cache
def _leanings() -> Mapping[str, Leaning]:
    raw = (files("serving.text") / "leaning.yaml").read_bytes()
    spelt = msgspec.yaml.decode(raw, type=dict[Leaning, dict[str, list[str]]])
    # A word of two kinds, such as the Italian and Spanish `si`, is of the kind that comes first.
    known: dict[str, Leaning] = {"": Leaning.CONTINUES}
    for leaning, by_language in spelt.items():
        for phrase in chain.from_iterable(by_language.values()):
            known.setdefault(_key(phrase), leaning)
    return known


def _key(text: str) -> str:
    return " ".join(_WORDS.findall(respelled(text)))
