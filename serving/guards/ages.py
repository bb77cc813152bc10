# ruff: noqa: E501, RUF001
"""A user's age as the user states it. It only ever lowers the known age: nobody is believed to be of age."""

import re

from serving.text.spelling import respelled
from topology.contract.labels import AgeBand

CHARACTERS_MAX = 32_000
"""Length of the start of a text that is read; the rest is not."""
_TEEN_MIN, _ADULT_MIN, _SPEAKS_MIN = 13, 18, 4
_WORDS = {
    "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13,
    "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17,
}  # fmt: skip
_NUMBER = r"(\d{1,2}|" + "|".join(_WORDS) + ")"
_OLD = r"(?: ?-?(?:years?|yrs?|yo|y/o|y\.o\.?)(?:[ -]old)?\b)"
# The end of a bare number that may be an age: an end of text, a comma, `and`; but not `minutes late` or `% sure`.
_END = r"(?= ?(?:[.,!?;)\n]|$|and\b|but\b|so\b|btw\b|lol\b|atm\b|rn\b|now\b|m\b|f\b|years?\b|yrs?\b|yo\b|y/o\b|-?year))(?![.,:]\d)"
_STATED = (
    re.compile(rf"\b(?:i ?a?m|im|iam) (?:only |just |currently |like |actually |a |about to turn |turning |still )?{_NUMBER}\b{_END}(?! ?(?:years?|yrs?) (?:sober|into|in|clean|late|older|younger|of|away|out|married|experience|behind))"),
    re.compile(rf"\b(?:as|being|im|am) an? {_NUMBER}{_OLD}"),
    re.compile(rf"\b(?:i(?:ve)? just turned|i turned|ive turned|i just became|i turn) {_NUMBER}\b{_END}?(?! (?:it|the|my|off|on|around|left|right|in my|into))"),
    re.compile(rf"(?:^|[.!?\n(]) ?{_NUMBER}(?: ?-?(?:years?|yrs?)[ -]old| ?y/?o)(?: (?:girl|boy|male|female|kid|student|here|m|f))? here\b"),
    re.compile(rf"\bmy age is {_NUMBER}\b"),
    re.compile(r"\bich bin (?:erst |gerade |schon )?(\d{1,2})(?= ?(?:[.,!?;)\n]|$|und\b|jahre?\b|aber\b))(?! jahre? (?:lang|verheiratet))"),
    re.compile(r"\bjai (?:que |seulement |bientot )?(\d{1,2}) ans\b(?! (?:d|de))"),
    re.compile(r"\btengo (?:solo )?(\d{1,2}) anos\b(?! (?:de))"),
    re.compile(r"\btenho (?:so |apenas )?(\d{1,2}) anos\b(?! (?:de))"),
    re.compile(r"\bho (?:solo )?(\d{1,2}) anni\b(?! (?:di))"),
    re.compile(r"\bik ben (?:pas |nu )?(\d{1,2})(?= ?(?:[.,!?;)\n]|$|en\b|jaar\b|maar\b))"),
    re.compile(r"\bmam (?:dopiero )?(\d{1,2}) lat\b"),
    re.compile(r"\b(?:ben )?(\d{1,2}) yasindayim\b"),
    re.compile(r"\bмне (?:всего |только |уже )?(\d{1,2}) (?:лет|год|года)\b"),
    re.compile(r"(?:عمري|انا عمري|سني) (\d{1,2})(?!\d)"),
    re.compile(r"(?:मैं|मेरी उम्र|मेरी आयु) (\d{1,2}) (?:साल|वर्ष)"),
    re.compile(r"我(?:今年|才|只有|现在)?(\d{1,2})[岁歳歲]"),
    re.compile(r"(?:私は|僕は|俺は|わたしは|ぼくは)(\d{1,2})[歳才]"),
)  # fmt: skip
_I_AM = r"\b(?:im|i am|i ?m|as) (?:(?:only|just|currently|still|now|going into|starting) )?"
_TEEN_SCHOOL = re.compile(
    rf"{_I_AM}(?:in |an? )?(?:(?:7th|8th|9th|10th|11th|seventh|eighth|ninth|tenth|eleventh)[ -]grade|(?:7th|8th|9th|10th|11th)[ -]grader|"
    r"middle school|junior high|high school (?:freshman|sophomore|junior)|(?:freshman|sophomore|junior) in high school|a? ?teen(?:ager)?\b|a minor\b|under ?age)|"
    r"\bim in (?:grade|year) (?:8|9|10|11)\b"
)
_CHILD_SCHOOL = re.compile(
    rf"{_I_AM}(?:in |an? )?(?:(?:1st|2nd|3rd|4th|5th|first|second|third|fourth|fifth)[ -]grade\b|elementary school|primary school|"
    r"(?:1st|2nd|3rd|4th|5th|first|second|third|fourth|fifth)[ -]grader)"
)
_QUOTATION = re.compile(
    r"\"[^\"\n]{1,500}\"|“[^“”\n]{1,500}”|«[^«»\n]{1,500}»|`[^`\n]{1,500}`|(?<!\w)'[^'\n]{3,500}'(?!\w)"
)
_TEACHES = re.compile(
    r"\b(?:teach|teaching|teacher|write|story|novel|character|translate|my (?:son|daughter|kid|child|student)s? says?)\b"
)


def stated_age(text: str) -> AgeBand:
    """Return `teen` or `under13` if users say so of themselves, else `unknown`. Quotations and stories do not count."""
    said = respelled(_QUOTATION.sub(" ", text[:CHARACTERS_MAX]))
    if _TEACHES.search(said):
        return AgeBand.UNKNOWN
    ages = [_years(match.group(1)) for pattern in _STATED for match in pattern.finditer(said)]
    if any(_SPEAKS_MIN <= age < _TEEN_MIN for age in ages) or _CHILD_SCHOOL.search(said):
        return AgeBand.UNDER13
    if any(_TEEN_MIN <= age < _ADULT_MIN for age in ages) or _TEEN_SCHOOL.search(said):
        return AgeBand.TEEN
    return AgeBand.UNKNOWN


def _years(number: str) -> int:
    return _WORDS.get(number) or int(number)
