"""Two trackers against a tiny broker: whatever is read, finished, committed, revoked or killed, each record is answered
once, in its key's order, and is marked done by the commit that answers it.

The broker knows a group's generation and members, and as a real one it checks these and not who owns a partition. The
workers learn of an assignment when they look, so they miss generations, and commit late.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.topology.delivery.tracker_world import TOPIC, position, record, result
from topology.contract.records import Ownership, PartitionOffset, Record, Result
from topology.contract.tenants import Priority, Share
from topology.delivery.offset_map import decode
from topology.delivery.tracker import Round, Tracker, TrackerLimits, WorkItem
from topology.delivery.turns import FairTurns

PARTITIONS = (0, 1)
WORKERS = (0, 1)
READ_MAX = 6
LIMITS = TrackerLimits(count_max=12, bytes_max=200, incomplete_max=4, span_max=40, map_chars_max=32)

Key = bytes | None


@dataclass
class Worker:
    """One process: its tracker, and what is only in its memory."""

    number: int
    tracker: Tracker = field(init=False)
    seen: Ownership | None = None
    read_from: dict[int, int] = field(default_factory=dict[int, int])
    running: list[WorkItem] = field(default_factory=list[WorkItem])
    round: Round | None = None

    def __post_init__(self) -> None:
        self.tracker = tracker_of(self.number)


def tracker_of(number: int) -> Tracker:
    """The first worker starts the oldest record first, the second one in fair shares of three tenants."""
    return Tracker(LIMITS) if number == 0 else Tracker(LIMITS, lambda: FairTurns(share_of))


def share_of(record: Record) -> Share:
    tenant = record.offset % 3
    return Share(tenant_id=str(tenant), weight=1 + tenant, priority=list(Priority)[tenant])


def weight(record: Record | None) -> int:
    """What a record without headers weighs."""
    return 0 if record is None else len(record.value or b"") + len(record.key or b"")


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.logs: dict[int, list[Record]] = {partition: [] for partition in PARTITIONS}
        self.ends = dict.fromkeys(PARTITIONS, 0)
        self.committed = {partition: position(0, partition=partition) for partition in PARTITIONS}
        self.answered: dict[int, list[int]] = {partition: [] for partition in PARTITIONS}
        self.generation = 0
        self.member_count = 0
        self.members: dict[int, str] = {}
        self.owners: dict[int, int] = {}
        self.workers = {number: Worker(number) for number in WORKERS}
        for number in WORKERS:
            self.join(number)

    def join(self, number: int) -> None:
        self.member_count += 1
        self.members[number] = f"m{self.member_count}"
        self.assign_all([0, 1])

    def assign_all(self, owners: list[int]) -> None:
        self.generation += 1
        self.owners = dict(zip(PARTITIONS, owners, strict=True))

    # The world

    @rule(partition=st.sampled_from(PARTITIONS), key=st.sampled_from([b"a", b"b", None]), gap=st.integers(0, 2))
    def write(self, partition: int, key: Key, gap: int) -> None:
        offset = self.ends[partition] + gap
        self.logs[partition].append(record(offset, key, partition=partition))
        self.ends[partition] = offset + 1

    @rule(owners=st.lists(st.sampled_from(WORKERS), min_size=2, max_size=2))
    def rebalance(self, owners: list[int]) -> None:
        self.assign_all(owners)

    @rule(number=st.sampled_from(WORKERS))
    def kick(self, number: int) -> None:
        """The session ends; the partitions go to the other, who may not know it yet."""
        self.members.pop(number, None)
        self.assign_all([1 - number, 1 - number])

    @rule(number=st.sampled_from(WORKERS))
    def kill(self, number: int) -> None:
        self.workers[number] = Worker(number)
        self.join(number)

    # A worker

    @rule(number=st.sampled_from(WORKERS), revokes_first=st.booleans())
    def look(self, number: int, revokes_first: bool) -> None:
        """Learn of the assignment; a member that was thrown out joins again first."""
        worker = self.workers[number]
        if number not in self.members:
            self.join(number)
            if revokes_first:
                worker.tracker.lost()
        now = self.current(number)
        if now == worker.seen:
            return
        owned = [(TOPIC, partition) for partition in PARTITIONS if self.owners[partition] == number]
        if revokes_first:
            worker.tracker.revoke([(TOPIC, partition) for partition in PARTITIONS])
        worker.seen = now
        worker.read_from = {
            partition: worker.tracker.restore(self.committed[partition])
            for _, partition in worker.tracker.assign(now, owned)
        }

    @rule(number=st.sampled_from(WORKERS), count=st.integers(1, READ_MAX))
    def read(self, number: int, count: int) -> None:
        worker = self.workers[number]
        for partition, start in worker.read_from.items():
            if (TOPIC, partition) in worker.tracker.paused():
                continue
            batch = [one for one in self.logs[partition] if one.offset >= start][:count]
            worker.tracker.add(batch)
            if batch:
                worker.read_from[partition] = batch[-1].offset + 1

    @rule(number=st.sampled_from(WORKERS), count=st.integers(1, 5))
    def start(self, number: int, count: int) -> None:
        worker = self.workers[number]
        started = worker.tracker.next_to_start(count)
        assert len(started) <= count
        worker.running += started
        lines = [
            (item.record.partition, item.record.key)
            for item in worker.running
            if worker.tracker.is_live(item) and item.record.key is not None
        ]
        assert len(set(lines)) == len(lines), "two of one key run at once"

    @precondition(lambda self: any(worker.running for worker in self.workers.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers.values() if worker.running]))
        item = worker.running.pop(data.draw(st.integers(0, len(worker.running) - 1)))
        is_live, before = worker.tracker.is_live(item), worker.tracker.stats()
        assert worker.tracker.finish(item, result(item)) == is_live
        if not is_live:
            assert worker.tracker.stats() == before, "what was dead changed something"

    @rule(number=st.sampled_from(WORKERS), count=st.integers(1, 4))
    def take(self, number: int, count: int) -> None:
        worker = self.workers[number]
        if worker.round is None and worker.seen is not None:
            worker.round = worker.tracker.take(worker.seen, count, 1 << 20)

    @rule(number=st.sampled_from(WORKERS), fails=st.booleans())
    def commit(self, number: int, fails: bool) -> None:
        """The broker checks generation and member; the worker learns of the outcome at once."""
        worker = self.workers[number]
        taken, worker.round = worker.round, None
        if taken is None:
            return
        if fails or taken.ownership != self.current(number):
            worker.tracker.aborted(taken)
            return
        for one in taken.offsets:
            assert self.owners[one.partition] == number, "committed another's partition"
        for one in taken.results:
            self.answer(one)
        for one in taken.offsets:
            self.move(one)
        worker.tracker.applied(taken)

    # What must hold

    def answer(self, one: Result) -> None:
        done = self.answered[one.partition]
        assert one.offset not in done, "answered twice"
        by_offset = {each.offset: each.key for each in self.logs[one.partition]}
        key = by_offset[one.offset]
        assert key is None or not [each for each in done if by_offset[each] == key and each > one.offset], "order"
        done.append(one.offset)

    def move(self, to: PartitionOffset) -> None:
        assert to.offset >= self.committed[to.partition].offset, "went back"
        assert len(to.metadata) <= LIMITS.map_chars_max
        self.committed[to.partition] = to

    @invariant()
    def what_is_marked_done_is_what_was_answered(self) -> None:
        for partition, at in self.committed.items():
            found = decode(at.metadata, at.offset)
            listed = {one.offset for one in self.logs[partition] if one.offset in found.incomplete}
            ahead = {one.offset for one in self.logs[partition] if one.offset >= found.next}
            everything = {one.offset for one in self.logs[partition]}
            assert listed | ahead == everything - set(self.answered[partition])

    @invariant()
    def nothing_delivered_is_forgotten_and_nothing_grows(self) -> None:
        for worker in self.workers.values():
            for (_, partition), window in worker.tracker._windows.items():
                assert len(window._entries) <= LIMITS.incomplete_max
                assert window.next - window.base <= LIMITS.span_max
                assert len(window._backlog) <= READ_MAX
                assert all(one.size_bytes == weight(one.record) for one in window._backlog)
                assert window.size_bytes == sum(one.size_bytes for one in (*window._entries.values(), *window._backlog))
                is_current = worker.seen == self.current(worker.number) and self.owners[partition] == worker.number
                if not is_current:
                    continue
                held = set(window._entries) | {one.offset for one in window._backlog}
                delivered = {one.offset for one in self.logs[partition] if one.offset < window.read_next}
                assert delivered - set(self.answered[partition]) <= held
                assert not held & set(self.answered[partition])

    def current(self, number: int) -> Ownership:
        return Ownership(generation=self.generation, member_id=self.members.get(number, ""), group_id="g")

    def teardown(self) -> None:
        """With faults stopped, everything finishes: in a few rounds, whatever was left behind."""
        rounds_max = 10 + 4 * sum(len(log) for log in self.logs.values())
        for _ in range(rounds_max):
            if all(len(self.answered[partition]) == len(self.logs[partition]) for partition in PARTITIONS):
                return
            for number, worker in self.workers.items():
                self.commit(number, fails=False)
                self.look(number, revokes_first=True)
                self.read(number, READ_MAX)
                self.start(number, READ_MAX)
                for item in worker.running:
                    worker.tracker.finish(item, result(item))
                worker.running.clear()
                self.take(number, READ_MAX)
        raise AssertionError("something never finishes")


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
