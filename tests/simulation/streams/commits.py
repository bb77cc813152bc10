"""The response of one schedule, and the brokers that take it once, from the owner alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from topology.contract.events import Action, AuditedResponse, TextPart
from topology.contract.labels import Mode
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.ports import Sink
from topology.streaming.writer import StreamIds

if TYPE_CHECKING:
    from tests.simulation.streams.world import Worker, World

IDS = StreamIds(audit_id="a1", event_id="e1", conversation_id="c1", tenant_id="t1")

_decoded = msgspec.json.Decoder(AuditedResponse).decode


def response_of(text: str, *, replaced: bool) -> AuditedResponse:
    return AuditedResponse(
        event_id=IDS.event_id,
        conversation_id=IDS.conversation_id,
        tenant_id=IDS.tenant_id,
        action=Action.PUBLISHED,
        mode=Mode.DIRECT_ANSWER,
        parts=(TextPart(text=text),),
        reason_codes=(),
        policy_ref="p",
        audit_id=IDS.audit_id,
        replaced=replaced,
    )


class Commits(Sink):
    """The brokers' side of a worker's transaction."""

    def __init__(self, world: "World", worker: "Worker") -> None:
        self._world = world
        self._worker = worker

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        if not self._world.may_commit(self._worker.slot, ownership.generation):
            return False
        self._world.answer(_decoded(records[0].value or b""))
        return True

    def close(self) -> None:
        """Nothing is held."""
