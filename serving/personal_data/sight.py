"""A text as the recognisers of personal data read it: one kind of dash, space and digit, nothing invisible.

Language models write non-breaking hyphens and narrow spaces by themselves, and people who hide a number do so on
purpose. Tokens that hold digits without being a number, such as a UUID, are blanked: no number is part of one.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping
from itertools import chain
from typing import NamedTuple

from serving.text.invisible import INVISIBLE
from topology.contract.measures.intervals import joined

_STOPS = "\u3002\uff61"
"""Full stops of scripts that write them in addresses too."""

_DASHES = "\u02d7\u2043\u207b\u208b\u2212\u2796\u2cba"
"""What looks like a dash and is of another class than Pd: a modifier letter, a bullet, minus signs."""

_OTHERS = {0x2795: "+", 0x2044: "/", 0x2215: "/", 0x2800: " "}
_MARKS = frozenset((*range(0x300, 0x370), *range(0x20D0, 0x2100)))
"""Marks on the letter before them, such as the frame of a keycap."""

_DOTS = "[\u00b7\u0387\u06d4\u2022\u2023\u2027\u2219\u22c5\u25aa\u25cf\u25e6\u30fb\u30fc\uff65\uff70]"
_BETWEEN = re.compile(  # the dot comes first: the search then skips to it
    rf"{_DOTS}(?:(?<=[0-9)].)(?=[0-9A-Za-z(])|(?<=[A-Za-z].)(?=[0-9])|(?<=[0-9]{{2}} .)(?= [0-9]{{2}}))"
)
"""Dots, bullets and long vowels that part groups of a number: close to both, or one space from two digits."""

_BLANK = "x"
_UUID = re.compile(r"(?<=[0-9A-Za-z]{8})(?:[-_][0-9A-Za-z]{4}){3}[-_][0-9A-Za-z]{12}")
_UUID_FIRST = 8
"""The letters of a UUID before its first dash, at which the search begins: words have few."""

_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0[xX][0-9A-Fa-f]{4,}|(?=[a-f]*[0-9]+[a-f])[0-9a-f]{12,})(?![0-9A-Za-z])")
_BASE64 = re.compile(r"(?<![0-9A-Za-z+/])[0-9A-Za-z+/]{64,}+={0,2}")


_COMPATIBLE = (
    (0x80, 0x3400),
    (0xA900, 0xAC00),
    (0xF900, 0x10000),
    (0x10EAD, 0x10EAE),
    (0x1D400, 0x1D800),
    (0x1F100, 0x1F200),
    (0x1FBF0, 0x1FC00),
)
"""The ranges that hold spaces, dashes, digits and compatibility forms of ASCII."""


class Sight(NamedTuple):
    """The text to read, and where each of its characters stands in the original; None if at the same place."""

    text: str
    """What may hold numbers: without tokens of other kinds."""

    letters: str
    """The same text with those tokens."""

    places: tuple[int, ...] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return a range of this text as one of the original, with what is invisible inside it."""
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1 if end > start else self.places[start]


def seen(text: str) -> Sight:
    """Return the text as recognisers read it."""
    if text.isascii():
        return Sight(_without_tokens(text), text, None)
    mapped = same_length(text)
    kept = [at for at, letter in enumerate(mapped) if ord(letter) not in _UNSEEN]
    if len(kept) == len(mapped):
        return Sight(_without_tokens(mapped), mapped, None)
    letters = "".join(mapped[at] for at in kept)
    return Sight(_without_tokens(letters), letters, tuple(kept))


def same_length(text: str) -> str:
    """Return the text with dashes, spaces, and full-width and other compatibility forms of ASCII as ASCII."""
    return text if text.isascii() else _BETWEEN.sub("-", text.translate(_ascii_forms()))


def _without_tokens(text: str) -> str:
    """Blank what has digits and is no number: a UUID, a long hexadecimal token, bytes in base64."""
    taken = [(found.start() - _UUID_FIRST, found.end()) for found in _UUID.finditer(text)]
    taken += (found.span() for found in _HEX.finditer(text))
    taken += (found.span() for found in _BASE64.finditer(text) if _is_mixed(found[0]))
    if not taken:
        return text
    kept: list[str] = []
    position = 0
    for start, end in joined(taken):
        kept += (text[position:start], _BLANK * (end - start))
        position = end
    return "".join((*kept, text[position:]))


def _is_mixed(token: str) -> bool:
    """Return whether a token has small letters and capitals, as bytes in base64 have and rows of digits have not."""
    return token not in {token.lower(), token.upper()}


_UNSEEN = _MARKS | INVISIBLE.keys()


@functools.cache
def _ascii_forms() -> Mapping[int, str]:
    """Return the characters that stand for one ASCII character, by Unicode's compatibility mappings and classes."""
    forms = dict.fromkeys(map(ord, _DASHES), "-") | dict.fromkeys(map(ord, _STOPS), ".") | _OTHERS
    for code in chain.from_iterable(range(low, high) for low, high in _COMPATIBLE):
        letter = chr(code)
        if code in forms:
            continue
        kind, plain = unicodedata.category(letter), unicodedata.normalize("NFKC", letter)
        if kind in _BY_CLASS:
            forms[code] = _BY_CLASS[kind]
        elif len(plain) == 1 and plain.isascii():
            forms[code] = plain
        elif (digit := unicodedata.digit(letter, None)) is not None:
            forms[code] = str(digit)
    return forms


_BY_CLASS = {"Zs": " ", "Pd": "-"}
