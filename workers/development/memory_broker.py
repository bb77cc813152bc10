"""A broker in memory with the parts of Kafka that delivery depends on, and a Source and a Sink on it.

It has consumer groups with generations and static members, transactions, committed offsets, aborted records and the
gaps that transaction markers leave. It passes the contract suites of the real Source and Sink (tests/contracts). Tests
can make it expire a member, abort a transaction, and lose the answer to a commit. Safe for several threads.
"""

import threading
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from topology.contract.records import Headers, OutRecord, Ownership, PartitionId, PartitionOffset, Record
from workers.kafka.errors import OutcomeUnknown, SlotFenced
from workers.process.exit_codes import ExitCode

FAKE_TIME_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, the time of every record."""

GROUP = "group"
POLL_RECORDS_MAX = 500


@dataclass(slots=True)
class _Entry:
    """An entry of a log. `record` is None for the marker of a transaction, which is never delivered."""

    record: Record | None
    is_committed: bool


@dataclass(slots=True)
class _Group:
    topic: str
    generation: int = 0
    members: dict[str, str] = field(default_factory=dict[str, str])
    """Member ids by instance id, in order of joining."""
    committed: dict[PartitionId, PartitionOffset] = field(default_factory=dict["PartitionId", PartitionOffset])


class FakeBroker:
    """The topics, groups and transactions of one cluster."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._logs: dict[PartitionId, list[_Entry]] = {}
        self._groups: dict[str, _Group] = {}
        self._epochs: dict[str, int] = {}
        self._member_count = 0
        self._unkeyed_count = 0

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Create a topic. A topic that is used without being created has one partition."""
        with self._lock:
            for number in range(partitions):
                self._logs.setdefault((name, number), [])

    def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Headers = (),
        partition: int | None = None,
    ) -> None:
        """Write a record outside any transaction."""
        with self._changed:
            self._append(topic, key, value, headers, partition, is_committed=True)
            self._changed.notify_all()

    def records(self, topic: str, *, isolation: str = "read_committed") -> list[Record]:
        """Return what a reader sees, partition by partition. `read_uncommitted` includes aborted records."""
        with self._lock:
            logs = [log for (name, _), log in sorted(self._logs.items()) if name == topic]
            entries = [entry for log in logs for entry in log]
        wants_all = isolation == "read_uncommitted"
        return [entry.record for entry in entries if entry.record and (entry.is_committed or wants_all)]

    def committed(self, topic: str, partition: int = 0, *, group_id: str = GROUP) -> int | None:
        """Return the group's next offset to read; None if it has committed none."""
        with self._lock:
            group = self._groups.get(group_id)
            return group.committed[topic, partition].offset if group and (topic, partition) in group.committed else None

    def position(self, topic: str, partition: int, *, group_id: str = GROUP) -> PartitionOffset:
        """Return what the group has committed, with its metadata; the beginning if it has committed nothing."""
        with self._lock:
            found = self._groups[group_id].committed.get((topic, partition))
            return found or PartitionOffset(topic=topic, partition=partition, offset=0)

    def expire(self, instance_id: str, *, group_id: str = GROUP) -> None:
        """End a member's session. A new generation assigns its partitions to the other members."""
        with self._changed:
            group = self._groups[group_id]
            if group.members.pop(instance_id, None):
                group.generation += 1
            self._changed.notify_all()

    def rebalance(self, *, group_id: str = GROUP) -> None:
        """Start a new generation with the same members."""
        with self._changed:
            self._groups[group_id].generation += 1
            self._changed.notify_all()

    # The methods below are for FakeSource and FakeSink.

    def join(self, group_id: str, topic: str, instance_id: str) -> str:
        """Join a group and return a member id. A static member that returns gets a new id, and no partition moves."""
        with self._changed:
            group = self._groups.setdefault(group_id, _Group(topic))
            if instance_id not in group.members:
                group.generation += 1
            self._member_count += 1
            group.members[instance_id] = f"{instance_id}-{self._member_count}"
            self._changed.notify_all()
            return group.members[instance_id]

    def membership(self, group_id: str, instance_id: str) -> tuple[int, str, list[PartitionId]]:
        """Return generation, member id and partitions. The member id is empty if the session has ended."""
        with self._lock:
            group = self._groups[group_id]
            partitions = sorted(key for key in self._logs if key[0] == group.topic)
            names = sorted(group.members)
            mine = partitions[names.index(instance_id) :: len(names)] if instance_id in names else []
            return group.generation, group.members.get(instance_id, ""), mine

    def fetch(self, position: dict[PartitionId, int], timeout_s: float, paused: frozenset[PartitionId]) -> list[Record]:
        """Return committed records from `position` on, and move it past them. Waits `timeout_s` for the first."""
        with self._changed:
            found = list(self._fetch(position, paused))
            if not found:
                self._changed.wait(timeout_s)
                found = list(self._fetch(position, paused))
            return found

    def end_offset(self, partition: PartitionId) -> int:
        """Return the offset that the partition's next record gets."""
        with self._lock:
            return len(self._logs[partition])

    def readable_end(self, partition: PartitionId) -> int:
        """Return the offset after the partition's last record of a committed transaction, or of none."""
        with self._lock:
            log = self._logs[partition]
            ends = (index + 1 for index in range(len(log) - 1, -1, -1) if log[index].record and log[index].is_committed)
            return next(ends, 0)

    def begin(self, transactional_id: str) -> int:
        """Return a new producer's epoch. Older producers of that id are fenced."""
        with self._lock:
            self._epochs[transactional_id] = self._epochs.get(transactional_id, 0) + 1
            return self._epochs[transactional_id]

    def is_fenced(self, transactional_id: str, epoch: int) -> bool:
        """Return whether a newer producer has this id."""
        with self._lock:
            return self._epochs[transactional_id] != epoch

    def end(
        self,
        records: Sequence[OutRecord],
        offsets: Sequence[PartitionOffset],
        ownership: Ownership,
        *,
        wants_commit: bool,
    ) -> bool:
        """Write a transaction and its markers. Return False if it is aborted: on request, or for a stale membership."""
        with self._changed:
            group = self._groups[ownership.group_id]
            current = (group.generation, group.members.get(ownership.instance_id or ""))
            is_committed = wants_commit and current == (ownership.generation, ownership.member_id)
            touched = {
                self._append(
                    record.topic, record.key, record.value, record.headers, record.partition, is_committed=is_committed
                )
                for record in records
            }
            for partition in touched:
                self._logs[partition].append(_Entry(None, is_committed))
            if is_committed:
                group.committed.update({(offset.topic, offset.partition): offset for offset in offsets})
            self._changed.notify_all()
            return is_committed

    def _append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        partition: int | None,
        *,
        is_committed: bool,
    ) -> PartitionId:
        count = sum(1 for name, _ in self._logs if name == topic) or 1
        if partition is None:
            self._unkeyed_count += key is None
            partition = (zlib.crc32(key) if key is not None else self._unkeyed_count) % count
        log = self._logs.setdefault((topic, partition), [])
        record = Record(
            topic=topic,
            partition=partition,
            offset=len(log),
            timestamp_ms=FAKE_TIME_MS,
            key=key,
            value=value,
            headers=headers,
        )
        log.append(_Entry(record, is_committed))
        return topic, partition

    def _fetch(self, position: dict[PartitionId, int], paused: frozenset[PartitionId]) -> Iterator[Record]:
        left = POLL_RECORDS_MAX
        for partition, start in [item for item in position.items() if item[0] not in paused]:
            for entry in self._logs[partition][start:]:
                if not left:
                    return
                position[partition] += 1
                if entry.record is not None and entry.is_committed:
                    left -= 1
                    yield entry.record


class FakeSource:
    """The Source port on a FakeBroker, as a static member."""

    def __init__(self, broker: FakeBroker, topic: str, slot: int = 0, *, group_id: str = GROUP) -> None:
        self._broker = broker
        self._topic = topic
        self._group_id = group_id
        self._instance_id = instance_id(group_id, slot)
        self._member_id = broker.join(group_id, topic, self._instance_id)
        self._ownership: Ownership | None = None
        self._position: dict[PartitionId, int] = {}
        self._assigned: frozenset[PartitionId] = frozenset()
        self._positions: list[PartitionOffset] = []
        self._paused: frozenset[PartitionId] = frozenset()
        self._before_revoke: Callable[[], None] | None = None
        self._is_ready: Callable[[PartitionOffset], bool] = lambda _: True
        self._held: dict[PartitionId, PartitionOffset] = {}

    def on_revoke(self, before: Callable[[], None]) -> None:
        """See `Source.on_revoke`. The group of this broker does not wait for it."""
        self._before_revoke = before

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """See `Source.poll`. Raises SlotFenced if another source has joined with this slot."""
        generation, member_id, mine = self._broker.membership(self._group_id, self._instance_id)
        if not member_id:
            self._ownership = None
            self._member_id = self._broker.join(self._group_id, self._topic, self._instance_id)
            return ()
        if member_id != self._member_id:
            raise SlotFenced(self._instance_id, "fake")
        ownership = Ownership(
            generation=generation, member_id=member_id, group_id=self._group_id, instance_id=self._instance_id
        )
        if ownership != self._ownership:
            if self._ownership is not None and self._before_revoke is not None:
                self._before_revoke()
            self._ownership, self._assigned = ownership, frozenset(mine)
            self._place()
            return ()
        self._release()
        return self._broker.fetch(self._position, timeout_s, self._paused | self._held.keys())

    def ownership(self) -> Ownership | None:
        """See `Source.ownership`."""
        return self._ownership

    def assignment(self) -> frozenset[PartitionId]:
        """See `Source.assignment`."""
        return self._assigned

    def positions(self) -> Sequence[PartitionOffset]:
        """See `Source.positions`."""
        found, self._positions = self._positions, []
        return found

    def hold_until(self, is_ready: Callable[[PartitionOffset], bool]) -> None:
        """See `Source.hold_until`."""
        self._is_ready = is_ready

    def _place(self) -> None:
        self._held = {key: self._broker.position(*key, group_id=self._group_id) for key in sorted(self._assigned)}
        self._position = {key: found.offset for key, found in self._held.items()}
        self._positions = []
        self._release()

    def _release(self) -> None:
        ready = [key for key, found in self._held.items() if self._is_ready(found)]
        self._positions += [self._held.pop(key) for key in ready]

    def pause(self, partitions: Collection[PartitionId]) -> None:
        """See `Source.pause`."""
        self._paused = frozenset(partitions)

    def end_offsets(self) -> dict[PartitionId, int]:
        """See `Source.end_offsets`. Counts the markers of transactions, as the real source does."""
        return {partition: self._broker.end_offset(partition) for partition in self._position}

    def readable_ends(self) -> dict[PartitionId, int]:
        """See `Source.readable_ends`. No transaction is open here for longer than a call."""
        return {partition: self._broker.readable_end(partition) for partition in self._position}

    def caught_up(self) -> frozenset[PartitionId]:
        """See `Source.caught_up`."""
        ends = self.end_offsets()
        return frozenset(key for key, end in ends.items() if key not in self._held and self._position[key] >= end)

    def close(self) -> None:
        """See `Source.close`. The membership stays until `FakeBroker.expire`."""


class FakeSink:
    """The Sink port on a FakeBroker. `abort_next` and `lose_next` make the next commit go wrong."""

    def __init__(
        self,
        broker: FakeBroker,
        slot: int = 0,
        *,
        group_id: str = GROUP,
        exit_process: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._broker = broker
        self._name = instance_id(group_id, slot)
        self._exit = exit_process
        self._epoch = broker.begin(self._name)
        self._aborts = False
        self._loses: bool | None = None

    def abort_next(self) -> None:
        """Abort the next transaction, so that nothing of it becomes visible."""
        self._aborts = True

    def lose_next(self, *, applied: bool) -> None:
        """Lose the answer to the next commit, whose transaction is `applied` or not: the process ends."""
        self._loses = applied

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """See `Sink.commit`. Raises SlotFenced, and OutcomeUnknown after it has called `exit_process`."""
        if ownership.generation < 0 or not ownership.member_id:
            return False
        if self._broker.is_fenced(self._name, self._epoch):
            raise SlotFenced(self._name, "fake")
        if not records and not offsets:
            return True
        wants_commit, self._aborts = not self._aborts and self._loses is not False, False
        done = self._broker.end(records, offsets, ownership, wants_commit=wants_commit)
        if self._loses is not None:
            self._loses = None
            self._exit(ExitCode.OUTCOME_UNKNOWN)
            raise OutcomeUnknown("commit", "fake")
        return done

    def close(self) -> None:
        """See `Sink.close`."""


def instance_id(group_id: str, slot: int) -> str:
    """Return a slot's name, which is its transactional id and its group instance id."""
    return f"{group_id}.fake.{slot}"
