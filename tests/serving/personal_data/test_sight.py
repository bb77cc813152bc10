"""What recognisers of personal data read, and where it stands in the text."""

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.personal_data.redaction import Redactor
from serving.personal_data.sight import same_length, seen
from tests.effort import examples

REDACTOR = Redactor(lambda _text: "", region="US")
SSN, IBAN, CARD = "219-09-9999", "DE72 3705 0198 0022 8888 88", "5555 3412 4444 1115"


@pytest.mark.parametrize("dash", "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d")
def test_a_number_is_seen_whatever_dash_parts_it(dash: str) -> None:
    text = f"Her social security number is {SSN.replace('-', dash)}."
    assert REDACTOR.redact(text).redacted == "Her social security number is <US_SSN>."


@pytest.mark.parametrize("space", "\u00a0\u2002\u2007\u2009\u202f\u3000")
@pytest.mark.parametrize(("number", "kind"), [(IBAN, "IBAN_CODE"), (CARD, "CREDIT_CARD")])
def test_a_number_is_seen_whatever_space_parts_it(number: str, kind: str, space: str) -> None:
    text = f"it is {number.replace(' ', space)} now"
    assert REDACTOR.redact(text).redacted == f"it is <{kind}> now"


@pytest.mark.parametrize("letter", "\u200b\u2060\u00ad\u061c\ufeff")
def test_what_is_invisible_neither_hides_a_number_nor_moves_what_stands_around_it(letter: str) -> None:
    text = f"a{letter}b {SSN[:5]}{letter}{SSN[5:]} z{letter}"
    found = REDACTOR.redact(text)
    assert found.redacted == f"a{letter}b <US_SSN> z{letter}"


def test_full_width_letters_and_other_digits_are_read() -> None:
    assert "<EMAIL_ADDRESS>" in REDACTOR.redact("write to ana.berg\uff20mail-ulm.de").redacted
    assert "<EMAIL_ADDRESS>" in REDACTOR.redact("write to a.b@x\u3002org").redacted
    arabic = "".join(chr(0x0660 + int(digit)) if digit.isdigit() else digit for digit in CARD)
    assert "<CREDIT_CARD>" in REDACTOR.redact(f"card {arabic}").redacted


def test_no_number_is_part_of_a_uuid_or_of_a_long_hexadecimal_token() -> None:
    draw = random.Random(7)
    for _ in range(300):
        token = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        for text in (f"please call {token} now", f"Call GET /v1/items/{token}", f"digest {draw.getrandbits(160):040x}"):
            assert REDACTOR.redact(text).redacted == text


@pytest.mark.parametrize(
    "text",
    [
        "divmod(1234567890, 97) you get (12727504, 2)",
        "The mobile app version is 4.12.0.20240315.",
        "for example 12-03-24 10:20:30",
        "call v20240315123, it is build_20240315123",
    ],
)
def test_a_number_is_no_part_of_a_word_a_version_or_a_time(text: str) -> None:
    assert REDACTOR.redact(text).redacted == text


@examples(300)
@given(st.text(max_size=60))
def test_places_lead_back_to_the_same_letters(text: str) -> None:
    sight = seen(text)
    assert len(same_length(text)) == len(text)
    for at in range(len(sight.text)):
        start, end = sight.span(at, at + 1)
        assert end - start == 1
        assert 0 <= start < end <= len(text)
