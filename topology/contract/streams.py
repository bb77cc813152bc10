"""The records of a stream: segments of an answer that are released before it is whole, on `conversations.stream`."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.events import Id
from topology.contract.names import DraftSource


class StreamKind(StrEnum):
    """What a record of a stream is: the opening of a run, which has no text, or a segment of the answer."""

    OPENED = "opened"
    SEGMENT = "segment"


class StreamToken(Struct, frozen=True, kw_only=True):
    """Whose run a record is of. `topology.streaming.tokens` says which of two tokens is the higher one.

    `generation` is the consumer group's, `epoch` and `producer_id` are those of the slot's first producer since its
    worker was built, and `run` counts the runs of that worker.
    """

    generation: Annotated[int, Meta(ge=0)]
    epoch: Annotated[int, Meta(ge=0)]
    producer_id: Annotated[int, Meta(ge=0)]
    run: Annotated[int, Meta(ge=1)]


class StreamRecord(Struct, frozen=True, kw_only=True):
    """One record on `conversations.stream`, in the partition that has the number of the event's own.

    `sequence` is a segment's place in the answer, from 1 on, over all runs; 0 where a run opens. `text` and `source`
    are empty there. `last` says that the model's answer ends with this segment. Only the response ends a stream.
    """

    audit_id: Annotated[str, Meta(min_length=1, max_length=64)]
    event_id: Id
    conversation_id: Id
    tenant_id: Id
    token: StreamToken
    kind: StreamKind
    sequence: Annotated[int, Meta(ge=0)] = 0
    text: str = ""
    source: DraftSource = DraftSource.NONE
    last: bool = False
