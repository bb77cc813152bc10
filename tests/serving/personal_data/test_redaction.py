"""Redaction hides what patterns and checksums find, keeps the rest, and never lets a text through as it was cut."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.personal_data.phones import SEARCHED_CHARACTERS_MAX, is_table
from serving.personal_data.recognizers import AccountNumbers, Patterned, load_library, load_recognizers
from serving.personal_data.redaction import (
    CONTEXT_CHARACTERS,
    CONTEXT_NEEDED,
    CUT,
    OVERLAP_CHARACTERS,
    SCORE_MIN,
    WINDOW_CHARACTERS,
    KeyedDigest,
    LoggingStage,
    Redactor,
    accepted,
)
from serving.personal_data.sight import seen
from tests.contracts.samples import POLICY
from tests.effort import examples
from topology.contract.drafts import Draft
from topology.contract.events import ConversationEvent, Message, Role, TextPart
from topology.contract.labels import LabelerIdentity, Mode, Plan, RequestLabels
from topology.contract.names import DraftSource
from topology.ports import CheckInput

_LOADED = load_library()
LIBRARIES = (*_LOADED.long, *_LOADED.short)
KEY = KeyedDigest(b"a key of the tests", "test")

PERSONAL = {
    "EMAIL_ADDRESS": "maria.velez+shop@posteo.example",
    "PHONE_NUMBER": "+44 20 7946 0958",
    "CREDIT_CARD": "4539 5787 6362 1486",
    "IBAN_CODE": "DE89 3704 0044 0532 0130 00",
    "US_SSN": "536-22-8726",
    "IP_ADDRESS": "203.0.113.77",
    "URL": "https://health.example/patients/88?tab=2",
    "CRYPTO": "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
    "MAC_ADDRESS": "3c:22:fb:9a:01:de",
    "UK_NINO": "AB 12 34 56 C",
    "UK_NHS": "943 476 5919",
    "ES_NIF": "12345678Z",
}


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(KEY, region="US")


@pytest.fixture
def no_network() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("a recogniser opened a connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.mark.parametrize(("label", "value"), PERSONAL.items())
def test_hides_what_it_knows(redactor: Redactor, no_network: None, label: str, value: str) -> None:
    text = f"Please note this down: {value} and thank you."
    logged = redactor.redact(text)
    assert value not in logged.redacted
    assert [text[span.start : span.end].strip() for span in logged.spans] == [value]
    assert logged.spans[0].label == label
    assert logged.redacted.replace(f"<{label}>", value) == text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("my ssn is 536228726", "536228726"),
        ("passport number 912803456 expires soon", "912803456"),
        ("her account: 004412345678", "004412345678"),
        ("iban gb82west12345698765432", "gb82west12345698765432"),
    ],
)
def test_weak_patterns_count_beside_their_words(redactor: Redactor, text: str, hidden: str) -> None:
    assert hidden not in redactor.redact(text).redacted


@pytest.mark.parametrize(
    "text",
    [
        "In 1999 the hotel had 228726001 visitors.",
        "From 2019-2020 to 2024-03-15 nothing changed, see chapter 12.",
        "Boil 250 ml at 100 degrees for 10 minutes, then add 1,500 g.",
        "Write a function add(a: int, b: int) -> int and call x::y in C++.",
        "π ≈ 3.14159265358979",
        "",
    ],
)
def test_plain_numbers_stay(redactor: Redactor, text: str) -> None:
    logged = redactor.redact(text)
    assert logged.redacted == text
    assert logged.spans == ()


def test_overlapping_finds_become_one_span_named_by_the_widest(redactor: Redactor) -> None:
    text = "see http://203.0.113.77/?mail=a@b.example now"
    logged = redactor.redact(text)
    assert logged.redacted == "see <URL> now"
    assert [text[span.start : span.end] for span in logged.spans] == ["http://203.0.113.77/?mail=a@b.example"]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(WINDOW_CHARACTERS - 300, WINDOW_CHARACTERS + OVERLAP_CHARACTERS + 60), st.sampled_from(sorted(PERSONAL))
)
def test_nothing_is_missed_at_a_seam(shared: Redactor, position: int, label: str) -> None:
    filler = "7 7\n" * WINDOW_CHARACTERS
    text = f"{filler[:position]}\nx {PERSONAL[label]} y\n{filler[:200]}"
    assert PERSONAL[label] not in shared.redact(text).redacted


@pytest.fixture(scope="session")
def shared() -> Redactor:
    return Redactor(KEY, region="US")


@examples(150)
@given(st.text(st.characters() | st.sampled_from("0123456789+-(). @:/"), max_size=400))
def test_any_text_is_rebuilt_from_its_spans(shared: Redactor, text: str) -> None:
    logged = shared.redact(text)
    position = 0
    rebuilt = ""
    for span in logged.spans:
        assert position <= span.start < span.end <= len(text)
        rebuilt += text[position : span.start] + f"<{span.label}>"
        position = span.end
    rebuilt += text[position:]
    assert logged.redacted == rebuilt.encode("utf-8", "replace").decode()


def test_a_list_of_numbers_is_hidden_one_by_one(redactor: Redactor) -> None:
    numbers = ("780-999-2181", "(416)555-0199", "+14165550123", "020/7946/0958", "416.555.0172")
    redacted = redactor.redact(" ".join(numbers * 3)).redacted
    assert not [number for number in numbers if number in redacted]


def test_spans_count_characters_not_bytes(redactor: Redactor) -> None:
    text = "😀 é 漢 maria@posteo.example"
    (span,) = redactor.redact(text).spans
    assert text[span.start : span.end] == "maria@posteo.example"


def test_what_is_too_long_is_cut_and_not_kept() -> None:
    redactor = Redactor(KEY, region="US", text_characters_max=100)
    text = "a" * 90 + " 536-22-8726 and a secret tail"
    logged = redactor.redact(text)
    assert logged.redacted == "a" * 90 + f" <US_SSN><{CUT}>"
    assert logged.spans[-1].end == len(text)
    assert logged.digest == KEY(text)


@pytest.mark.parametrize("number", ["12345678", "4539 1488 0343 6467", "415 555 2671", "DE75 5121 0800 1245 1261 99"])
def test_in_a_table_every_number_of_a_possible_length_is_hidden(number: str) -> None:
    """Where numbering plans cannot be tried in time, nothing that they would have found is left, and labels stay."""
    redactor = Redactor(KEY, region="US", text_characters_max=1_000_000)
    row = f"call {number}, "
    table = row * (1 + SEARCHED_CHARACTERS_MAX // 8)
    assert (is_table(row), is_table(table)) == (False, True)
    (alone,) = redactor.redact(row).spans
    spans = redactor.redact(table).spans
    assert [span.start for span in spans] == [len("call ") + len(row) * at for at in range(table.count("call"))]
    assert {span.label for span in spans} == {alone.label}
    assert {span.end - span.start for span in spans} == {alone.end - alone.start}


@pytest.mark.parametrize("unit", ["a.", "1", "1 ", "ab:", "A1", "a@", "12-", "(1", "www.", "::", "1A2B ", "+1.", "1/"])
def test_time_grows_with_length_only(redactor: Redactor, unit: str) -> None:
    """Eight times the text takes at most some twenty times as long: quadratic would be sixty-four."""
    short, long = unit * (2_000 // len(unit)), unit * (16_000 // len(unit))
    assert _seconds(redactor, long) < 20 * _seconds(redactor, short) + 0.05


def _seconds(redactor: Redactor, text: str) -> float:
    best = 1e9
    for _ in range(3):
        started = time.thread_time()
        redactor.spans(text)
        best = min(best, time.thread_time() - started)
    return best


def test_digest_depends_on_key_and_text_alone() -> None:
    assert re.fullmatch(r"hmac-sha256:test:[0-9a-f]{64}", KEY("text"))
    assert KEY("text") == KeyedDigest(b"a key of the tests", "test")("text")
    assert KEY("text") != KEY("text ")
    assert KEY("text") != KeyedDigest(b"another key", "test")("text")
    assert KEY("half \ud83d pair").startswith("hmac-sha256:")


def test_stage_reports_both_texts_in_order(redactor: Redactor) -> None:
    stage = LoggingStage(redactor)
    reports = stage.run([_given("write to maria@posteo.example", "no"), _given("hello", "call +44 20 7946 0958")])
    assert [report.check for report in reports] == ["logging", "logging"]
    assert [report.request_log and report.request_log.redacted for report in reports] == [
        "write to <EMAIL_ADDRESS>",
        "hello",
    ]
    assert [report.draft_log and report.draft_log.redacted for report in reports] == ["no", "call <PHONE_NUMBER>"]
    assert all(report.findings == () and report.version == stage.version for report in reports)


def _given(request: str, draft: str) -> CheckInput:
    message = Message(role=Role.USER, parts=(TextPart(text=request),))
    return CheckInput(
        event=ConversationEvent(event_id="e", conversation_id="c", tenant_id="t", messages=(message,)),
        labels=RequestLabels(labeler=LabelerIdentity(model="m", version="1")),
        plan=Plan(mode=Mode.DIRECT_ANSWER, ceilings={}),
        draft=Draft(text=draft, source=DraftSource.GENERATOR),
        attempt=1,
        policy=POLICY,
    )


def test_no_language_model_is_loaded() -> None:
    program = (
        "import sys; from serving.personal_data.redaction import Redactor, KeyedDigest;"
        "Redactor(KeyedDigest(b'k', 'i'), region='US').redact('a@b.example');"
        "print([name for name in ('spacy', 'torch', 'transformers', 'presidio_analyzer') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "[]"


_PIECES = st.lists(
    st.sampled_from(
        (
            *(
                *PERSONAL.values(),
                "RSSMRA85T10A562S",
                "S1234567D",
                "fe80::1%eth0",
                "01.2.3.4",
                "10.0.0.1/24",
                "AB1234567",
            ),
            *("000-12-3456", "111-11-1111", "078-05-1120", "123-00-6789", "900-12-0000"),
            *("ssn", "passport", "account", "license", "a 1.1.1.1 b", "12345", "x7", "-", ": "),
        )
    )
    | st.text("0123456789+-(). @:/abcXYZ", max_size=20),
    max_size=8,
).map(" ".join)


@given(_PIECES)
@examples(60)
def test_a_recogniser_finds_what_the_librarys_own_loop_finds(text: str) -> None:
    for library in LIBRARIES:
        found = {(one.start, one.end, one.score) for one in Patterned(library).analyze(text, 0.0)}
        own = library.analyze(text, library.supported_entities)
        assert found == {(one.start, one.end, one.score) for one in own}, library.supported_entities


_ACCOUNTS = st.lists(
    st.sampled_from(("DE89", "3704", "0044", "0532", "0130", "00", "gb82west12345698765432", "IS", "a", "-", " ", "7"))
    | st.text("0123456789 ABCxyz", max_size=6),
    max_size=12,
).map(" ".join)


@given(_ACCOUNTS)
@examples(100)
def test_account_numbers_are_those_of_the_librarys_own_loop(text: str) -> None:
    capitals = text.upper()
    found = {(one.start, one.end, one.score) for one in AccountNumbers(_LOADED.capitals).analyze(text, 0.0)}
    assert found == {(one.start, one.end, one.score) for one in _LOADED.capitals.analyze(capitals, ["IBAN_CODE"])}


@given(_PIECES)
@examples(60)
def test_what_is_passed_over_without_a_context_word_would_not_have_counted(text: str) -> None:
    """Compared with trying everything that is found, for its score and its context alone."""
    sight, tried = seen(text).text, load_recognizers()
    for one in (*tried.long, *tried.short):
        expected = [
            (match.start, match.end, match.score)
            for match in one.analyze(sight, 0.0)
            if (match.score >= SCORE_MIN and match.entity_type not in CONTEXT_NEEDED)
            or stands_after(one.context, sight, match.start)
        ]
        assert sorted(found[:3] for found in accepted(one, sight, 0, len(sight))) == sorted(expected)


def stands_after(words: list[str], text: str, start: int) -> bool:
    """Whether one of the words begins a word of the characters before a place."""
    before = text[max(0, start - CONTEXT_CHARACTERS) : start].lower()
    return any(re.search(rf"(?<!\w){re.escape(word)}", before) for word in words)
