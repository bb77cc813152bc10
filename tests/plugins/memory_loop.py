"""A worker's loop on the broker in memory, in a thread of the test; `process` answers when the test lets it."""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tests.plugins.patience import wait_until
from topology.contract.records import OutRecord, Record, Result
from topology.ports import Clock, Rest
from topology.telemetry.instruments import Instruments
from topology.telemetry.tracing import Tracing
from workers.development.memory_broker import FakeBroker, FakeSink, FakeSource
from workers.process.clock import SystemClock
from workers.settings import LimitSettings
from workers.stream.loop import Loop
from workers.stream.processing import Process

INPUT = "in"
OUTPUT = "out"
AUDIT = "audit"
WAIT_S = 60.0
"""For what takes milliseconds on a quiet machine: nothing here leaves the process."""

Place = tuple[int, int]
"""Partition and offset of an input record."""


def place_of(record: Record) -> Place:
    return record.partition, record.offset


def answer(record: Record) -> Result:
    """One answer and one audit record, which name the place they answer."""
    text = f"{record.partition}:{record.offset}".encode()
    records = tuple(OutRecord(topic=topic, key=record.key, value=text) for topic in (OUTPUT, AUDIT))
    return Result(topic=record.topic, partition=record.partition, offset=record.offset, records=records)


class FastClock(SystemClock):
    """The machine's time, `speed` times as fast; the wall clock goes as it does."""

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def monotonic_s(self) -> float:
        return super().monotonic_s() * self._speed


class Desk:
    """A `process` that answers at once, or holds a record until it is released."""

    def __init__(self, *held: Place) -> None:
        self._lock = threading.Lock()
        self._held = set(held)
        self._waiting: dict[Place, list[asyncio.Future[None]]] = {}
        self.started: list[Place] = []
        self.finished: list[Place] = []
        self.cancelled: list[Place] = []

    async def process(self, record: Record, _rest: Rest) -> Result:
        place = place_of(record)
        self.started.append(place)
        try:
            future = self._future(place)
            if future is not None:
                await future
        except asyncio.CancelledError:
            self.cancelled.append(place)
            raise
        self.finished.append(place)
        return answer(record)

    def release(self, *places: Place) -> None:
        """Let these records be answered, now and whenever they are read again."""
        with self._lock:
            self._held.difference_update(places)
            waiting = [future for place in places for future in self._waiting.pop(place, ())]
        for future in (future for future in waiting if not future.done()):
            future.get_loop().call_soon_threadsafe(_wake, future)

    def hold(self, *places: Place) -> None:
        """Keep these records waiting from now on."""
        with self._lock:
            self._held.update(places)

    def _future(self, place: Place) -> "asyncio.Future[None] | None":
        with self._lock:
            if place not in self._held:
                return None
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(place, []).append(future)
            return future


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


class World:
    """A broker in memory with an input of some partitions, and one slot's clients; `broker` is one that is there."""

    def __init__(self, partitions: int = 2, broker: FakeBroker | None = None, slot: int = 0) -> None:
        self.broker = broker or FakeBroker()
        self.broker.create_topic(INPUT, partitions)
        self.source = FakeSource(self.broker, INPUT, slot)
        self.sink = FakeSink(self.broker, slot)

    def send(self, partition: int, count: int, value: bytes = b"value", *, key: bytes | None = None) -> None:
        """Records that wait for none but those of their `key`; without one, for nobody."""
        for _ in range(count):
            self.broker.send(INPUT, value, key=key, partition=partition)

    def answered(self, topic: str = OUTPUT) -> list[Place]:
        """What became visible, in that order."""
        found = [(record.value or b"").decode().split(":") for record in self.broker.records(topic)]
        return [(int(partition), int(offset)) for partition, offset in found]

    def wait_answered(self, count: int) -> None:
        wait_until(lambda: len(self.answered()) >= count, WAIT_S)

    def committed(self, partition: int = 0) -> int | None:
        return self.broker.committed(INPUT, partition)

    def loop(self, process: Process, **changes: Any) -> Loop:
        arguments: dict[str, Any] = {
            "clock": SystemClock(),
            "limits": LimitSettings(),
            "metrics": Instruments.none(),
            "tracing": Tracing.none(),
            **changes,
        }
        clock: Clock = arguments.pop("clock")
        return Loop(arguments.pop("source", self.source), self.sink, process, clock=clock, **arguments)


class Running:
    """A loop that runs in a thread; `error` is what ended it."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="loop", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as exc:  # noqa: BLE001 - the test looks at it
            self.error = exc

    def wait_ended(self) -> None:
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive(), "the loop did not end"

    def drain(self, timeout_s: float) -> None:
        self.loop.drain(timeout_s)
        self.wait_ended()


@contextmanager
def running(loop: Loop) -> Generator[Running]:
    """The loop runs while the block does, and must end without an error."""
    run = Running(loop)
    try:
        yield run
    finally:
        run.drain(WAIT_S if run.error is None else 0)
    assert run.error is None, run.error
