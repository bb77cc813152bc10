"""The last look at the response of a streamed event, in the transaction that makes it visible.

A response may wait for its transaction while its partition is given away and taken back. Another worker may have
released text meanwhile, which this response was made without. It then says `replaced`: a reader takes it whole.
"""

import logging
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from topology.contract.codec import encode
from topology.contract.events import AuditedResponse
from topology.contract.headers import Wire, last_header
from topology.contract.names import CONTENT_TYPE_MSGPACK, Header
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from topology.ports import Sink
from workers.streaming.releases import ReadBack

logger = logging.getLogger("sluicegate.streams")


class AnswerSink(Sink):
    """A Sink in front of `sink`. `read_back` says under which generation each streamed event read back last."""

    def __init__(self, sink: Sink, audited: str, read_back: dict[str, ReadBack]) -> None:
        self._sink = sink
        self._audited = audited
        self._read_back = read_back

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """See `Sink.commit`."""
        streamed = {index: audit_id for index, record in enumerate(records) if (audit_id := self._audit_id_of(record))}
        if not streamed:
            return self._sink.commit(records, offsets, ownership)
        checked = list(records)
        for index, audit_id in streamed.items():
            last = self._read_back.get(audit_id)
            if last is None or last.generation != ownership.generation:
                checked[index] = as_replaced(checked[index])
                logger.warning("a response was made before its partition changed hands", extra={"audit_id": audit_id})
        is_done = self._sink.commit(checked, offsets, ownership)
        if is_done:
            for audit_id in streamed.values():
                self._read_back.pop(audit_id, None)
        return is_done

    def close(self) -> None:
        """See `Sink.close`."""
        self._sink.close()

    def _audit_id_of(self, record: OutRecord) -> str | None:
        """Return the audit id of a response whose event was streamed by this worker; None for any other record."""
        if not self._read_back or record.topic != self._audited:
            return None
        ce_id = last_header(record.headers, Header.CE_ID.value) or ""
        audit_id = ce_id.partition("/")[0]  # the schema's name follows, so that all records of an event differ
        return audit_id if audit_id in self._read_back else None


def as_replaced(record: OutRecord) -> OutRecord:
    """Return the record of a response that says `replaced`."""
    content_type = last_header(record.headers, Header.CONTENT_TYPE.value) or ""
    wire = Wire.MSGPACK if content_type == CONTENT_TYPE_MSGPACK else Wire.JSON
    decode = msgspec.msgpack.decode if wire is Wire.MSGPACK else msgspec.json.decode
    response = decode(record.value or b"", type=AuditedResponse)
    return replace(record, value=encode(replace(response, replaced=True), wire))
