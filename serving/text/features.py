"""Hashed n-grams of a text: the only input of the embedded model.

Words (one and two) and characters (three to five, within a word) are hashed with 64-bit arithmetic that is the same on
every machine. A text is read as a whole: one longer than a window is cut into overlapping windows, never shortened.
"""

import functools
import re
import unicodedata
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.text.invisible import CONTROLS, INVISIBLE

BUCKET_BITS = 17
BUCKETS = 1 << BUCKET_BITS
WINDOW_CHARACTERS = 2_000
"""Longest text whose n-grams are counted together. A longer one would dilute a short harmful passage."""
WINDOW_OVERLAP = 200
CHARACTERS_MAX = 1_000_000
"""Longest text accepted. In practice, folding does not make an event's `CHARACTERS_MAX` that many."""
TEXTS_KEPT = 8
"""The latest texts whose folded form is kept: several readers of one process fold the same text."""

_WORD_SALT = np.uint64(0x9E3779B97F4A7C15)
_PAIR_SALT = np.uint64(0xC2B2AE3D27D4EB4F)
_STEP = np.uint64(0x100000001B3)  # the 64-bit FNV prime
_MIX = np.uint64(0xFF51AFD7ED558CCD)  # first multiplier of MurmurHash3's 64-bit finaliser
_BLOCK_NORM = float(np.sqrt(0.5))  # words and characters each have half of the squared length
_SPACE = 32
_WORD_PUNCTUATION = frozenset("@$*'#_")  # part of words: masked swear words, handles, contractions

_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": " "})  # noqa: RUF001
_LOOKALIKES = str.maketrans("аеорсухіјѕԁһӏνοαρκτ", "aeopcyxijsdhlvoapkt")
_MIXED_WORD = re.compile(r"\S+")
_SMALL_CAPITALS = str.maketrans("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqrstuvwyz")
_SMALL = "".join(map(chr, _SMALL_CAPITALS))
_SMALL_WORD = re.compile(rf"(?<!\w)[a-zǫ]*[{_SMALL}][a-zǫ{_SMALL}]*(?!\w)")
_SMALL_WORDS = re.compile(rf"(?<!\w)[a-zǫ]*[{_SMALL}][a-zǫ]*[{_SMALL}][a-zǫ{_SMALL}]*(?!\w)")
_NO_PHONETICS = re.compile("[ᴀᴄ-ᴢꜰꜱ]")
"""Small capitals that phonetic scripts do not use. The others are taken as letters beside these, or two in a word."""


class WindowError(ValueError):
    """A text that is longer than `CHARACTERS_MAX`; `args` is (length,)."""


class Sparse(NamedTuple):
    """A text's features: bucket indices and their weights, of Euclidean length 1 together (0 without words)."""

    buckets: NDArray[np.int64]
    values: NDArray[np.float32]


@functools.lru_cache(maxsize=TEXTS_KEPT)
def fold(text: str) -> str:
    """Return the text in one spelling: compatibility forms, lower case, nothing invisible, Latin for look-alikes.

    Line breaks stay. Look-alike letters are replaced only in words that also have ASCII letters, small capitals only in
    words of nothing else.
    """
    if text.isascii():
        return CONTROLS.sub("", text).lower()
    folded = unicodedata.normalize("NFKC", text.translate(INVISIBLE)).translate(_QUOTES).lower()
    words = _SMALL_WORD if _NO_PHONETICS.search(folded) else _SMALL_WORDS
    folded = words.sub(_plain_capitals, folded)
    return _MIXED_WORD.sub(_latin, folded)


def _plain_capitals(match: re.Match[str]) -> str:
    return match.group().translate(_SMALL_CAPITALS).replace("ǫ", "q")


def _latin(match: re.Match[str]) -> str:
    word = match.group()
    if word.isascii() or not any(letter.isascii() and letter.isalpha() for letter in word):
        return word
    return word.translate(_LOOKALIKES)


def windows(text: str) -> list[str]:
    """Return the folded text in overlapping stretches of at most `WINDOW_CHARACTERS`: at least one, possibly empty.

    Raises WindowError for a text that is too long to be read as a whole.
    """
    folded = " ".join(fold(text).split())
    if len(folded) > CHARACTERS_MAX:
        raise WindowError(len(folded))
    step = WINDOW_CHARACTERS - WINDOW_OVERLAP
    starts = range(0, max(1, len(folded) - WINDOW_OVERLAP), step)
    return [folded[start : start + WINDOW_CHARACTERS] for start in starts]


def features(window: str) -> Sparse:
    """Return the features of a stretch of folded text."""
    codes = _codes(window)
    words = _buckets(_word_hashes(codes))
    characters = _buckets(_character_hashes(codes))
    return Sparse(
        np.concatenate((words[0], characters[0])),
        np.concatenate((_weights(words[1]), _weights(characters[1]))),
    )


def _separators() -> NDArray[np.bool_]:
    table = np.zeros(128, dtype=np.bool_)
    for code in range(128):
        letter = chr(code)
        table[code] = not (letter.isalnum() or letter in _WORD_PUNCTUATION)
    return table


_SEPARATOR = _separators()


def _codes(text: str) -> NDArray[np.uint64]:
    """Return the code points with a space before and after them, every separator replaced by a space."""
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    separate = _SEPARATOR[np.minimum(codes, 127)] & (codes < 128)
    codes[separate] = _SPACE
    return codes.astype(np.uint64)


def _character_hashes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of the 3- to 5-grams whose inner characters are all within one word."""
    inside = codes != _SPACE
    found: list[NDArray[np.uint64]] = []
    hashes = codes[:-1] * _STEP + codes[1:]
    whole = np.ones(len(hashes), dtype=np.bool_)
    for length in (3, 4, 5):
        count = len(codes) - length + 1
        if count <= 0:
            break
        hashes = hashes[:count] * _STEP + codes[length - 1 :]
        whole = whole[:count] & inside[length - 2 : length - 2 + count]
        found.append(hashes[whole] + np.uint64(length))
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def _word_hashes(codes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the hashes of words and of pairs of neighbouring words."""
    inside = codes != _SPACE
    starts = np.flatnonzero(inside[1:] & ~inside[:-1]) + 1
    if not len(starts):
        return np.empty(0, np.uint64)
    offsets = np.arange(len(codes)) - np.repeat(
        np.concatenate(([0], starts)), np.diff(np.concatenate(([0], starts, [len(codes)])))
    )
    terms = np.where(inside, _mixed(codes * _STEP + offsets.astype(np.uint64) * _WORD_SALT), np.uint64(0))
    words = np.add.reduceat(terms, starts)
    pairs = words[:-1] * _STEP + words[1:] * _PAIR_SALT
    return np.concatenate((words + _WORD_SALT, pairs))


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (hashes ^ (hashes >> np.uint64(33))) * _MIX


def _buckets(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct buckets in ascending order, and how often each was hit."""
    buckets = np.sort((_mixed(hashes) >> np.uint64(64 - BUCKET_BITS)).astype(np.int64))
    if not len(buckets):
        return buckets, buckets
    first = np.flatnonzero(np.concatenate(([True], buckets[1:] != buckets[:-1])))
    return buckets[first], np.diff(np.concatenate((first, [len(buckets)])))


def _weights(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    if not len(counts):
        return np.empty(0, np.float32)
    weights = 1.0 + np.log(counts.astype(np.float64))
    return (weights * (_BLOCK_NORM / np.sqrt(np.dot(weights, weights)))).astype(np.float32)
