"""A record that is put back keeps its first position; where it was really read cannot be forged."""

import pytest

from topology.contract.codec import RecordLimits
from topology.contract.dead_letters import dead_letter
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import Position
from topology.contract.headers import last_header
from topology.contract.lineage import COUNT_MAX, origin_headers, origin_of, place, place_in, redriven_count, source_of
from topology.contract.names import Header
from topology.contract.records import Headers, Record

FIRST = Position(topic="conversations.events", partition=1, offset=17, timestamp_ms=1_700_000_000_000)
ERROR = DeadLetter(DeadLetterReason.MALFORMED, "decode", "")


def _letter(headers: Headers) -> Headers:
    record = Record(topic="in", partition=2, offset=90, timestamp_ms=5, key=b"k", value=b"v", headers=headers)
    return dead_letter(record, ERROR, RecordLimits(), "dlq").headers


def _put_back(count: int = 1) -> Headers:
    ours = ((Header.REDRIVEN.value, str(count).encode()), (Header.REDRIVEN_FROM.value, place("dlq", 0, 3).encode()))
    return (("own", b"1"), *origin_headers(FIRST), *ours)


def test_a_second_failure_names_the_first_copy_and_this_one() -> None:
    letter = _letter(_put_back())
    assert origin_of(letter) == FIRST
    assert source_of(letter) == Position(topic="in", partition=2, offset=90, timestamp_ms=5)
    assert redriven_count(letter) == 1
    assert place_in(letter, Header.REDRIVEN_FROM) == "dlq:0:3"


def test_every_name_of_ours_is_there_once() -> None:
    names = [name for name, _ in _letter(_put_back())]
    assert len(names) == len(set(names))


def test_a_letter_of_before_has_its_source_in_the_original_position() -> None:
    assert source_of(origin_headers(FIRST)) == FIRST


def test_a_forged_source_never_stands() -> None:
    forged: Headers = (("x-source-topic", b"forged"), ("X-Source-Offset", b"1"), ("x-source-partition", b"0"))
    letter = _letter(forged)
    assert source_of(letter) == Position(topic="in", partition=2, offset=90, timestamp_ms=5)
    assert not [value for _, value in letter if value == b"forged"]


@pytest.mark.parametrize(
    "forged",
    [
        (("x-original-topic", b"other"),),
        (*origin_headers(FIRST)[:3], ("x-original-timestamp", b"soon")),
        (*origin_headers(FIRST), ("x-original-topic", b"words of a user")),
        (*origin_headers(FIRST), ("x-original-topic", b"t" * 250)),
        (*origin_headers(FIRST), ("x-original-partition", str(2**31).encode())),
        (*origin_headers(FIRST), ("x-original-offset", "\N{ARABIC-INDIC DIGIT ONE}".encode())),
        (*origin_headers(FIRST), ("x-original-offset", b"-1")),
    ],
    ids=["one alone", "no number", "no topic", "long", "too large", "other digits", "negative"],
)
def test_a_claim_out_of_shape_counts_as_none(forged: Headers) -> None:
    letter = _letter((*forged, *_put_back()[5:]))
    assert origin_of(letter) == Position(topic="in", partition=2, offset=90, timestamp_ms=5)
    assert redriven_count(letter) == 0
    assert last_header(letter, Header.REDRIVEN_FROM) is None


@pytest.mark.parametrize("count", [b"x", b"-1", str(COUNT_MAX + 1).encode(), b"1" * 40, b""])
def test_a_count_out_of_shape_counts_as_none(count: bytes) -> None:
    assert redriven_count(((Header.REDRIVEN.value, count),)) == 0
