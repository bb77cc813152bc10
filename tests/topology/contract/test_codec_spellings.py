"""Spellings that JSON Schema and JavaScript take for the same are read as the same; others are refused by path."""

from collections.abc import Callable

import msgspec
import pytest

from tests.topology.contract.contract_samples import EVENT_MINIMAL
from topology.contract.codec import RecordLimits, decode_event
from topology.contract.errors import DeadLetter
from topology.contract.events import ConversationEvent, GenerationParameters, UserContext
from topology.contract.records import Headers, Record

ENCODINGS = [(msgspec.json.encode, ()), (msgspec.msgpack.encode, (("content-type", b"application/msgpack"),))]


def read(value: bytes, headers: Headers = ()) -> ConversationEvent:
    key = EVENT_MINIMAL.conversation_id.encode()
    record = Record(topic="in", partition=0, offset=5, timestamp_ms=1, key=key, value=value, headers=headers)
    return decode_event(record, RecordLimits())


def changed(**fields: object) -> dict[str, object]:
    """An event as a document, with other fields."""
    return {**msgspec.to_builtins(EVENT_MINIMAL), **fields}


def refused(document: dict[str, object]) -> str:
    """Why a document is no event."""
    with pytest.raises(DeadLetter) as caught:
        read(msgspec.json.encode(document))
    return caught.value.detail


@pytest.mark.parametrize(("encode_as", "headers"), ENCODINGS)
def test_whole_numbers_with_a_point_and_nulls_for_objects_are_read_as_the_schema_says(
    encode_as: Callable[[object], bytes], headers: Headers
) -> None:
    numbers = {"max_tokens": 5.0, "seed": 7.0}
    event = read(encode_as(changed(deadline_ms=1_700_000_000_000.0, user=None, generation=numbers)), headers)
    assert (event.deadline_ms, event.user) == (1_700_000_000_000, UserContext())
    assert (event.generation.max_tokens, event.generation.seed) == (5, 7)
    assert isinstance(event.deadline_ms, int)


@pytest.mark.parametrize(("encode_as", "headers"), ENCODINGS)
def test_every_field_of_an_object_that_may_be_left_out_may_be_null(
    encode_as: Callable[[object], bytes], headers: Headers
) -> None:
    for part, kind in (("user", UserContext), ("generation", GenerationParameters)):
        nulls = dict.fromkeys(kind.__struct_fields__)
        assert getattr(read(encode_as(changed(**{part: nulls})), headers), part) == kind()


def test_a_number_that_is_not_whole_and_other_nulls_are_refused_by_path() -> None:
    assert "$.deadline_ms" in refused(changed(deadline_ms=1.5))
    assert "$.messages" in refused(changed(messages=None))
    assert "$.messages[0]" in refused(changed(messages=[None]))
    assert "$.event_id" in refused(changed(event_id=None))
    assert "$.user.grants[0].tenant" in refused(changed(user={"grants": [{"grant": "g", "tenant": None}]}))
    assert refused(changed(generation={"max_tokens": 5.5})).startswith("$.generation.max_tokens")


@pytest.mark.parametrize(("encode_as", "headers"), ENCODINGS)
def test_an_event_that_ends_behind_such_a_spelling_is_a_dead_letter_wherever_it_was_cut(
    encode_as: Callable[[object], bytes], headers: Headers
) -> None:
    first = {"generation": {"max_tokens": 5.0}}
    whole = encode_as({**first, **changed(), **first})
    assert read(whole, headers).generation.max_tokens == 5
    for end in range(1, len(whole)):
        with pytest.raises(DeadLetter):
            read(whole[:end], headers)


def test_what_no_decoder_can_read_behind_such_a_spelling_is_a_dead_letter() -> None:
    packed, in_json = msgspec.msgpack.encode(changed(user=None)), msgspec.json.encode(changed(user=None))
    assert packed[0] & 0xF0 == 0x80
    for unknown in (b"\xa1\xff", b"\x81\x80\x01", b"\xc1", b"\xc7\x0c\xff" + b"\xff" * 12):
        with pytest.raises(DeadLetter):
            read(bytes([packed[0] + 1]) + packed[1:] + b"\xa1x" + unknown, ENCODINGS[1][1])
    for unknown in (b"1e999", b"1" + b"0" * 5000, b'"\\ud800"'):
        with pytest.raises(DeadLetter):
            read(in_json[:-1] + b',"x":' + unknown + b"}")
