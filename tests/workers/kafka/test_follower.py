"""The follower: what it delivers while its partitions change, after errors, and on the real broker."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from topology.contract.records import Record
from workers.kafka.errors import KafkaUnavailable
from workers.kafka.following.follower import Follower, Start
from workers.kafka.following.partition_reader import Begun
from workers.settings import KafkaSettings


def until(is_true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.005)


class Log:
    """A topic in memory, read by as many readers as are asked for."""

    def __init__(self, partitions: int = 2) -> None:
        self.records: dict[int, list[Record]] = {number: [] for number in range(partitions)}
        self.failures: list[Exception] = []
        self.reader_count = 0
        self.assigned: list[dict[int, int]] = []
        self.before_return: Callable[[], object] = lambda: None

    def write(self, partition: int, *values: bytes) -> None:
        log = self.records[partition]
        for value in values:
            at = 1000 * len(log)
            log.append(Record(topic="t", partition=partition, offset=len(log), timestamp_ms=at, key=None, value=value))

    def reader(self) -> "LogReader":
        self.reader_count += 1
        return LogReader(self)


class LogReader:
    def __init__(self, log: Log) -> None:
        self._log = log
        self._next: dict[int, int] = {}

    def partitions(self) -> frozenset[int]:
        return frozenset(self._log.records)

    def begin(self, partition: int, from_ms: int | None) -> Begun:
        found = [one.offset for one in self._log.records[partition] if one.timestamp_ms >= (from_ms or 0)]
        end = len(self._log.records[partition])
        return Begun(first=0, offset=found[0] if found else end, end=end, whole_from_ms=0)

    def assign(self, offsets: Mapping[int, int]) -> None:
        self._next = dict(offsets)
        self._log.assigned.append(dict(offsets))

    def poll(self, timeout_s: float) -> dict[int, list[Record]]:
        if self._log.failures:
            raise self._log.failures.pop()
        found = {number: self._from(number, start) for number, start in self._next.items()}
        self._next = {number: len(self._log.records[number]) for number in self._next}
        self._log.before_return()
        time.sleep(0.002)
        return {number: records for number, records in found.items() if records}

    def _from(self, number: int, start: int) -> list[Record]:
        """Return the records from an offset on; those from the first one on if the log ends before it."""
        records = self._log.records[number]
        return records[start if start <= len(records) else 0 :]

    def close(self) -> None:
        self._next = {}


class Delivered:
    def __init__(self) -> None:
        self.values: dict[int, list[bytes]] = {}

    def take(self, partition: int, records: Sequence[Record]) -> None:
        self.values.setdefault(partition, []).extend(record.value or b"" for record in records)

    def of(self, partition: int) -> list[bytes]:
        return list(self.values.get(partition, []))


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def delivered() -> Delivered:
    return Delivered()


@pytest.fixture
def follower(log: Log, delivered: Delivered) -> Follower:
    return Follower(KafkaSettings(), "t", delivered.take, name="test", make_reader=log.reader)


def test_chosen_partitions_are_followed_from_a_time_on(log: Log, delivered: Delivered, follower: Follower) -> None:
    log.write(0, b"a0", b"a1", b"a2")
    log.write(1, b"b0")
    follower.start()
    try:
        follower.follow({0: Start(from_ms=1000)})
        until(lambda: follower.has_caught_up(0))
        assert delivered.of(0) == [b"a1", b"a2"]
        log.write(0, b"a3")
        until(lambda: follower.is_read_to(0, 4))
        assert not follower.is_read_to(1, 0)
        follower.follow({0: Start(), 1: Start()})
        until(lambda: follower.has_caught_up(1))
        assert (delivered.of(0), delivered.of(1)) == ([b"a1", b"a2", b"a3"], [b"b0"])
    finally:
        follower.stop()


def test_a_topic_that_was_made_anew_is_read_again_and_counts_as_incomplete(
    log: Log, delivered: Delivered, follower: Follower
) -> None:
    log.write(0, b"a0", b"a1", b"a2")
    follower.start()
    try:
        follower.follow({0: Start()})
        until(lambda: follower.is_read_to(0, 3))
        log.records[0] = []
        log.write(0, b"b0")
        until(lambda: delivered.of(0)[3:] == [b"b0"])
        begun = follower.begun(0)
        assert begun is not None
        assert begun.whole_from_ms == 2001, "nobody can tell of what was written by then"
        log.write(0, b"b1")
        until(lambda: delivered.of(0)[3:] == [b"b0", b"b1"])
    finally:
        follower.stop()


def test_a_follower_outlives_whatever_its_reader_or_receiver_raises(log: Log, delivered: Delivered) -> None:
    faults: list[Exception] = [RuntimeError("what was read")]

    def take(partition: int, records: Sequence[Record]) -> None:
        if faults:
            raise faults.pop()
        delivered.take(partition, records)

    follower = Follower(KafkaSettings(), "t", take, name="test", make_reader=log.reader)
    log.failures.append(AssertionError("the library's"))
    follower.start()
    try:
        follower.follow({0: Start()})
        log.write(0, b"a0")
        until(lambda: not faults)
        log.write(0, b"a1")
        until(lambda: delivered.of(0) == [b"a1"])
    finally:
        follower.stop()


def test_a_partition_that_comes_back_begins_anew(log: Log, delivered: Delivered, follower: Follower) -> None:
    log.write(0, b"a0", b"a1")
    follower.start()
    try:
        follower.follow({0: Start()})
        until(lambda: follower.has_caught_up(0))
        follower.follow({})
        follower.follow({0: Start(from_ms=1000)})
        until(lambda: follower.has_caught_up(0))
        assert delivered.of(0) == [b"a0", b"a1", b"a1"]
        follower.follow_anew(0, Start())
        until(lambda: len(delivered.of(0)) == 5)
        assert follower.begun(0) == Begun(first=0, offset=0, end=2, whole_from_ms=0)
    finally:
        follower.stop()


def test_nothing_is_delivered_of_a_partition_that_was_let_go_while_it_was_read(
    log: Log, delivered: Delivered, follower: Follower
) -> None:
    log.write(0, b"a0")
    polled = threading.Event()

    def let_go() -> None:
        if not polled.is_set():
            follower.follow({})
            follower.follow({0: Start()})
            polled.set()

    log.before_return = let_go
    follower.start()
    try:
        follower.follow({0: Start()})
        until(lambda: polled.is_set() and follower.has_caught_up(0))
        assert delivered.of(0) == [b"a0"]
    finally:
        follower.stop()


def test_after_an_error_it_goes_on_where_it_was(log: Log, delivered: Delivered, follower: Follower) -> None:
    log.write(0, b"a0")
    follower.start()
    try:
        follower.follow({0: Start()})
        until(lambda: follower.has_caught_up(0))
        log.failures.append(KafkaUnavailable("read", "away"))
        until(lambda: log.reader_count == 2)
        log.write(0, b"a1")
        until(lambda: follower.is_read_to(0, 2))
        assert delivered.of(0) == [b"a0", b"a1"]
    finally:
        follower.stop()


def test_a_missing_partition_does_not_stop_the_others(log: Log, delivered: Delivered, follower: Follower) -> None:
    log.write(0, b"a0")
    follower.start()
    try:
        follower.follow({0: Start(), 7: Start()})
        until(lambda: follower.has_caught_up(0))
        assert (delivered.of(0), follower.begun(7)) == ([b"a0"], None)
    finally:
        follower.stop()


@pytest.mark.kafka
def test_the_real_broker(kafka: Kafka) -> None:
    topic = kafka.topic(2, {"message.timestamp.type": "LogAppendTime"})
    kafka.send(topic, b"a0", partition=0)
    time.sleep(0.05)
    middle_ms = int(time.time() * 1000)
    time.sleep(0.05)
    kafka.send(topic, b"a1", partition=0)
    kafka.send(topic, b"b0", partition=1)
    delivered = Delivered()
    follower = Follower(kafka.settings(), topic, delivered.take, name="test")
    follower.start()
    try:
        follower.follow({0: Start(from_ms=middle_ms)})
        until(lambda: follower.has_caught_up(0))
        assert delivered.of(0) == [b"a1"]
        assert follower.begun(0) == Begun(first=0, offset=1, end=2, whole_from_ms=0)
        follower.follow({0: Start(), 1: Start()})
        kafka.send(topic, b"a2", partition=0)
        until(lambda: follower.is_read_to(0, 3) and follower.has_caught_up(1))
        assert (delivered.of(0), delivered.of(1)) == ([b"a1", b"a2"], [b"b0"])
        follower.follow({1: Start()})
        kafka.send(topic, b"a3", partition=0)
        kafka.send(topic, b"b1", partition=1)
        until(lambda: follower.is_read_to(1, 2))
        assert delivered.of(0) == [b"a1", b"a2"]
    finally:
        follower.stop()
