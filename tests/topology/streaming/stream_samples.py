"""Records of streams for tests."""

from topology.contract.names import DraftSource
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from topology.streaming.writer import StreamIds

IDS = StreamIds(audit_id="a1", event_id="e1", conversation_id="c1", tenant_id="t1")


def token(generation: int = 1, epoch: int = 0, producer_id: int = 7, run: int = 1) -> StreamToken:
    return StreamToken(generation=generation, epoch=epoch, producer_id=producer_id, run=run)


def opened(of: StreamToken) -> StreamRecord:
    return _record(of, StreamKind.OPENED)


def segment(of: StreamToken, sequence: int, text: str, *, last: bool = False) -> StreamRecord:
    return _record(of, StreamKind.SEGMENT, sequence, text, DraftSource.GENERATOR, last)


def _record(
    of: StreamToken,
    kind: StreamKind,
    sequence: int = 0,
    text: str = "",
    source: DraftSource = DraftSource.NONE,
    last: bool = False,
) -> StreamRecord:
    return StreamRecord(
        audit_id=IDS.audit_id,
        event_id=IDS.event_id,
        conversation_id=IDS.conversation_id,
        tenant_id=IDS.tenant_id,
        token=of,
        kind=kind,
        sequence=sequence,
        text=text,
        source=source,
        last=last,
    )
