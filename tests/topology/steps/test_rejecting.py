"""A record that names its ids but is no valid event is answered `rejected`, and an answer names its request."""

import msgspec
import pytest

from tests.topology.steps.pipeline_world import BUNDLE, Bench, Ended, event, record_of
from topology.contract.events import Action
from topology.contract.headers import last_header
from topology.contract.labels import Mode
from topology.contract.names import Header, Topic
from topology.contract.records import Headers, Record
from topology.steps.audit import audit_id
from topology.steps.publishing import Routes
from topology.telemetry.metrics import Metric

IDS = b'"event_id":"e1","conversation_id":"c1","tenant_id":"t1"'


def broken(more: bytes, key: bytes = b"c1", headers: Headers = (), ids: bytes = IDS) -> Record:
    return msgspec.structs.replace(record_of(event()), key=key, headers=headers, value=b"{" + ids + b"," + more + b"}")


BAD_ROLE = b'"messages":[{"role":"function","parts":[{"type":"text","text":"Zq7"}]}]'
CLOUD = ((Header.CONTENT_TYPE.value, b"application/cloudevents+json"),)


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        (BAD_ROLE, "$.messages[0].role: Invalid enum value"),
        (b'"messages":[]', "$.messages: Expected `array` of length >= 1"),
        (b'"user":{"age_band":"child"}', "$.user.age_band: Invalid enum value"),
    ],
)
def test_an_invalid_event_that_names_its_ids_is_rejected_in_the_transaction_of_its_dead_letter(
    more: bytes, detail: str
) -> None:
    bench = Bench()
    result = bench.process(broken(more))
    ended = Ended(result)
    response, record = ended.response, ended.audit
    assert (response.event_id, response.conversation_id, response.tenant_id) == ("e1", "c1", "t1")
    assert (response.action, response.mode, response.parts) == (Action.REJECTED, Mode.REFUSE_REDIRECT, ())
    assert (response.reason_codes, response.detail) == (("invalid",), detail)
    assert (response.policy_ref, response.audit_id) == (BUNDLE.ref, audit_id(record.position, "e1"))
    assert (record.action, record.detail, record.position.offset) == (Action.REJECTED, detail, 17)
    assert (record.labels, record.plan, record.request, record.attempts) == (None, None, None, ())
    (letter,) = ended.letters
    assert last_header(letter.headers, Header.REASON) == "invalid"
    assert last_header(letter.headers, Header.DETAIL) == detail
    assert result.charge is None
    assert not any(b"Zq7" in (one.value or b"") for one in result.records if one.topic != Topic.DEAD_LETTERS)
    assert bench.metrics.value(Metric.ACTIONS, action="rejected", reason="invalid") == 1
    assert bench.metrics.value(Metric.DEAD_LETTERS, reason="invalid") == 1


def test_an_invalid_event_inside_a_cloud_event_or_in_messagepack_is_rejected_as_well() -> None:
    wrapped = broken(b'"specversion":"1.0","data":{' + IDS + b',"messages":[]}', headers=CLOUD, ids=b'"id":"1"')
    assert Ended(Bench().process(wrapped)).response.action is Action.REJECTED
    packed = msgspec.msgpack.encode({"event_id": "e1", "conversation_id": "c1", "tenant_id": "t1", "messages": []})
    headers = ((Header.CONTENT_TYPE.value, b"application/msgpack"),)
    record = msgspec.structs.replace(record_of(event()), headers=headers, value=packed)
    assert Ended(Bench().process(record)).response.action is Action.REJECTED


@pytest.mark.parametrize(
    "record",
    [
        broken(BAD_ROLE, key=b"other"),
        broken(BAD_ROLE, ids=IDS.replace(b"t1", b"sluicegate-canary")),
        broken(BAD_ROLE + b',"canary":{"case":"x"}'),
        broken(BAD_ROLE, ids=IDS.replace(b'"e1"', b'""')),
        broken(BAD_ROLE, ids=IDS.replace(b',"tenant_id":"t1"', b"")),
        broken(BAD_ROLE + b', "more": Infinity'),
        broken(b'"messages":[{"role":"user","parts":[{"type":"text","text":"q"}]}]', key=b"other"),
        broken(BAD_ROLE, headers=((Header.SCHEMA.value, b"conversation-event/9"),)),
        broken(b'"more":"' + b"x" * (1 << 20) + b'"'),
        msgspec.structs.replace(broken(BAD_ROLE), value=b"[1,2,3]"),
    ],
    ids=[
        "another key", "reserved tenant", "a probe's mark", "empty id", "no tenant", "malformed", "key mismatch",
        "unknown version", "too large", "no object",
    ],
)  # fmt: skip
def test_no_other_record_that_is_no_event_is_answered(record: Record) -> None:
    (letter,) = Bench().process(record).records
    assert letter.topic == Topic.DEAD_LETTERS


def test_where_rejected_answers_are_switched_off_there_is_only_the_dead_letter() -> None:
    (letter,) = Bench(routes=Routes(rejected_answers=False)).process(broken(BAD_ROLE)).records
    assert letter.topic == Topic.DEAD_LETTERS


def test_an_answer_repeats_the_senders_correlation_and_names_its_event() -> None:
    sent = (("X-Correlation-ID", b"first"), ("x-correlation-id", b"req 7"), ("sluicegate-request-digest", b"sha:1"))
    for record in (broken(BAD_ROLE, headers=sent), msgspec.structs.replace(record_of(event()), headers=sent)):
        (answer,) = [one for one in Bench().process(record).records if one.topic == Topic.AUDITED]
        told = [header for header in answer.headers if not header[0].startswith(("ce_", "content"))]
        assert told[1:] == [
            ("sluicegate-event-id", b"e1"),
            ("x-correlation-id", b"req 7"),
            ("sluicegate-request-digest", b"sha:1"),
        ]


@pytest.mark.parametrize("value", [b"", b"x" * 257, "\u00e9".encode(), b"a\nb"])
def test_a_correlation_that_is_unfit_is_left_out(value: bytes) -> None:
    record = msgspec.structs.replace(record_of(event()), headers=(("x-correlation-id", value),))
    (answer,) = [one for one in Bench().process(record).records if one.topic == Topic.AUDITED]
    assert last_header(answer.headers, Header.CORRELATION_ID) is None
