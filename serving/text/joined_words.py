"""Sentences whose words are joined: `howtogetthere`, taken apart by the cheapest row of English words.

A word costs the logarithm of its rank in `words.txt`, which the corpus of `serving.training` gave. Only rows with
several of the words that hold a sentence together count, so that compounds and long words of any language stay whole.
"""

import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

WORDS_FILE = Path(__file__).parent / "words.txt"
CHARACTERS_MAX = 8_192
"""The characters of a text that are searched for joined words."""

_LONG = re.compile(r"(?<![\w#@./\\-])(?:[A-Z]?[a-z]{11,}|[A-Z]{12,})(?![\w@/\\(=-]|\.\w)")
_REST = re.compile(r"(?<![\w#@./\\-])(?:[A-Z]?[a-z]{7,}|[A-Z]{8,})(?![\w@/\\(=-]|\.\w)")
_HOLDING = frozenset((
    "how", "to", "the", "and", "for", "with", "you", "my", "me", "what", "is", "of", "in", "that", "can", "do", "from",
    "your", "this", "get", "make", "are", "without", "want", "tell", "it", "at", "be", "will", "we", "where", "when",
    "who", "why", "a", "i", "not", "if", "up", "on", "have", "about",
))  # fmt: skip
"""Words that hold a sentence together. Long words of one piece fall apart into few of them."""

_HOLDING_LETTERS_MIN = 3
_HOLDS = re.compile("|".join(word for word in sorted(_HOLDING) if len(word) >= _HOLDING_LETTERS_MIN))
_WORDS_MIN, _HOLDING_MIN, _LETTERS_A_WORD_MIN = 4, 3, 2.7
_UNKNOWN_LETTERS = range(4, 15)
_UNKNOWN_COST, _UNKNOWN_LETTER_COST, _UNKNOWN_SHARE_MAX = 12.0, 3.0, 0.25


class _Vocabulary(NamedTuple):
    costs: Mapping[str, float]
    letters_max: int


class _Row(NamedTuple):
    words: list[str]
    unknown_letters: int


def parted(text: str) -> Iterator[str]:
    """Yield the start of the text with its joined sentences taken apart, if it has any."""
    start = text[:CHARACTERS_MAX]
    rows = {token: _row(token.lower()) for token in _tokens(_LONG, start) if _HOLDS.search(token.lower())}
    if any(_is_sentence(row) for row in rows.values()):
        rows |= {token: _row(token.lower()) for token in _tokens(_REST, start) if token not in rows}
        apart = {token: " ".join(row.words) for token, row in rows.items() if _is_sentence(row) or _is_piece(row)}
        yield _REST.sub(lambda match: apart.get(match.group(), match.group()), start)


def is_word(word: str) -> bool:
    """Return whether a word, in lower case, is one of the list."""
    return word in _vocabulary().costs


def _tokens(pattern: re.Pattern[str], text: str) -> set[str]:
    return {match.group() for match in pattern.finditer(text)}


def _is_sentence(row: _Row) -> bool:
    """Return whether a row of words is a sentence: enough words, some of them such as hold one together."""
    holding = _HOLDING.intersection(row.words)
    if len(row.words) < _WORDS_MIN or len(holding) < _HOLDING_MIN or max(map(len, holding)) < _HOLDING_LETTERS_MIN:
        return False
    letters = sum(map(len, row.words))
    return letters >= _LETTERS_A_WORD_MIN * len(row.words) and row.unknown_letters <= _UNKNOWN_SHARE_MAX * letters


def _is_piece(row: _Row) -> bool:
    """Return whether a row may be the rest of a sentence that stands beside it."""
    is_known = row.unknown_letters == 0 and len(row.words) > 1
    return is_known and sum(map(len, row.words)) >= _LETTERS_A_WORD_MIN * len(row.words)


def _row(token: str) -> _Row:
    """Return the cheapest row of words that a token can be cut into; no words if there is none."""
    costs, letters_max = _vocabulary()
    best = [(0.0, 0), *[(math.inf, 0)] * len(token)]
    for end in range(1, len(token) + 1):
        for start in range(max(0, end - letters_max), end):
            word = token[start:end]
            cost = costs.get(word)
            if cost is None:
                if len(word) not in _UNKNOWN_LETTERS:
                    continue
                cost = _UNKNOWN_COST + _UNKNOWN_LETTER_COST * len(word)
            if best[start][0] + cost < best[end][0]:
                best[end] = (best[start][0] + cost, start)
    words: list[str] = []
    end = len(token) if best[-1][0] < math.inf else 0
    while end:
        words.append(token[best[end][1] : end])
        end = best[end][1]
    return _Row(words[::-1], sum(len(word) for word in words if word not in costs))


@functools.cache
def _vocabulary() -> _Vocabulary:
    words = WORDS_FILE.read_text(encoding="ascii").split()
    costs = {word: math.log((rank + 1) * math.log(len(words))) for rank, word in enumerate(words)}
    return _Vocabulary(costs, max(map(len, words)))
