"""Characters that no reader sees, by Unicode class, and bytes hidden in them.

Format characters (class Cf), control characters but tab and line breaks, what Unicode calls default ignorable, and
variation selectors. A list of known ones is never complete; the classes are.
"""

import re
import unicodedata

_IGNORABLE = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2065, 0x2065),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0F),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),
)
"""Default ignorable code points (DerivedCoreProperties of Unicode 15) that are not of class Cf."""

_PLANES = ((0x80, 0x2FFF), (0xFE00, 0xFFFF), (0x11000, 0x11FFF), (0x13000, 0x1345F), (0x1BC00, 0x1D1FF))
"""The ranges in which Unicode has characters of class Cf or Cc beyond ASCII; the tags of plane 14 are ignorable."""

_KEPT_CONTROLS = frozenset("\t\n\r")


def _invisible() -> dict[int, None]:
    found = [code for low, high in _IGNORABLE for code in range(low, high + 1)]
    for low, high in _PLANES:
        found += [code for code in range(low, high + 1) if unicodedata.category(chr(code)) in {"Cf", "Cc"}]
    found += [code for code in (*range(0x20), 0x7F) if chr(code) not in _KEPT_CONTROLS]
    return dict.fromkeys(found)


INVISIBLE = _invisible()
"""A table for `str.translate` that drops what is invisible."""

CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""The invisible characters of ASCII."""

_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_FIRST, _SECOND, _FIRST_COUNT = 0xFE00, 0xE0100, 16


def hidden_bytes(text: str) -> list[bytes]:
    """Return what runs of variation selectors spell: each stands for one byte. Written text has no such runs."""
    return [bytes(_byte(letter) for letter in run) for run in _SELECTORS.findall(text)]


def _byte(selector: str) -> int:
    code = ord(selector)
    return code - _FIRST if code < _SECOND else code - _SECOND + _FIRST_COUNT
