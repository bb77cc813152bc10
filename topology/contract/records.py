"""Records of a log, as they are read and written, and the position of a consumer group in it."""

from msgspec import Struct

from topology.contract.tenants import Charge

Headers = tuple[tuple[str, bytes], ...]


class Receipt(Struct, frozen=True):
    """When a record was read: on the monotonic clock, and in epoch milliseconds by a wall clock like the record's."""

    at_s: float
    at_ms: int


class Record(Struct, frozen=True, kw_only=True):
    """A record as it was read. `key` and `value` are None where the topic holds a null.

    `unreadable` says why it, or a whole batch for which it stands, cannot be read; empty for every other record. The
    value of one that stands for a batch is the batch's bytes, and its offset that of the last record in it.
    `receipt` is None where nobody waits for an answer, such as in a command.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    unreadable: str = ""
    receipt: Receipt | None = None


class OutRecord(Struct, frozen=True, kw_only=True, array_like=True):
    """A record to be written. Encoded only between a worker and its producer's process, which run one version.

    `value` None: a null, which no worker writes. `partition` None: the one that the key is hashed to. `timestamp_ms`
    None: the time of writing.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class Result(Struct, frozen=True, kw_only=True):
    """The result of one input record: everything that must become visible together with its offset.

    `charge` is what its answer cost a tenant; None if nobody is charged. `sums` are records of cumulative values: of a
    transaction's sums with one key, only the last is written.
    """

    topic: str
    partition: int
    offset: int
    records: tuple[OutRecord, ...]
    charge: Charge | None = None
    sums: tuple[OutRecord, ...] = ()


class PartitionOffset(Struct, frozen=True, kw_only=True):
    """The next offset to read of one partition; `metadata` says which offsets above it are done (`offset_map`)."""

    topic: str
    partition: int
    offset: int
    metadata: str = ""


PartitionId = tuple[str, int]
"""Topic and number."""


class Ownership(Struct, frozen=True, kw_only=True):
    """The group membership under which records were read; a commit made under another one is refused."""

    generation: int
    member_id: str
    group_id: str
    instance_id: str | None = None
