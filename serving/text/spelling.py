# ruff: noqa: RUF001
"""One spelling of a text for phrases: words and sentence ends, each followed by a space.

Accents, apostrophes and vowel points are removed, drawn-out letters shortened to two, and a few long, significant words
are recognised with one wrong, missing or swapped letter.
"""

import re
import unicodedata

from serving.text.features import fold

_STOPS = ".!?;\n。！？।"
_TOKEN = re.compile(rf"(?:[^\W_]|[\u0900-\u0963\u0971-\u097f])+|[{re.escape(_STOPS)}]+")  # \w lacks vowel signs
_MARKS = dict.fromkeys((*range(0x300, 0x370), 0x640, *range(0x64B, 0x656), 0x93C, ord("'"), ord("`"), ord("´")))
_LETTERS = str.maketrans(
    {"ı": "i", "ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ى": "ي", "ة": "ه", "\u0901": "\u0902"}
)
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")
_LENGTH_MIN = 6
STOP = "."
"""The token of a sentence's end."""

_SIGNIFICANT = (
    "suicide", "suicidal", "myself", "overdose", "overdosed", "anymore", "unconscious", "breathing", "bleeding",
    "choking", "swallowed", "painless", "depressed", "hopeless", "worthless", "instructions", "previous",
    "ransomware", "explosives", "methamphetamine", "counterfeit", "without", "tomorrow", "tonight", "goodbye",
    "poison", "murder",
)  # fmt: skip
_STEMS = ("suicid",)
"""Stems of significant words in several languages: words that start with one are left as they are."""
_OTHER_WORDS = frozenset((
    "homeless", "precious", "pervious", "cooking", "overdone", "overdoes", "breeding", "blending", "bleeping",
    "bleating", "breaching", "preaching", "chocking", "cloaking", "poising", "prison", "poisons", "murders",
    "murdered", "person", "instruction", "explosive", "explosions", "overdoses", "goodbyes", "previews", "chosing",
    "coking", "joking", "chopin", "stalking", "treating",
))  # fmt: skip
"""Words that look like misspelt significant ones and are not."""


def spelled(text: str) -> str:
    """Return the text's tokens in lower case and one spelling, each followed by a space."""
    plain = _DRAWN_OUT.sub(r"\1\1", respelled(text))
    tokens = [STOP if token[0] in _STOPS else _meant(token) for token in _TOKEN.findall(plain)]
    return " ".join([*tokens, STOP, ""])


def respelled(text: str) -> str:
    """Return the text in lower case, without accents, apostrophes and vowel points, but with its punctuation."""
    folded = fold(text)
    if folded.isascii():
        return folded.translate(_MARKS)
    plain = unicodedata.normalize("NFKD", folded).translate(_MARKS)
    return unicodedata.normalize("NFC", plain).translate(_LETTERS)


def _meant(word: str) -> str:
    """Return the significant word that this one misspells by one letter, else the word itself."""
    if len(word) not in _LENGTHS.get(word[0], ()) or not word.isascii():
        return word
    if word in _OTHER_WORDS or word.startswith(_STEMS):
        return word
    for shorter in (word, *_shortened(word)):
        meant = _MISSPELT.get(shorter)
        if meant and meant[0] == word[0] and word.rstrip("sd") != meant.rstrip("sd"):
            return meant
    return word


def _shortened(word: str) -> list[str]:
    return [word[:index] + word[index + 1 :] for index in range(1, len(word))]


_MISSPELT = {shorter: word for word in reversed(_SIGNIFICANT) for shorter in (word, *_shortened(word))}
_LENGTHS = {
    first: frozenset(
        length for word in _SIGNIFICANT if word[0] == first for length in range(len(word) - 1, len(word) + 2)
    )
    for first in {word[0] for word in _SIGNIFICANT}
}
"""Lengths of words that may be misspelt significant ones, by first letter, which is never taken for wrong."""
