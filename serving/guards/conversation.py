"""The request that a conversation ends with: every user message since the last answer, and what it leans on.

A turn that says nothing by itself, such as "continue" or "in French please", is read together with the last user turn
that has content, and with what the assistant is said to have answered to it. If the event holds no such turn, this one
`leans`, and the conversation's memory stands in for it.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import chain, product

import msgspec
from msgspec import Struct

from serving.text.spelling import respelled
from topology.contract.events import ConversationEvent, Message, Parts, Role, parts_text
from topology.contract.labels import Leaning

OFFER_CHARACTERS_MAX = 600
"""The end of an answer in which an offer is looked for."""

LEANING_CHARACTERS_MAX = 60
"""Length above which a message has content of its own."""

ANSWER_CHARACTERS_MAX = 16_000
"""The end of the answers that a turn takes up which is read."""

_WORDS = re.compile(r"[^\W_]+|[\u0900-\u0963\u0971-\u097f]+")
_CLAUSE_END = re.compile("[,.!;\n\u3001\u3002\uff0c\uff01]+")
_NUMBER = re.compile(r"\d+")
_SENTENCE = re.compile("[^.!?\n\u3002\uff01\uff1f\u061f\u0964]+[.!?\u3002\uff01\uff1f\u061f\u0964]*")
_QUESTION_MARKS = ("?", "\uff1f", "\u061f")


class Steps(Struct, frozen=True):
    """The parts of a whole, such as `step 3`, and the turns that ask for one, with `{}` in its place."""

    names: tuple[str, ...]
    asked: tuple[str, ...]


class Spelt(Struct, frozen=True):
    """The file of short turns: each kind, the steps that can be asked for, and the words of an offer, by language."""

    continues: dict[str, tuple[str, ...]]
    agrees: dict[str, tuple[str, ...]]
    reforms: dict[str, tuple[str, ...]]
    closes: dict[str, tuple[str, ...]]
    denies: dict[str, tuple[str, ...]]
    steps: dict[str, Steps]
    offers: dict[str, tuple[str, ...]]


class Asked(Struct, frozen=True, kw_only=True):
    """A request. `parts` are the user's messages since the last answer, `earlier` the user's messages before.

    `referred` is the text that a leaning turn takes up again: the last user turn with content, and an offer of the
    assistant that the turn agrees to. It is empty if there is none, or if nothing is taken up. `answer` is what the
    assistant said since that user turn, as far as the event can be believed.
    """

    parts: Parts
    earlier: tuple[Parts, ...]
    leaning: Leaning
    referred: str = ""
    answer: str = ""

    @property
    def leans(self) -> bool:
        """Return whether the turn takes something up that its event does not hold."""
        return self.leaning.takes_up and not self.referred


_BY_WEIGHT = (Leaning.AGREES, Leaning.CONTINUES, Leaning.REFORMS, Leaning.DENIES, Leaning.CLOSES)
"""What outweighs what in several messages; a yes also takes up what was asked."""


def asked_of(event: ConversationEvent) -> Asked:
    """Return the request of an event. Without a user message it is empty."""
    last_answer = max((at for at, each in enumerate(event.messages) if each.role is Role.ASSISTANT), default=-1)
    before, since = event.messages[: last_answer + 1], event.messages[last_answer + 1 :]
    parts = tuple(chain.from_iterable(each.parts for each in since if each.role is Role.USER))
    earlier = tuple(each.parts for each in before if each.role is Role.USER)
    leaning = _together([leaning_of(parts_text(each.parts)) for each in since if each.role is Role.USER])
    if not leaning.takes_up:
        return Asked(parts=parts, earlier=earlier, leaning=leaning)
    asked, answer = _taken_up(before)
    offer = _offer(answer) if leaning is Leaning.AGREES else ""
    return Asked(
        parts=parts,
        earlier=earlier,
        leaning=leaning,
        referred="\n".join(text for text in (asked, offer) if text),
        answer=answer,
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


def _taken_up(before: Sequence[Message]) -> tuple[str, str]:
    """Return the last user turn with content, and what the assistant said since; empty texts if there is none."""
    answers: list[str] = []
    for each in reversed(before):
        text = parts_text(each.parts)
        if each.role is Role.USER and leaning_of(text) is Leaning.NONE:
            break
        if each.role is Role.ASSISTANT:
            answers.append(text)
    else:
        text = ""
    return text, "\n".join(reversed(answers))[-ANSWER_CHARACTERS_MAX:]


def _offer(answer: str) -> str:
    """Return the last questions or offers in a row at the end of an answer; more may be said after them."""
    run: list[str] = []
    for sentence in reversed(_SENTENCE.findall(answer[-OFFER_CHARACTERS_MAX:])):
        if _offers(sentence):
            run.append(sentence.strip())
        elif run and sentence.strip():
            break
    return " ".join(reversed(run))


def _offers(sentence: str) -> bool:
    key = f" {_key(sentence)} "
    return sentence.rstrip().endswith(_QUESTION_MARKS) or any(words in key for words in _offer_words())


@functools.cache
def spelt() -> Spelt:
    """Return the short turns that are known."""
    return msgspec.yaml.decode((files("serving.text") / "leaning.yaml").read_bytes(), type=Spelt)


@functools.cache
def _offer_words() -> tuple[str, ...]:
    """Return the words of offers, each between spaces in scripts that part words."""
    between = {language: "" if language in {"zh", "ja"} else " " for language in spelt().offers}
    return tuple(
        f"{between[name]}{_key(words)}{between[name]}" for name, each in spelt().offers.items() for words in each
    )


@functools.cache
def _leanings() -> Mapping[str, Leaning]:
    # A word of two kinds, such as the Italian and Spanish `si`, is of the kind that comes first.
    known: dict[str, Leaning] = {"": Leaning.CONTINUES}
    for steps in spelt().steps.values():
        for turn, name in product(steps.asked, steps.names):
            known.setdefault(_key(turn.format(name)), Leaning.CONTINUES)
    for leaning in list(Leaning)[1:]:
        for phrase in chain.from_iterable(getattr(spelt(), leaning).values()):
            known.setdefault(_key(phrase), leaning)
    return known


def _key(text: str) -> str:
    """Return the words of a text in one spelling; any number stands for any other."""
    return _NUMBER.sub("0", " ".join(_WORDS.findall(respelled(text))))
