"""What a worker and its producer's own process say to each other.

A module apart, since the process runs the other one as `__main__`, whose names nobody else can look up.
"""

from msgspec import Struct

from topology.contract.errors import SluicegateError
from topology.contract.records import OutRecord, Ownership, PartitionOffset
from workers.settings import KafkaSettings

END = b""
"""The request to end."""


class Start(Struct, frozen=True, kw_only=True):
    """Which slot; pickled, since settings hold secrets that nothing else writes down."""

    kafka: KafkaSettings
    slot: int
    log_level: str


class Request(Struct, frozen=True, array_like=True):
    """The arguments of one `Sink.commit`, as MessagePack."""

    records: tuple[OutRecord, ...]
    offsets: tuple[PartitionOffset, ...]
    ownership: Ownership


class Counted(Struct, frozen=True, array_like=True):
    """One call of `Instruments.count`."""

    name: str
    n: float
    labels: dict[str, str]


class Answer(Struct, frozen=True, kw_only=True):
    """What came of a request, or of the start: the result, or the error that was raised; and what was counted."""

    is_done: bool = False
    error: SluicegateError | None = None
    counted: tuple[Counted, ...] = ()
