# ruff: noqa: RUF001
"""One spelling of a text for phrases: words and sentence ends, each followed by a space.

Accents, apostrophes and vowel points go, letters drawn out shrink to two, and a few long telling words are recognised
with one wrong, missing or swapped letter.
"""

import re
import unicodedata

from serving.text.features import fold

_STOPS = ".!?;\n。！？।"
_TOKEN = re.compile(rf"(?:[^\W_]|[\u0900-\u0963\u0971-\u097f])+|[{re.escape(_STOPS)}]+")  # vowel signs are no \w
_MARKS = dict.fromkeys((*range(0x300, 0x370), 0x640, *range(0x64B, 0x656), 0x93C, ord("'"), ord("`"), ord("´")))
_LETTERS = str.maketrans(
    {"ı": "i", "ł": "l", "ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ى": "ي", "ة": "ه", "\u0901": "\u0902"}
)
_DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")
_LENGTH_MIN = 6
STOP = "."
"""The token of a sentence's end."""

_TELLING = (
    "suicide", "suicidal", "myself", "overdose", "overdosed", "anymore", "unconscious", "breathing", "bleeding",
    "choking", "swallowed", "painless", "depressed", "hopeless", "worthless", "instructions", "previous",
    "ransomware", "explosives", "methamphetamine", "counterfeit", "without", "tomorrow", "tonight", "goodbye",
    "poison", "murder",
)  # fmt: skip
_STEMS = ("suicid",)
"""Stems of telling words in other languages too: words that start with one are spelt as they are meant."""
_OTHER_WORDS = frozenset((
    "homeless", "precious", "pervious", "cooking", "overdone", "overdoes", "breeding", "blending", "bleeping",
    "bleating", "breaching", "preaching", "chocking", "cloaking", "poising", "prison", "poisons", "murders",
    "murdered", "person", "instruction", "explosive", "explosions", "overdoses", "goodbyes", "previews", "chosing",
    "coking", "joking", "chopin", "stalking", "treating",
))  # fmt: skip
"""Words that look like misspelt telling ones and are not."""


def spelled(text: str) -> str:
    """The text's tokens, each with a space behind it, in lower case and one spelling."""
    plain = _DRAWN_OUT.sub(r"\1\1", respelled(text))
    tokens = [STOP if token[0] in _STOPS else _meant(token) for token in _TOKEN.findall(plain)]
    return " ".join([*tokens, STOP, ""])


def respelled(text: str) -> str:
    """The text in lower case, without accents, apostrophes and vowel points; its punctuation stays."""
    folded = fold(text)
    if folded.isascii():
        return folded.translate(_MARKS)
    plain = unicodedata.normalize("NFKD", folded).translate(_MARKS)
    return unicodedata.normalize("NFC", plain).translate(_LETTERS)


def _meant(word: str) -> str:
    """The telling word that this one misspells by one letter; else the word itself."""
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


_MISSPELT = {shorter: word for word in reversed(_TELLING) for shorter in (word, *_shortened(word))}
_LENGTHS = {
    first: frozenset(length for word in _TELLING if word[0] == first for length in range(len(word) - 1, len(word) + 2))
    for first in {word[0] for word in _TELLING}
}
"""Lengths of words that may be misspelt telling ones, by their first letter, which is never wrong."""
