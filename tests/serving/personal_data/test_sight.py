"""What recognisers of personal data read, and where it stands in the text."""

import base64
import random
import sys
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.personal_data.private_data import items
from serving.personal_data.redaction import Redactor
from serving.personal_data.sight import same_length, seen
from tests.effort import examples
from tests.proportion import is_in_proportion
from tests.serving.personal_data.test_private_data import BUNDLE, event

REDACTOR = Redactor(lambda _text: "", region="US")
SSN, IBAN, CARD = "219-09-9999", "DE72 3705 0198 0022 8888 88", "5555 3412 4444 1115"


PARTED = {
    "Her social security number is {} .": SSN,
    "Pay with his credit card {} now": CARD.replace(" ", "-"),
    "Her IBAN is {} , thanks": IBAN.replace(" ", "-"),
    "Her private phone number is {} , call her": "+49-731-9876543",
}
DASHES = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == "Pd"]
LIKE_DASHES = [*"\u02d7\u2043\u207b\u208b\u2212\u2796", *"\u00b7\u2022\u2219\u30fb\u30fc\u06d4"]


@pytest.mark.parametrize("dash", [*DASHES, *LIKE_DASHES], ids=ascii)
def test_a_number_is_seen_whatever_dash_or_dot_parts_it(dash: str) -> None:
    for sentence, number in PARTED.items():
        written = number.replace("-", dash)
        text = sentence.format(written)
        assert [text[span.start : span.end] for span in REDACTOR.spans(text)] == [written]


def test_a_bullet_that_parts_no_number_stays_one() -> None:
    for text in (
        "\u2022 7 eggs\n\u2022 2 lemons",
        "col\u00b7legi",
        "1 \u00b7 2 \u00b7 3 \u00b7 4 \u00b7 5 \u00b7 6 \u00b7 7 \u00b7 8",
        "\u30c7\u30fc\u30bf",
    ):
        assert same_length(text) == text
        assert REDACTOR.redact(text).redacted == text


@pytest.mark.parametrize("mark", "._/ -")
@pytest.mark.parametrize("iban", [IBAN, IBAN.lower(), "FR76 3000 6000 0112 3456 7890 189"])
def test_an_iban_is_seen_with_any_mark_between_its_groups(iban: str, mark: str) -> None:
    assert REDACTOR.redact(f"it is {iban.replace(' ', mark)}. Then").redacted == "it is <IBAN_CODE>. Then"


@pytest.mark.parametrize("mark", "._- ")
def test_a_card_is_seen_with_any_mark_between_its_groups(mark: str) -> None:
    assert REDACTOR.redact(f"scan_{CARD.replace(' ', mark)}.png").redacted == "scan_<CREDIT_CARD>.png"


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


def test_digits_in_frames_circles_or_under_lines_are_read() -> None:
    framed = "".join(f"{digit}\ufe0f\u20e3" for digit in "5555")
    circled = "".join(chr(0x2775 + int(digit)) for digit in "5555")
    lined = "".join(f"{digit}\u0332" for digit in "5555")
    for written in (framed, circled, lined):
        assert REDACTOR.redact(f"card {CARD.replace('5555', written)}").redacted == "card <CREDIT_CARD>"


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
        "call 1 2 3 4 5 6 7 8 9 10",
    ],
)
def test_a_number_is_no_part_of_a_word_a_version_or_a_time(text: str) -> None:
    assert REDACTOR.redact(text).redacted == text


LONG = "7fQ+" * 8 + "41z/" * 8
WHOLE = (
    "11111111-2222-3333-4444-555555555555",
    "11111111\u20112222\u20113333\u20114444\u2011555555555555",
    "pod11111111_2222_3333_4444_555555555555a",
    "zzzzzzzz-4539-1488-0343-646712345678",
    "4539-1488-0343-6467-12",
    "5E52220792951187D24B2525DE649FE5B25C82AB",
    "978CF13975172BA035749D8B",
    "1a:63:ef:c2:7c:b0:f3:51:de:dc:a0:18:54:a2:1e:8f",
    "build_4972155_6795859_31415926",
    "119.0.6045.105.7",
    f"data:image/png;base64,{LONG}/4155552671+41555/52671==",
    f"Ab{LONG}/4155552671+{LONG}",
)


@pytest.mark.parametrize("token", WHOLE)
@pytest.mark.parametrize("sentence", ["call {} now", "pay by card {} ok", "medical id {}", "address {}", "pesel {}."])
def test_no_number_begins_or_ends_inside_a_longer_token(token: str, sentence: str) -> None:
    text = sentence.format(token)
    assert REDACTOR.redact(text).redacted == text
    assert items(text, event(), BUNDLE) == []


@pytest.mark.parametrize("kind", ["digits and capitals", "hexadecimal", "HEXADECIMAL", "base64"])
def test_random_tokens_are_hidden_whole_or_not_at_all(kind: str) -> None:
    draw = random.Random(kind)
    for _ in range(300):
        token = {
            "digits and capitals": lambda: "".join(draw.choices("0123456789ABCDEFGHJKMNPQRSTVWXYZ", k=26)),
            "hexadecimal": lambda: draw.randbytes(20).hex(),
            "HEXADECIMAL": lambda: draw.randbytes(20).hex().upper(),
            "base64": lambda: base64.b64encode(draw.randbytes(90)).decode(),
        }[kind]()
        text = f"passport, npi, card or account {token} now"
        whole = (text.index(token), text.index(token) + len(token))
        assert {(span.start, span.end) for span in REDACTOR.spans(text)} <= {whole}


@examples(300)
@given(st.text(max_size=60))
def test_places_lead_back_to_the_same_letters(text: str) -> None:
    sight = seen(text)
    assert len(same_length(text)) == len(text)
    for at in range(len(sight.text)):
        start, end = sight.span(at, at + 1)
        assert end - start == 1
        assert 0 <= start < end <= len(text)


UNITS = (
    "1\u00b7",
    "\u2022",
    "219\u201109\u2011",
    "DE72.3705.",
    "c59d5725-282b-4370-aa70-",
    "1\ufe0f\u20e3",
    "aB1/",
    "a1",
    " ",
)


@pytest.mark.parametrize("unit", UNITS, ids=ascii)
def test_a_text_is_seen_in_time_that_grows_with_its_length_only(unit: str) -> None:
    assert is_in_proportion(seen, unit * (400_000 // len(unit)))
