"""Telephone numbers, found by the numbering plans of `phonenumbers` where enough digits stand close together."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ENTITY = "PHONE_NUMBER"
CONTEXT = (
    "phone",
    "telephone",
    "tel",
    "call",
    "cell",
    "mobile",
    "number",
    "fax",
    "text me",
    "whatsapp",
    "dial",
    "contact",
)
FALLBACK_REGION = "GB"
"""The region tried beside the default one: its plan is the most permissive, so it finds anything like a number."""

DIGITS_MIN = 7
DIGITS_MAX = 15
"""The most digits of an international number (ITU-T E.164)."""

RUN_DIGITS_MAX = 45
"""The longest run of digits that is searched at every position. A longer one is a table or a list: only words with
the shape of a number are taken from it.

Trying the numbering plans at every position of such a run costs 30 µs a character.
"""

SEARCHED_CHARACTERS_MAX = 32_768
"""The most characters of a text in which numbering plans are tried: as many as an audit record keeps.

Beyond them the text is a table, in which every group of numbers that a telephone number may have counts as one.
"""

SURE = 0.45
WEAK = 0.3
"""The scores below and above the one that counts without a context word; another kind's checksum outweighs both."""

# At least seven digits, each at most four separators from the next; possessive, so that it is linear.
# Neither end touches a letter or an underscore of ASCII, but for an extension: what does is part of a word.
_CANDIDATE = re.compile(
    r"(?<![\w.])(?<![A-Za-z_]\()[+(]{0,2}\d(?:[ \t().\-/+]{0,4}\d){6,}+(?![A-Za-z_](?<!x))(?!x[A-Za-z_])", re.ASCII
)

_SHAPE = re.compile(
    r"(?=0\d*[ \-./]|\+|\(\d+\)|\d+[\-.)])"  # a trunk zero, a plus, a pair of brackets, or more than spaces between
    r"[+(]{0,2}\d{1,4}(?:\)?[ \-./]?\(?\d{2,})+"
)
"""The shape of numbers and hardly anything else: groups of at least two digits, one separator apart."""

_YEAR = r"(?:1\d|20)\d\d"
_NOT_A_PHONE = re.compile(
    r"\d+\.\d+(?![\d.\-/() ])|"
    r"(?=[\d.]*(?:(?<!\d)\d\.|\.\d{5,}))\d+(?:\.\d+){3,}(?![\d.])|"
    r"\d\d([-./])\d\d\1\d\d[ T]\d\d(?!\d)|"
    r"(?:0 )?1 2 3 4 5 6 7|"
    rf"[(+]*(?:{_YEAR}(?:[-./ ]\d\d?){{2}}(?!\d)|\d\d?([-./ ])\d\d?\2{_YEAR}(?!\d)|(?:{_YEAR}[-./ ]*)+(?!\d))"
)
"""Decimal fractions, versions, dates, rows of years and counting; the library excludes only some of them."""

_WORD = re.compile(r"\S+")
_GROUP = re.compile(r"[+(]*\d+\)?")
_EXTENSION = re.compile(r" ?(?:x|ext\.?|extension) ?\d{1,6}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PhoneMatch:
    """A number that was found: [start, end) in characters, and a score."""

    start: int
    end: int
    score: float
    entity_type: str = ENTITY


class PhoneRecognizer:
    """The recogniser of numbers written for `region` (ISO 3166) or internationally."""

    def __init__(self, region: str) -> None:
        import phonenumbers

        self._library = phonenumbers
        self._regions = tuple(dict.fromkeys((region, FALLBACK_REGION)))
        self.supported_entities: list[str] = [ENTITY]
        self.context: list[str] = list(CONTEXT)

    def analyze(self, text: str, score_min: float) -> Sequence[PhoneMatch]:
        """Find all numbers in `text`: sure if valid, international or of a telling shape; weak if only possible."""
        del score_min
        return [match for candidate in _CANDIDATE.finditer(text) for match in self._numbers(text, *candidate.span())]

    def _numbers(self, text: str, start: int, end: int) -> Iterator[PhoneMatch]:
        if _NOT_A_PHONE.match(text, start, end):
            return
        if _digits(text, start, end) > RUN_DIGITS_MAX:
            words = (word.span() for word in _WORD.finditer(text, start, end))
            yield from (PhoneMatch(low, high, SURE) for low, high in words if _is_shaped(text, low, high))
            return
        extension = _EXTENSION.match(text, end)
        if _is_shaped(text, start, end):
            yield PhoneMatch(start, extension.end() if extension else end, SURE)
            return
        yield from self._searched(text, start, end)

    def _searched(self, text: str, start: int, end: int) -> Iterator[PhoneMatch]:
        """Yield the numbers in a range that has enough digits and tells nothing by its shape."""
        for region in self._regions:
            for found in self._library.PhoneNumberMatcher(
                text[start:end], region, leniency=self._library.Leniency.POSSIBLE
            ):
                is_sure = found.raw_string.startswith("+") or self._library.is_valid_number(found.number)
                yield PhoneMatch(start + found.start, start + found.end, SURE if is_sure else WEAK)


class TablePhoneRecognizer(PhoneRecognizer):
    """The recogniser of numbers in tables: groups of up to fifteen digits are a number, whatever plans say."""

    def _searched(self, text: str, start: int, end: int) -> Iterator[PhoneMatch]:
        low = high = count = 0
        for group in _GROUP.finditer(text, start, end):
            digits = _digits(text, *group.span())
            if count + digits > DIGITS_MAX:
                if count >= DIGITS_MIN:
                    yield PhoneMatch(low, high, SURE)
                count = 0
            if not count:
                low = group.start()
            high, count = group.end(), count + digits
        if DIGITS_MIN <= count <= DIGITS_MAX:
            yield PhoneMatch(low, high, SURE)


def is_table(text: str) -> bool:
    """Return whether a text has more numbers than numbering plans can be tried on in time."""
    left = SEARCHED_CHARACTERS_MAX
    for candidate in _CANDIDATE.finditer(text):
        start, end = candidate.span()
        left -= 0 if _is_shaped(text, start, end) else end - start
        if left < 0:
            return True
    return False


def _digits(text: str, start: int, end: int) -> int:
    return sum(map(str.isdigit, text[start:end]))


def _is_shaped(text: str, start: int, end: int) -> bool:
    """Return whether a number of at least seven digits, at most as many as numbers have, has the usual shape."""
    is_long = DIGITS_MIN <= _digits(text, start, end) <= DIGITS_MAX
    return is_long and _SHAPE.fullmatch(text, start, end) is not None
