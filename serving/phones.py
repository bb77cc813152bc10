"""Telephone numbers, by the numbering plans of `phonenumbers`, tried only where enough digits stand close together."""

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
"""Tried beside the default region: its plan is the most permissive, so it finds what looks like a number at all."""

SURE = 0.5
WEAK = 0.3

# At least seven digits, each at most four separators from the next; possessive, so that it is linear.
_CANDIDATE = re.compile(r"(?<![\d.])[+(]{0,2}\d(?:[ \t\u00a0().\-/+]{0,4}\d){6,}+")


@dataclass(frozen=True, slots=True)
class PhoneMatch:
    """A number found: [start, end) in characters, and how sure it is."""

    start: int
    end: int
    score: float
    entity_type: str = ENTITY


class PhoneRecognizer:
    """Finds numbers written for `region` (ISO 3166) or internationally."""

    def __init__(self, region: str) -> None:
        import phonenumbers

        self._library = phonenumbers
        self._regions = tuple(dict.fromkeys((region, FALLBACK_REGION)))
        self.supported_entities: list[str] = [ENTITY]
        self.context: list[str] = list(CONTEXT)

    def analyze(self, text: str, entities: list[str]) -> Sequence[PhoneMatch]:
        """All numbers in `text`: sure where valid or international, weak where only possible."""
        del entities
        return [match for candidate in _CANDIDATE.finditer(text) for match in self._numbers(text, *candidate.span())]

    def _numbers(self, text: str, start: int, end: int) -> Iterator[PhoneMatch]:
        possible = self._library.Leniency.POSSIBLE
        for region in self._regions:
            for found in self._library.PhoneNumberMatcher(text[start:end], region, leniency=possible):
                is_sure = found.raw_string.startswith("+") or self._library.is_valid_number(found.number)
                yield PhoneMatch(start + found.start, start + found.end, SURE if is_sure else WEAK)
