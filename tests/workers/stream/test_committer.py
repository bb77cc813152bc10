"""The committer by itself: when a round is due, what `settle` promises, and how its thread ends."""

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import pytest

from tests.plugins.patience import wait_until
from tests.topology.delivery.tracker_world import finish, member, owning, record, start_all
from topology.contract.records import OutRecord, Ownership, PartitionOffset, Record, Result
from topology.delivery.tracker import Tracker, WorkItem
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.tracing import Tracing
from workers.kafka.errors import RecordTooLarge
from workers.process.clock import SystemClock
from workers.settings import LimitSettings
from workers.stream.committer import RETRY_MAX_S, Committer

WAIT_S = 60.0


class Frozen(SystemClock):
    """A clock that moves when the test says so."""

    now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s


class Ledger:
    """A sink that writes down what is committed; `answers` are given in turn, then True. `gate` holds a commit up."""

    def __init__(self, *answers: bool | BaseException) -> None:
        self._answers = list(answers)
        self.commits: list[list[bytes]] = []
        self.tries = 0
        self.gate = threading.Event()
        self.gate.set()

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        assert offsets
        assert ownership == member()
        self.tries += 1
        self.gate.wait(WAIT_S)
        answer = self._answers.pop(0) if self._answers else True
        if isinstance(answer, BaseException):
            raise answer
        if answer:
            self.commits.append([record.value for record in records])
        return answer

    def close(self) -> None: ...


class Desk:
    """A committer over a tracker of one partition."""

    def __init__(self, sink: Ledger, *, batch: int = 100, interval_ms: int = 100) -> None:
        self.clock = Frozen()
        self.tracker: Tracker = owning(0)
        self.room_count = 0
        self.metrics = Instruments.none()
        self._next = 0
        self.committer = Committer(
            sink,
            self.tracker,
            threading.Lock(),
            clock=self.clock,
            limits=LimitSettings(batch_events_max=batch, commit_interval_ms=interval_ms),
            metrics=self.metrics,
            tracing=Tracing.none(),
            on_room=self._room,
            give_up=self._letter,
        )

    @staticmethod
    def _letter(given: Record, topic: str, size_bytes: int) -> Result:
        letter = OutRecord(topic="dlq", key=given.key, value=f"{given.offset}: {size_bytes} for {topic}".encode())
        return Result(topic=given.topic, partition=given.partition, offset=given.offset, records=(letter,))

    def _room(self) -> None:
        self.room_count += 1

    def done(self, count: int) -> None:
        """`count` further records, processed."""
        first, self._next = self._next, self._next + count
        self.tracker.add([record(offset, key=None) for offset in range(first, self._next)])
        finish(self.tracker, *start_all(self.tracker).values())

    def begin(self) -> WorkItem:
        """A further record, which is being processed."""
        first, self._next = self._next, self._next + 1
        self.tracker.add([record(first, key=None)])
        (item,) = start_all(self.tracker).values()
        return item

    @contextmanager
    def serving(self) -> Generator[Committer]:
        self.committer.start()
        try:
            yield self.committer
        finally:
            assert self.committer.stop(WAIT_S)


def test_a_round_waits_for_its_time_and_a_full_one_does_not() -> None:
    sink = Ledger()
    desk = Desk(sink, batch=5)
    desk.begin()
    desk.done(4)
    desk.clock.now_s += 0.05
    assert not desk.committer.turn()
    desk.clock.now_s += 0.05
    assert desk.committer.turn()
    desk.done(5)
    assert desk.committer.turn()
    assert [len(commit) for commit in sink.commits] == [4, 5]
    assert desk.committer.committed_count == 9
    assert desk.room_count == 2
    assert desk.metrics.value(Metric.EVENTS_PUBLISHED, topic="out") == 9


def test_a_round_does_not_wait_where_nothing_else_is_under_way() -> None:
    sink = Ledger()
    desk = Desk(sink)
    desk.done(2)
    assert desk.committer.turn()
    running = desk.begin()
    desk.done(1)
    assert not desk.committer.turn()
    finish(desk.tracker, running)
    assert desk.committer.turn()
    assert [len(commit) for commit in sink.commits] == [2, 2]


def test_a_failed_round_waits_although_nothing_else_is_under_way() -> None:
    sink = Ledger(False)
    desk = Desk(sink)
    desk.done(1)
    assert not desk.committer.turn()
    desk.committer.wake()
    assert not desk.committer.turn()
    assert sink.tries == 1
    desk.clock.now_s += 0.3
    assert desk.committer.turn()


def test_a_served_round_is_committed_when_it_is_told_that_nothing_else_is_under_way() -> None:
    sink = Ledger()
    desk = Desk(sink, interval_ms=60_000)
    with desk.serving() as committer:
        desk.done(1)
        committer.wake()
        assert committer.settle(WAIT_S)
    assert len(sink.commits) == 1


def test_with_nothing_finished_there_is_no_transaction() -> None:
    sink = Ledger()
    desk = Desk(sink)
    desk.clock.now_s += 10
    assert not desk.committer.turn()
    assert sink.commits == []


def test_each_failure_in_a_row_doubles_the_wait_and_keeps_the_results() -> None:
    sink = Ledger(*[False] * 7)
    desk = Desk(sink, batch=1)
    desk.done(3)
    tried_s: list[float] = []
    while not sink.commits:
        desk.committer.turn()
        if sink.tries > len(tried_s):
            tried_s.append(desk.clock.now_s)
        assert len(tried_s) <= 8
        desk.clock.now_s += 0.01
    waits_s = [later - earlier for earlier, later in pairwise(tried_s)]
    assert waits_s == pytest.approx([0.2, 0.4, 0.8, 1.6, RETRY_MAX_S, RETRY_MAX_S, RETRY_MAX_S], abs=0.02)
    desk.committer.rest()
    assert sink.commits == [[b"0:0"], [b"0:1"], [b"0:2"]]


def test_settling_commits_everything_that_has_finished_before_its_time() -> None:
    sink = Ledger()
    desk = Desk(sink, batch=2, interval_ms=3_600_000)
    with desk.serving() as committer:
        desk.done(7)
        assert committer.settle(WAIT_S)
        assert sum(len(commit) for commit in sink.commits) == 7
        assert committer.settle(WAIT_S), "also where there is nothing"


def test_settling_says_so_where_a_transaction_failed_and_where_it_takes_too_long() -> None:
    sink = Ledger(False)
    desk = Desk(sink, interval_ms=3_600_000)
    with desk.serving() as committer:
        desk.done(1)
        assert not committer.settle(WAIT_S)
        assert committer.settle(WAIT_S)
        sink.gate.clear()
        desk.done(1)
        assert not committer.settle(0.05)
        sink.gate.set()
        wait_until(lambda: len(sink.commits) == 2, WAIT_S)


def test_what_ends_the_thread_is_raised_to_who_asks_and_nobody_waits_for_it() -> None:
    error = ZeroDivisionError("a bug")
    desk = Desk(Ledger(error))
    desk.committer.start()
    desk.done(1)
    assert not desk.committer.settle(WAIT_S)
    assert desk.committer.stop(WAIT_S)
    with pytest.raises(ZeroDivisionError):
        desk.committer.check()
    assert not desk.committer.settle(WAIT_S), "answered at once: nobody is there"


def test_stopping_commits_what_has_finished() -> None:
    sink = Ledger()
    desk = Desk(sink, interval_ms=3_600_000, batch=3)
    with desk.serving():
        desk.done(8)
    assert sum(len(commit) for commit in sink.commits) == 8


def test_a_result_that_is_too_large_ends_as_a_letter_and_the_others_are_committed() -> None:
    sink = Ledger(RecordTooLarge("audit", 26_000, 1))
    desk = Desk(sink)
    desk.done(3)
    desk.committer.rest()
    assert sink.commits == []
    assert desk.tracker.held_count == 3
    desk.committer.rest()
    (first,) = sink.commits
    assert len(first) == 3
    assert first[1] == b"1: 26000 for audit"
    assert desk.tracker.held_count == 0


def test_a_letter_that_is_too_large_ends_the_worker() -> None:
    desk = Desk(Ledger(RecordTooLarge("audit", 26_000, 0), RecordTooLarge("dlq", 9000, 0)))
    desk.done(1)
    desk.committer.rest()
    with pytest.raises(RecordTooLarge, match="9000 bytes are too many for dlq"):
        desk.committer.rest()


def test_where_several_records_were_refused_together_each_result_has_its_own_round() -> None:
    sink = Ledger(RecordTooLarge("audit", 26_000, None), True, RecordTooLarge("audit", 26_000, None))
    desk = Desk(sink)
    desk.done(3)
    for _ in range(3):
        desk.committer.rest()
    assert [len(values) for values in sink.commits] == [1, 1, 1]
    assert sink.commits[1] == [b"1: 26000 for audit"]
    desk.done(2)
    desk.committer.rest()
    assert len(sink.commits[3]) == 2
