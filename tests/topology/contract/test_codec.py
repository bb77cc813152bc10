"""Bytes either become an event or raise one DeadLetter whose detail holds nothing of what the user wrote."""

import json
from contextlib import suppress
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.proportion import is_in_proportion
from tests.topology.contract.contract_samples import EVENT_FULL, EVENT_MINIMAL, SAMPLES
from tests.topology.contract.contract_strategies import EVENTS
from topology.contract.codec import (
    DETAIL_CHARACTERS_MAX,
    RecordLimits,
    canonical_json,
    decode_event,
    decode_state,
    encode,
    tenant_of,
)
from topology.contract.conversation import ConversationState, RiskMemory, Shown
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.events import ConversationEvent
from topology.contract.headers import Wire, response_headers, trace_carrier, trace_headers
from topology.contract.labels import AgeBand, CategoryId, Intent, RiskSubject, Signal, Vulnerability
from topology.contract.names import CANARY_TENANT, SchemaName
from topology.contract.records import Headers, Record

LIMITS = RecordLimits()
GOLDEN = Path(__file__).parent / "golden"
MSGPACK: Headers = (("content-type", b"application/msgpack"),)
MARKER = "Zq7hunter2Zq7"
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"


def _record(value: bytes | None, headers: Headers = (), key: bytes | None = b"conv-1") -> Record:
    return Record(
        topic="conversations.events", partition=0, offset=5, timestamp_ms=1, key=key, value=value, headers=headers
    )


def _failure(record: Record, limits: RecordLimits = LIMITS) -> DeadLetter:
    with pytest.raises(DeadLetter) as caught:
        decode_event(record, limits)
    assert caught.value.stage == "decode"
    assert caught.value.__context__ is None
    assert len(caught.value.detail) <= DETAIL_CHARACTERS_MAX
    return caught.value


def _reason(record: Record, limits: RecordLimits = LIMITS) -> DeadLetterReason:
    return _failure(record, limits).reason


def _value(**changed: Any) -> bytes:
    return json.dumps({**msgspec.to_builtins(EVENT_MINIMAL), **changed}).encode()


def _said(text: str) -> list[Any]:
    return [{"role": "user", "parts": [{"type": "text", "text": text}]}]


VALID = _value()
REASON = DeadLetterReason


@pytest.mark.parametrize("wire", Wire)
@given(event=EVENTS)
def test_every_event_survives_the_round_trip(wire: Wire, event: ConversationEvent) -> None:
    headers = MSGPACK if wire is Wire.MSGPACK else ()
    record = _record(encode(event, wire), headers, event.conversation_id.encode())
    assert decode_event(record, LIMITS) == event


@pytest.mark.parametrize("sample", sorted(SAMPLES))
def test_golden_files_of_version_1_keep_decoding(sample: str) -> None:
    expected = SAMPLES[sample]
    text = (GOLDEN / "v1" / f"{sample}.json").read_bytes()
    packed = bytes.fromhex((GOLDEN / "v1" / f"{sample}.msgpack.hex").read_text())
    assert msgspec.json.decode(text, type=type(expected)) == expected
    assert msgspec.msgpack.decode(packed, type=type(expected)) == expected


def test_a_state_from_before_policy_0_3_is_read_as_if_everything_had_just_been_shown() -> None:
    text = (GOLDEN / "v1" / "conversation-state.before-policy-0.3.json").read_bytes()
    state = decode_state(text, Wire.JSON)
    now = Shown(turn=state.turns, at_ms=state.updated_ms)
    assert state.risk == RiskMemory(vulnerability=Vulnerability.ACUTE_SELF_HARM, shown=now)
    assert state.shown_signals == {Signal.JAILBREAK_ROLEPLAY: now}
    (memory,) = state.categories.values()
    assert (memory.released, memory.spent, memory.intent, memory.shown) == (1, 1, Intent.DUAL_USE, now)
    assert (state.age_band, state.turns, len(state.events)) == (AgeBand.TEEN, 7, 1)


@pytest.mark.parametrize("field", ["signals", "shown_signals", "categories", "risk", "asked", "turns", "age_band"])
@pytest.mark.parametrize("value", [None, 1, "x", [1], {"a": 1}, {"a": None}, [[]]], ids=repr)
def test_a_state_of_another_shape_is_read_or_refused_and_nothing_else(field: str, value: object) -> None:
    """Whatever else it raised would end the thread that reads states."""
    state = None
    with suppress(ValueError):
        state = decode_state(msgspec.json.encode({field: value}), Wire.JSON)
    assert state is None or isinstance(state, ConversationState)


def test_what_a_later_version_writes_is_read_as_the_strictest() -> None:
    """A rollback must not make anybody look safer than the version that saw them said."""
    later = {
        "turns": 3,
        "updated_ms": 5,
        "categories": {"weapons.conventional": {"intent": "hostile", "harm": 3, "mood": "x"}},
        "shown_signals": {"steganography": {"turn": 3, "at_ms": 5}},
        "risk": {"vulnerability": "psychosis", "shown": {"turn": 3, "at_ms": 5}, "subject": "crowd"},
        "asked": [{"category": "hate", "harm": 2, "intent": "hostile", "asked_detail": 3}],
        "age_band": "toddler",
        "unheard_of": {"a": 1},
    }
    state = decode_state(msgspec.json.encode(later), Wire.JSON)
    assert state.vulnerability is Vulnerability.ACUTE_SELF_HARM
    assert state.risk is not None
    assert state.risk.subject is RiskSubject.SELF
    assert state.signals == (Signal.JAILBREAK_OTHER,)
    assert state.intent_of(CategoryId("weapons.conventional")) is Intent.MALICIOUS
    assert state.asked[0].intent is Intent.MALICIOUS
    assert state.age_band is AgeBand.UNDER13


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (msgspec.structs.replace(_record(VALID), unreadable="a header"), REASON.UNREADABLE),
        (_record(None), REASON.EMPTY_VALUE),
        (_record(b""), REASON.EMPTY_VALUE),
        (_record(VALID, key=None), REASON.MISSING_KEY),
        (_record(VALID, key=b""), REASON.MISSING_KEY),
        (_record(VALID, key=b"conv-2"), REASON.KEY_MISMATCH),
        (_record(VALID, key=b"\xff"), REASON.KEY_MISMATCH),
        (_record(b"x" * (LIMITS.event_bytes_max + 1), key=None), REASON.TOO_LARGE),
        (_record(VALID.replace(b"acme", b"ac\xffe")), REASON.NOT_UTF8),
        (_record(_value(extra="AB").replace(b"AB", b"\xed\xa0")), REASON.NOT_UTF8),
        (_record(VALID[:-1]), REASON.MALFORMED),
        (_record(VALID + b"{}"), REASON.MALFORMED),
        (_record(b"\xef\xbb\xbf" + VALID), REASON.MALFORMED),
        (_record(_value(x=float("nan"))), REASON.MALFORMED),
        (_record(_value(x=float("inf"))), REASON.MALFORMED),
        (_record(_value(event_id="\ud800")), REASON.MALFORMED),
        (_record(b"[]"), REASON.INVALID),
        (_record(b"null"), REASON.INVALID),
        (_record(_value(event_id="")), REASON.INVALID),
        (_record(_value(event_id="i" * 129)), REASON.INVALID),
        (_record(_value(messages=[])), REASON.INVALID),
        (_record(_value(messages=_said("x" * 400_001))), REASON.INVALID),
        (_record(_value(generation={"temperature": 2.1})), REASON.INVALID),
        (_record(_value(deadline_ms=1.5)), REASON.INVALID),
        (_record(_value(tenant_id=CANARY_TENANT)), REASON.RESERVED_TENANT),
        (_record(VALID, (("sluicegate-schema", b"conversation-event/2"),)), REASON.UNKNOWN_VERSION),
        (_record(VALID, (("sluicegate-schema", b"audit-record/1"),)), REASON.UNKNOWN_VERSION),
        (_record(VALID, (("sluicegate-schema", b"\xff\xfe"),)), REASON.UNKNOWN_VERSION),
        (_record(VALID, (("ce_specversion", b"0.3"),)), REASON.UNKNOWN_VERSION),
        (_record(VALID, (("content-type", b"text/plain"),)), REASON.UNKNOWN_CONTENT_TYPE),
        (_record(VALID, (("content-type", b"\xff\xfe\x00"),)), REASON.UNKNOWN_CONTENT_TYPE),
        (_record(VALID, (("content-type", b"application/cloudevents-batch+json"),)), REASON.UNKNOWN_CONTENT_TYPE),
        (_record(VALID, MSGPACK), REASON.INVALID),
        (_record(b"\xc1", MSGPACK), REASON.MALFORMED),
        (_record(b"\x81\xa8event_id\xa2\xff\xfe", MSGPACK), REASON.NOT_UTF8),
    ],
)  # fmt: skip
def test_each_way_to_fail_has_its_reason(record: Record, reason: DeadLetterReason) -> None:
    assert _reason(record) is reason


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("content-type", b"application/json"),),
        (("Content-Type", b"Application/JSON; charset=utf-8"),),
        (("content-type", b""),),
        (("content-type", b"text/plain"), ("content-type", b"application/json")),
        (("sluicegate-schema", b"conversation-event/1"),),
        (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_type", b"com.example.chat"), ("ce_source", b"/chat")),
        (("x-own", b"\xff\xfe"), ("\u00fc", b"")),
    ],
)
def test_headers_that_are_accepted(headers: Headers) -> None:
    assert decode_event(_record(VALID, headers), LIMITS) == EVENT_MINIMAL


def test_a_structured_cloudevent_is_unwrapped() -> None:
    headers: Headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    wrapped = {"specversion": "1.0", "id": "1", "source": "/chat", "type": "t", "data": json.loads(VALID)}
    assert decode_event(_record(json.dumps(wrapped).encode(), headers), LIMITS) == EVENT_MINIMAL
    assert _reason(_record(json.dumps({**wrapped, "specversion": "0.3"}).encode(), headers)) is REASON.UNKNOWN_VERSION
    xml = json.dumps({**wrapped, "datacontenttype": "text/xml"}).encode()
    assert _reason(_record(xml, headers)) is REASON.UNKNOWN_CONTENT_TYPE
    assert _reason(_record(VALID, headers)) is REASON.INVALID


def test_size_is_checked_before_anything_is_parsed() -> None:
    value = b"[" * (LIMITS.event_bytes_max + 1)
    assert _reason(_record(value, (("content-type", b"none"),), key=None)) is REASON.TOO_LARGE


@pytest.mark.parametrize("depth", [65, 1_000, 10_000, 150_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    assert _reason(_record(b'{"x":' + b"[" * depth + b"]" * depth + b"}")) is REASON.TOO_DEEP
    assert _reason(_record(b'{"x":' + b'{"a":' * depth)) is REASON.TOO_DEEP
    assert _reason(_record(b"\x81\xa1x" + b"\x91" * depth + b"\x90", MSGPACK)) is REASON.TOO_DEEP


def test_the_bound_itself_is_allowed() -> None:
    limits = RecordLimits(nesting_depth_max=10)
    for depth, reason in ((9, None), (10, REASON.TOO_DEEP)):
        deep: object = []
        for _ in range(depth - 1):
            deep = [deep]
        text = _value(x=deep, more=[[]] * 20)
        packed = msgspec.msgpack.encode({**msgspec.to_builtins(EVENT_MINIMAL), "x": [deep], "y": [[1]] * 20})
        if reason is None:
            assert decode_event(_record(text), limits) == EVENT_MINIMAL
            assert decode_event(_record(packed, MSGPACK), limits) == EVENT_MINIMAL
        else:
            assert _reason(_record(text), limits) is reason
            assert _reason(_record(packed, MSGPACK), limits) is reason


def test_where_the_scan_gives_way_the_decoder_stops() -> None:
    limits = RecordLimits(nesting_depth_max=10**9)
    assert _reason(_record(b'{"x":' + b"[" * 100_000), limits) is REASON.TOO_DEEP


def test_brackets_in_strings_do_not_nest() -> None:
    text = '[{"' + "[" * 500 + '\\"\\\\{"'
    event = _value(extra=text, messages=[{"role": "user", "parts": [{"type": "text", "text": text}]}])
    assert decode_event(_record(event), LIMITS).event_id == "evt-1"


@pytest.mark.parametrize("unit", [b"[]", b'\\"', b'"', b"\\", b'["', b"{"])
def test_the_worst_value_of_full_size_is_decided_in_proportion_to_its_length(unit: bytes) -> None:
    value = (b"[" * 50 + b'"' + unit * LIMITS.event_bytes_max)[: LIMITS.event_bytes_max]
    assert is_in_proportion(lambda part: _failure(_record(part)), value)
    packed = (b"\xdd\x00\x10\x00\x00" + b"\x80" * 70 + b"\x01" * LIMITS.event_bytes_max)[: LIMITS.event_bytes_max]
    assert is_in_proportion(lambda part: _failure(_record(part, MSGPACK)), packed)


@pytest.mark.parametrize(
    "value",
    [
        _value(user={"age_band": MARKER}),
        _value(user={"age_band": f"it's {MARKER} - at `$.{MARKER}`"}),
        _value(messages=[{"role": MARKER, "parts": []}]),
        _value(messages=[{"role": "user", "parts": [{"type": MARKER}]}]),
        _value(messages=[{"role": "user", "parts": [{"type": f'"{MARKER}"'}]}]),
        _value(messages=[{"role": "user", "parts": [{"type": "image", "reference": "r", "sha256": MARKER}]}]),
        _value(event_id=[MARKER]),
        _value(**{MARKER: 1, "event_id": 5}),
        _value(generation={"stop": [MARKER * 20]}),
        VALID + MARKER.encode(),
        MARKER.encode(),
        f'"{MARKER}"'.encode(),
        b"\xff" + MARKER.encode(),
    ],
)
def test_detail_never_quotes_the_input(value: bytes) -> None:
    failure = _failure(_record(value))
    assert MARKER not in str(failure)
    assert MARKER not in repr(failure)


def test_detail_names_path_and_bound() -> None:
    value = _value(messages=[{"role": "user", "parts": [{"type": "text", "text": "a"}]}, {"role": "boss", "parts": []}])
    roles = "assistant, developer, system, tool, user"
    assert _failure(_record(value)).detail == f"$.messages[1].role: must be one of {roles}"
    ages = _failure(_record(_value(user={"age_band": "child"}))).detail
    assert ages.startswith("$.user.age_band: must be one of adult, ")
    assert _failure(_record(_value(event_id="i" * 129))).detail == "$.event_id: Expected `str` of length <= 128"
    assert _failure(_record(_value(tenant_id=None))).detail == "$.tenant_id: Expected `str`, got `null`"


@given(st.binary(max_size=300), st.sampled_from(((), MSGPACK)))
def test_any_bytes_decode_or_end_as_a_dead_letter(value: bytes, headers: Headers) -> None:
    _decode_or_fail(_record(value, headers))


EDITS = st.tuples(st.integers(0, 5_000), st.sampled_from(("set", "drop", "insert")), st.binary(max_size=4))


@given(st.data(), st.sampled_from(Wire), st.lists(EDITS, max_size=6))
def test_mutated_events_decode_or_end_as_a_dead_letter(
    data: st.DataObject, wire: Wire, edits: list[tuple[int, str, bytes]]
) -> None:
    value = bytearray(encode(data.draw(st.sampled_from((EVENT_FULL, EVENT_MINIMAL))), wire))
    for position, kind, new in edits:
        at = position % (len(value) + 1)
        value[at : at + (0 if kind == "insert" else len(new) or 1)] = b"" if kind == "drop" else new
    _decode_or_fail(_record(bytes(value), MSGPACK if wire is Wire.MSGPACK else (), b"conv-1"))


def _decode_or_fail(record: Record) -> None:
    try:
        outcome: object = decode_event(record, LIMITS)
    except DeadLetter as failure:
        outcome = failure.stage
    assert outcome == "decode" or isinstance(outcome, ConversationEvent)


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical_json({"b": 1, "a": {"d": "\u00e9", "c": []}}) == '{"a":{"c":[],"d":"\u00e9"},"b":1}'.encode()
    assert canonical_json({"a": {"c": [], "d": "\u00e9"}, "b": 1}) == canonical_json(
        {"b": 1, "a": {"d": "\u00e9", "c": []}}
    )


@pytest.mark.parametrize("wire", Wire)
def test_equal_values_have_equal_bytes(wire: Wire) -> None:
    one, two = (
        msgspec.structs.replace(SAMPLES["conversation-state.full"], shown_signals=dict(shown))
        for shown in permutations({Signal.ENCODING: Shown(turn=1), Signal.JAILBREAK_OTHER: Shown(turn=2)}.items())
    )
    assert encode(one, wire) == encode(two, wire)


def test_response_headers_are_those_of_a_cloudevent() -> None:
    headers = response_headers(
        SchemaName.AUDITED_RESPONSE,
        Wire.MSGPACK,
        ce_id="a-1",
        subject="conv \u00e9",
        time_ms=1_750_000_000_123,
        trace=trace_headers({"traceparent": TRACE.decode(), "x-other": "no"}),
    )
    assert headers == (
        ("content-type", b"application/msgpack"),
        ("sluicegate-schema", b"audited-response/1"),
        ("ce_specversion", b"1.0"),
        ("ce_id", b"a-1"),
        ("ce_source", b"/sluicegate"),
        ("ce_type", b"sluicegate.audited-response.v1"),
        ("ce_time", b"2025-06-15T15:06:40.123Z"),
        ("ce_subject", "conv \u00e9".encode()),
        ("traceparent", TRACE),
    )


@pytest.mark.parametrize(
    ("headers", "carrier"),
    [
        ((("traceparent", TRACE),), {"traceparent": TRACE.decode()}),
        ((("Traceparent", TRACE), ("traceparent", b"junk")), {"traceparent": TRACE.decode()}),
        ((("traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"), ("tracestate", b"a=b")), {}),
        ((("traceparent", TRACE + b"-more"),), {}),
        ((("traceparent", b"cc" + TRACE[2:] + b"-more"),), {"traceparent": "cc" + TRACE[2:].decode() + "-more"}),
        ((("traceparent", b"ff" + TRACE[2:]),), {}),
        (
            (("traceparent", TRACE), ("tracestate", b"a=b"), ("tracestate", b"x\r\ny: z")),
            {"traceparent": TRACE.decode(), "tracestate": "a=b"},
        ),
        ((("baggage", b"k=v"), ("baggage", b"k" * 9000)), {"baggage": "k=v"}),
        ((("traceparent", b"\xff\xfe"), ("baggage", b"\xff")), {}),
    ],
)
def test_trace_context_is_the_last_valid_one(headers: Headers, carrier: dict[str, str]) -> None:
    assert trace_carrier(headers) == carrier


def test_the_tenant_is_known_before_an_event_is_decoded() -> None:
    tenant = EVENT_MINIMAL.tenant_id
    wrapped = json.dumps({"specversion": "1.0", "data": msgspec.to_builtins(EVENT_MINIMAL)}).encode()
    cloud = (("content-type", b"application/cloudevents+json"),)
    assert tenant_of(_record(_value()), LIMITS) == tenant
    assert tenant_of(_record(msgspec.msgpack.encode(EVENT_MINIMAL), MSGPACK), LIMITS) == tenant
    assert tenant_of(_record(wrapped, cloud), LIMITS) == tenant


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"[1]", b'{"tenant_id": 3}', b"[" * 100_000, b'{"tenant_id": "\xff"}']
)
def test_a_record_that_names_no_tenant_has_none(value: bytes | None) -> None:
    assert tenant_of(_record(value), LIMITS) == ""
    assert tenant_of(_record(value, MSGPACK), LIMITS) == ""
