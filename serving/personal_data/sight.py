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

_STOPS = "\u3002\uff61"
"""Full stops of scripts that write them in addresses too."""

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_BLANK = "x"
_JOINED = re.compile(r"(?<=\d\d\d\d)_(?=\d\d\d\d)")
"""An underscore between groups of digits, as card numbers are written in names of files."""

_UUID = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0[xX][0-9A-Fa-f]{4,}|(?=[a-f]*[0-9]+[a-f])[0-9a-f]{12,})(?![0-9A-Za-z])")


_COMPATIBLE = ((0x80, 0x3400), (0xA900, 0xAC00), (0xF900, 0x10000), (0x1D400, 0x1D800), (0x1F100, 0x1F200))
"""The ranges that hold spaces, decimal digits and compatibility forms of ASCII."""


class Sight(NamedTuple):
    """The text to read, and where each of its characters stands in the original; None if at the same place."""

    text: str
    places: tuple[int, ...] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return a range of this text as one of the original, with what is invisible inside it."""
        if self.places is None:
            return start, end
        return self.places[start], self.places[end - 1] + 1 if end > start else self.places[start]


def seen(text: str) -> Sight:
    """Return the text as recognisers read it."""
    if text.isascii():
        return Sight(_without_tokens(text), None)
    mapped = same_length(text)
    kept = [at for at, letter in enumerate(mapped) if ord(letter) not in INVISIBLE]
    if len(kept) == len(mapped):
        return Sight(_without_tokens(mapped), None)
    return Sight(_without_tokens("".join(mapped[at] for at in kept)), tuple(kept))


def same_length(text: str) -> str:
    """Return the text with dashes, spaces, and full-width and other compatibility forms of ASCII as ASCII."""
    return text if text.isascii() else text.translate(_ascii_forms())


def _without_tokens(text: str) -> str:
    """Blank what has digits and is no number: a UUID, a long hexadecimal token."""
    for pattern in (_UUID, _HEX):
        text = pattern.sub(lambda found: _BLANK * len(found.group()), text)
    return _JOINED.sub("-", text)


@functools.cache
def _ascii_forms() -> Mapping[int, str]:
    """Return the characters that stand for one ASCII character, by Unicode's compatibility mappings and classes."""
    forms = dict.fromkeys(map(ord, _DASHES), "-") | dict.fromkeys(map(ord, _STOPS), ".")
    for code in chain.from_iterable(range(low, high) for low, high in _COMPATIBLE):
        letter = chr(code)
        if unicodedata.category(letter) == "Zs":
            forms[code] = " "
        elif code not in forms:
            plain = unicodedata.normalize("NFKC", letter)
            if len(plain) == 1 and plain.isascii():
                forms[code] = plain
            elif unicodedata.category(letter) == "Nd":
                forms[code] = str(unicodedata.digit(letter))
    return forms
