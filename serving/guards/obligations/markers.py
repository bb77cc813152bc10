"""The policy's obligations that a draft meets, read by markers of the language it is written in.

Each language has a file of regular expressions for folded text, parted by ` | `. Digits alone are a number, however
it is spaced; `…` is a gap within a sentence; `<name>` stands for one of the file's `words`. An expression begins at a
word, in scripts that part words, and its end is open, because endings inflect. What is `dismissed` sends a reader
away from help, and is taken out of the text first. Names and numbers of lines that a file lists only tell that a
draft names one: nobody is sent to them from here.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

import msgspec

from serving.text.language import language_of
from topology.policy.bundle import HelpLine

GAP_CHARACTERS_MAX = 60
"""Length of the longest gap between the two parts of an expression."""
CRISIS_LINE = "crisis_line"
EMERGENCY_NUMBER = "emergency_number"
_GAP = rf"[^.!?。؟।;\n]{{0,{GAP_CHARACTERS_MAX}}}?"
_PARTED = " | "
_NAME = re.compile(r"<([a-z_]+)>")
_NUMBER = re.compile(r"[\d ]+")
_DIGIT = re.compile(r"\d")
_BETWEEN_DIGITS = r"[ .()/\u2010-]{0,3}"
_START = r"(?<!\w)"
_STARTS = {"zh": "", "ja": "", "ar": rf"{_START}[وفبلك]{{0,2}}(?:ال)?"}
"""The start of an expression in scripts that do not part words, and in one that writes particles with them."""
LANGUAGES = ("ar", "de", "en", "es", "fr", "hi", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr", "zh")


class _Spelt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A language's file. `regions` are those whose help lines fit where nobody knows the reader's region."""

    regions: tuple[str, ...]
    words: dict[str, str]
    dismissed: str
    obligations: dict[str, str]


class _Markers(msgspec.Struct, frozen=True):
    """A language's expressions, compiled."""

    regions: tuple[str, ...]
    obligations: dict[str, re.Pattern[str]]
    dismissed: re.Pattern[str]

    def met(self, text: str) -> set[str]:
        """Return the ids of the obligations whose expressions the text has."""
        kept = self.dismissed.sub(" ", text)
        return {name for name, pattern in self.obligations.items() if pattern.search(kept)}


def obligations_present(folded: str, region: str, lines: Mapping[str, HelpLine]) -> tuple[str, ...]:
    """Return the ids of the policy's obligations that a draft meets.

    Where the policy has a crisis line for the reader's `region`, nothing but its number is one. Elsewhere words for a
    line do, and where the region is unknown (empty) so does the policy's number for any region of the draft's language.
    """
    text = _in_plain_digits(folded)
    read = _markers_for(text)
    met = {name for each in read for name in each.met(text)}
    own = lines.get(region)
    if own is not None and own.number:
        met.discard(CRISIS_LINE)
    fitting = [own] if region else [lines.get(name) for each in read for name in each.regions]
    if any(line is not None and line.number and _holds_number(text, line.number) for line in fitting):
        met.add(CRISIS_LINE)
    if own is not None and _holds_number(text, own.emergency):
        met.add(EMERGENCY_NUMBER)
    return tuple(sorted(met))


def _markers_for(text: str) -> tuple[_Markers, ...]:
    """Return the markers of a text's language; of all languages where it has none of its own."""
    language = language_of(text)
    return tuple(_markers(each) for each in ((language,) if language in LANGUAGES else LANGUAGES))


@cache
def _markers(language: str) -> _Markers:
    raw = (files("serving.guards.obligations") / f"{language}.yaml").read_bytes()
    spelt = msgspec.yaml.decode(raw, type=_Spelt)
    return _Markers(
        regions=spelt.regions,
        obligations={name: _any(spelt, language, listed) for name, listed in spelt.obligations.items()},
        dismissed=_any(spelt, language, spelt.dismissed),
    )


def _any(spelt: _Spelt, language: str, listed: str) -> re.Pattern[str]:
    """Return one pattern for all expressions listed. Names of `words` that the file lacks raise KeyError."""
    filled = _NAME.sub(lambda match: _either(spelt.words[match.group(1)].split(_PARTED)), listed)
    parts = unicodedata.normalize("NFC", filled).replace("…", _GAP).split(_PARTED)
    numbers = [_digits(part) for part in parts if _NUMBER.fullmatch(part)]
    texts = [part for part in parts if not _NUMBER.fullmatch(part)]
    return re.compile(_either([*numbers, _STARTS.get(language, _START) + _either(texts)]))


def _either(parts: Iterable[str]) -> str:
    return f"(?:{'|'.join(parts)})"


def _holds_number(text: str, number: str) -> bool:
    """Return whether the text has the number, however its digits are spaced. A slash in `number` parts alternatives."""
    return any(re.search(_digits(one), text) is not None for one in number.split("/"))


def _digits(number: str) -> str:
    digits = _BETWEEN_DIGITS.join(digit for digit in number.lower() if digit.isalnum())
    return rf"(?<!\d){digits}(?!\d)"


def _in_plain_digits(folded: str) -> str:
    """Return the text with Arabic, Devanagari and all other decimal digits as ASCII ones."""
    return folded if folded.isascii() else _DIGIT.sub(lambda match: str(int(match.group())), folded)
