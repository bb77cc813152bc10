"""Finds phrases in a spelled text. A phrase's first word is looked up; only then is the rest compared.

A phrase is words with a space between. `a|b` is a choice, in which `_` stands for a space; a trailing `*` any ending;
a trailing `?` makes the word optional; `~` is up to three words between, `~5` up to five, never across a sentence's
end; `{name}` a class of words. Time is in proportion to the text: gaps are bounded, and no repetition is nested.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from serving.text.phrases.spelling import respelled

_KEY_CHARACTERS = 3
_GAP_WORDS = 3


class Hit(NamedTuple):
    """A phrase found: its tag, and [start, end) in characters of the spelled text."""

    tag: str
    start: int
    end: int


class PhraseTable:
    """Phrases by tag, ready to be found. Raises ValueError for a phrase that is no phrase."""

    def __init__(self, phrases: Mapping[str, Iterable[str]], classes: Mapping[str, str]) -> None:
        by_key: dict[str, dict[str, list[str]]] = {}
        for tag, lines in phrases.items():
            for line in lines:
                parts = [part for word in respelled(line).split() for part in _expanded(word, classes)]
                if not parts or parts[0].startswith("~"):
                    raise ValueError(f"a phrase of {tag} starts with a gap")
                for key in _keys(parts, tag):
                    by_key.setdefault(key, {}).setdefault(tag, []).append("".join(_part(part) for part in parts))
        self._found = {
            key: tuple((tag, re.compile("|".join(sources))) for tag, sources in tags.items())
            for key, tags in by_key.items()
        }

    def find(self, text: str) -> list[Hit]:
        """At most one hit per tag and word of the spelled text, in order of start."""
        found: list[Hit] = []
        start = 0
        while start < len(text):
            end = text.find(" ", start)
            for tag, pattern in self._found.get(text[start : min(end, start + _KEY_CHARACTERS)], ()):
                match = pattern.match(text, start)
                if match:
                    found.append(Hit(tag, start, match.end()))
            start = end + 1
        return found


def _expanded(word: str, classes: Mapping[str, str]) -> list[str]:
    """The parts that a word of a phrase stands for: itself, or the class it names; `{name}?` is optional."""
    if not word.startswith("{"):
        return [word]
    name, _, ending = word[1:].partition("}")
    return [respelled(classes[name]) + ending]


def _keys(parts: list[str], tag: str) -> set[str]:
    keys: set[str] = set()
    for part in parts:
        for choice in part.removesuffix("?").split("|"):
            first = choice.split("_")[0]
            if first.endswith("*") and len(first) <= _KEY_CHARACTERS:
                raise ValueError(f"a phrase of {tag} starts with too short a stem")
            keys.add(first.rstrip("*")[:_KEY_CHARACTERS])
        if not part.endswith("?"):
            return keys
    raise ValueError(f"a phrase of {tag} may be empty")


def _part(part: str) -> str:
    if part.startswith("~"):
        return rf"(?:[^ .]+ ){{0,{part[1:] or _GAP_WORDS}}}?"
    choices = [_choice(choice) for choice in part.removesuffix("?").split("|")]
    return f"(?:{'|'.join(choices)}){'?' if part.endswith('?') else ''}"


def _choice(choice: str) -> str:
    words = (
        re.escape(word[:-1]) + r"[^ .]* " if word.endswith("*") else re.escape(word) + " " for word in choice.split("_")
    )
    return "".join(words)
