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
_DIGIT_FIRST = re.compile(r"(?:\(\?<!\\d\)|\W)*\d")
"""The beginning of an expression that begins with a digit: numbers may stand anywhere, far from any letter."""

_REACH = GAP_CHARACTERS_MAX + 40
"""The characters around a letter that an expression may reach into: a gap, and digits or marks behind it."""

_LETTERLESS = re.compile(rf"[\W\d_]{{{2 * _REACH + 1},}}+")
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


class _Expressions(msgspec.Struct, frozen=True):
    """Some expressions, compiled: those that begin with a word, and those with a digit; None if there are none."""

    words: re.Pattern[str]
    numbers: re.Pattern[str] | None


class _Markers(msgspec.Struct, frozen=True):
    """A language's expressions, compiled."""

    regions: tuple[str, ...]
    obligations: dict[str, _Expressions]
    dismissed: _Expressions

    def met(self, text: str, telling: str, *, has_numbers: bool) -> set[str]:
        """Return the ids of the obligations whose expressions the text has.

        `telling` is the text for words; `has_numbers` False: no number of any obligation is in the text.
        """
        kept = self._without_dismissed(telling)
        met = {name for name, each in self.obligations.items() if each.words.search(kept)}
        if has_numbers:
            whole = self._without_dismissed(text)
            met.update(
                name
                for name, each in self.obligations.items()
                if each.numbers is not None and each.numbers.search(whole)
            )
        return met

    def _without_dismissed(self, text: str) -> str:
        kept = self.dismissed.words.sub(" ", text)
        return kept if self.dismissed.numbers is None else self.dismissed.numbers.sub(" ", kept)


def obligations_present(folded: str, region: str, lines: Mapping[str, HelpLine]) -> tuple[str, ...]:
    """Return the ids of the policy's obligations that a draft meets.

    Where the policy has a crisis line for the reader's `region`, nothing but its number is one. Elsewhere words for a
    line do, and where the region is unknown (empty) so does the policy's number for any region of the draft's language.
    """
    text = _in_plain_digits(folded)
    languages = languages_of(text)
    read = tuple(markers(each) for each in languages)
    telling, has_numbers = _telling(text), _numbers_of(languages).search(text) is not None
    met = {name for each in read for name in each.met(text, telling, has_numbers=has_numbers)}
    own = lines.get(region)
    if own is not None and own.number:
        met.discard(CRISIS_LINE)
    fitting = [own] if region else [lines.get(name) for each in read for name in each.regions]
    if any(line is not None and line.number and _holds_number(text, line.number) for line in fitting):
        met.add(CRISIS_LINE)
    if own is not None and _holds_number(text, own.emergency):
        met.add(EMERGENCY_NUMBER)
    return tuple(sorted(met))


def languages_of(text: str) -> tuple[str, ...]:
    """Return the language of a text; all languages where it has none of its own."""
    language = language_of(text)
    return (language,) if language in LANGUAGES else LANGUAGES


def _telling(text: str) -> str:
    """Return the text without what lies deep inside long stretches without a letter.

    Expressions that begin with a word do not reach there, and a list of numbers is not read for each of them.
    """
    return _LETTERLESS.sub(lambda match: f"{match.group()[:_REACH]}\n{match.group()[-_REACH:]}", text)


@cache
def _numbers_of(languages: tuple[str, ...]) -> re.Pattern[str]:
    """Return one pattern for all numbers that are obligations in some languages."""
    found = [each.numbers for one in languages for each in markers(one).obligations.values()]
    return re.compile(
        _either(dict.fromkeys(one.pattern for one in found if one is not None)) if any(found) else r"(?!)"
    )


@cache
def markers(language: str) -> _Markers:
    """Return the markers of a language."""
    raw = (files("serving.guards.obligations") / f"{language}.yaml").read_bytes()
    spelt = msgspec.yaml.decode(raw, type=_Spelt)
    return _Markers(
        regions=spelt.regions,
        obligations={name: _any(spelt, language, listed) for name, listed in spelt.obligations.items()},
        dismissed=_any(spelt, language, spelt.dismissed),
    )


def _any(spelt: _Spelt, language: str, listed: str) -> _Expressions:
    """Return all expressions listed. Names of `words` that the file lacks raise KeyError."""
    filled = _NAME.sub(lambda match: _either(spelt.words[match.group(1)].split(_PARTED)), listed)
    parts = unicodedata.normalize("NFC", filled).replace("…", _GAP).split(_PARTED)
    numbers = [_digits(part) for part in parts if _NUMBER.fullmatch(part)]
    start = _STARTS.get(language, _START)
    numbers += [start + part for part in parts if not _NUMBER.fullmatch(part) and _DIGIT_FIRST.match(part)]
    texts = [part for part in parts if not _DIGIT_FIRST.match(part) and not _NUMBER.fullmatch(part)]
    return _Expressions(
        words=re.compile(start + _either(texts) if texts else r"(?!)"),
        numbers=re.compile(_either(numbers)) if numbers else None,
    )


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
