"""A dead letter carries the original bytes, says why it failed and where it was read, and always fits."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topology.contract.codec import RecordLimits
from topology.contract.dead_letters import LETTER_HEADERS, ORIGINAL_HEADERS_BYTES_MAX, ORIGINAL_HEADERS_MAX, dead_letter
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.records import Headers, OutRecord, Record

LIMITS = RecordLimits(event_bytes_max=1000, dead_letter_bytes_max=100)
ERROR = DeadLetter(DeadLetterReason.INVALID, "decode", "$.event_id: Expected `str`")


def _record(value: bytes | None, headers: Headers = (), key: bytes | None = b"\x00key") -> Record:
    return Record(topic="in", partition=3, offset=2**40, timestamp_ms=17, key=key, value=value, headers=headers)


def _letter(record: Record, error: DeadLetter = ERROR) -> OutRecord:
    return dead_letter(record, error, LIMITS, "dlq")


def test_original_bytes_and_all_headers() -> None:
    value = b"\xff{not json"
    letter = _letter(_record(value))
    assert (letter.topic, letter.key, letter.value) == ("dlq", b"\x00key", value)
    assert dict(letter.headers) == {
        "x-reason": b"invalid",
        "x-stage": b"decode",
        "x-detail": b"$.event_id: Expected `str`",
        "x-original-topic": b"in",
        "x-original-partition": b"3",
        "x-original-offset": b"1099511627776",
        "x-original-timestamp": b"17",
        "x-original-length": b"10",
        "x-original-sha256": hashlib.sha256(value).hexdigest().encode(),
        "x-source-topic": b"in",
        "x-source-partition": b"3",
        "x-source-offset": b"1099511627776",
        "x-source-timestamp": b"17",
    }


@pytest.mark.parametrize(("length", "kept"), [(1000, 1000), (1001, 100), (5000, 100)])
def test_only_a_value_over_the_event_bound_is_cut(length: int, kept: int) -> None:
    value = bytes(range(256)) * 20
    letter = _letter(_record(value[:length]))
    headers = dict(letter.headers)
    assert letter.value == value[:kept]
    assert headers["x-original-length"] == str(length).encode()
    assert headers["x-original-sha256"] == hashlib.sha256(value[:length]).hexdigest().encode()


def test_null_is_not_written_as_a_tombstone() -> None:
    null, empty = _letter(_record(None)), _letter(_record(b""))
    assert null.value == empty.value == b""
    assert dict(null.headers)["x-original-null"] == b"1"
    assert "x-original-null" not in dict(empty.headers)
    assert _letter(_record(None, key=None)).key is None


def test_original_headers_stay_in_order_and_ours_win() -> None:
    original = (
        ("content-type", b"application/json"),
        ("X-Reason", b"forged"),
        ("x-original-null", b"1"),
        ("traceparent", b"theirs"),
        ("own", b"1"),
        ("own", b"\xff"),
    )
    letter = _letter(_record(b"{}", original))
    assert letter.headers[:4] == (original[0], original[3], original[4], original[5])
    assert [value for name, value in letter.headers if name.lower() == "x-reason"] == [b"invalid"]
    assert "x-original-null" not in dict(letter.headers)


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=9_000)), max_size=90), st.binary(max_size=300))
def test_it_is_bounded_whatever_the_original(headers: list[tuple[str, bytes]], key: bytes) -> None:
    letter = _letter(_record(b"x" * 2000, tuple(headers), key))
    ours = [name for name, _ in letter.headers].index("x-reason")
    kept = letter.headers[:ours]
    dropped = int(dict(letter.headers).get("x-original-headers-dropped", b"0"))
    assert len(kept) + dropped == sum(name.lower() not in LETTER_HEADERS for name, _ in headers)
    assert kept == tuple(headers)[: len(kept)] or any(name.lower().startswith("x-") for name, _ in headers)
    assert len(kept) <= ORIGINAL_HEADERS_MAX
    assert sum(len(name.encode("utf-8", "replace")) + len(value) for name, value in kept) <= ORIGINAL_HEADERS_BYTES_MAX
    assert letter.key == key[:100]


def test_a_long_detail_is_cut() -> None:
    letter = _letter(_record(b"{}"), DeadLetter(DeadLetterReason.PROCESSING_FAILED, "judge", "d" * 9_000))
    assert len(dict(letter.headers)["x-detail"]) == 512
