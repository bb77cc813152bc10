"""The last look at the response of a streamed event."""

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from tests.topology.steps.pipeline_world import event, record_of
from tests.topology.streamed.stream_world import Streamed
from topology.contract.codec import encode
from topology.contract.events import Action, AuditedResponse, TextPart
from topology.contract.headers import Wire, response_headers
from topology.contract.labels import Mode
from topology.contract.lineage import position_of
from topology.contract.names import SchemaName, Topic
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.ports import Sink
from topology.steps.audit import audit_id as audit_id_of
from workers.streaming.answers import AnswerSink
from workers.streaming.releases import ReadBack

RESPONSE = AuditedResponse(
    event_id="e1",
    conversation_id="c1",
    tenant_id="t1",
    action=Action.PUBLISHED,
    mode=Mode.DIRECT_ANSWER,
    parts=(TextPart(text="One. "),),
    reason_codes=(),
    policy_ref="p",
    audit_id="a1",
)
UNDER_3 = Ownership(generation=3, member_id="m", group_id="g")


class Brokers(Sink):
    def __init__(self) -> None:
        self.is_up = True
        self.committed: list[OutRecord] = []
        self.is_closed = False

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        self.committed = list(records)
        return self.is_up

    def close(self) -> None:
        self.is_closed = True


def out(topic: str = "audited", audit_id: str = "a1", wire: Wire = Wire.JSON) -> OutRecord:
    schema = SchemaName.AUDITED_RESPONSE
    headers = response_headers(schema, wire, ce_id=f"{audit_id}/{schema}", subject="c1", time_ms=0)
    return OutRecord(topic=topic, key=b"c1", value=encode(RESPONSE, wire), headers=headers)


def read_back(generation: int) -> dict[str, ReadBack]:
    return {"a1": ReadBack(("events", 0), generation)}


@pytest.mark.parametrize("wire", Wire)
def test_a_response_made_under_another_generation_says_replaced(wire: Wire) -> None:
    brokers, known = Brokers(), read_back(2)
    assert AnswerSink(brokers, "audited", known).commit([out(wire=wire)], (), UNDER_3)
    decode = msgspec.json.decode if wire is Wire.JSON else msgspec.msgpack.decode
    assert decode(brokers.committed[0].value or b"", type=AuditedResponse) == msgspec.structs.replace(
        RESPONSE, replaced=True
    )
    assert not known


def test_everything_else_is_committed_as_it_is() -> None:
    brokers, records = Brokers(), [out(), out(audit_id="a2"), out("audit")]
    assert AnswerSink(brokers, "audited", read_back(3)).commit(records, (), UNDER_3)
    assert brokers.committed == records
    assert AnswerSink(brokers, "audited", {}).commit(records, (), UNDER_3)
    assert brokers.committed == records
    AnswerSink(brokers, "audited", {}).close()
    assert brokers.is_closed


def test_what_did_not_become_visible_is_looked_at_again() -> None:
    brokers, known = Brokers(), read_back(3)
    brokers.is_up = False
    sink = AnswerSink(brokers, "audited", known)
    assert not sink.commit([out()], (), UNDER_3)
    assert known == read_back(3)
    brokers.is_up = True
    assert sink.commit([out()], (), msgspec.structs.replace(UNDER_3, generation=4))
    assert b'"replaced":true' in (brokers.committed[0].value or b"")


def test_the_response_that_the_pipeline_makes_is_known_by_its_audit_id() -> None:
    world = Streamed(["One is here. Two is here."])
    result = asyncio.run(world.bench.pipeline.process(record_of(event(stream=True))))
    audit_id = audit_id_of(position_of(record_of(event())), event().event_id)
    brokers, known = Brokers(), {audit_id: ReadBack(("events", 0), 2)}
    assert AnswerSink(brokers, Topic.AUDITED.value, known).commit(result.records, (), UNDER_3)
    assert not known, "what is visible is forgotten"
    response = next(record for record in brokers.committed if record.topic == Topic.AUDITED.value)
    assert b'"replaced":true' in (response.value or b"")
