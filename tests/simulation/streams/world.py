"""One streamed event in virtual time: workers that crash, hang and lose their partition, a log, a group, and readers.

Every choice comes from one seed. The code that is tried is the workers' own: `KafkaReleases`, the index, the places,
and the sink that looks at the response; and the rule that readers have.
"""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.simulation.streams.commits import IDS, Commits, response_of
from tests.simulation.streams.event_loop import VirtualLoop
from tests.simulation.streams.readers import Reader, Violation
from topology.contract.codec import encode
from topology.contract.errors import PrefixChanged, Replaced
from topology.contract.events import AuditedResponse
from topology.contract.headers import Wire, response_headers
from topology.contract.names import DraftSource, SchemaName
from topology.contract.records import OutRecord, Ownership, Record
from topology.contract.streams import StreamRecord
from topology.telemetry.instruments import Instruments
from workers.kafka.following.follower import Start
from workers.kafka.following.partition_reader import Begun
from workers.streaming.answers import AnswerSink
from workers.streaming.index import StreamIndex
from workers.streaming.places import Places
from workers.streaming.releases import Identity, KafkaReleases, ReleaseBounds, Streams

EVENT_MS = 1_000_000
PLACE = ("events", 0)
SEGMENTS = 5
SEND_TIMEOUT_S = 2.0
END_S = 30.0
"""From then on nothing goes wrong any more, so that the event is answered."""

_METRICS = Instruments.none()


@dataclass
class Outcome:
    """What one schedule came to, for the shares that tests ask for."""

    is_replaced: bool = False
    shown_count: int = 0
    runs: int = 0
    owners: int = 0
    faults: set[str] = field(default_factory=set)


class World:
    """The log, the group, the workers and the readers of one schedule."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = VirtualLoop()
        self.log: list[Record] = []
        self.judged: dict[str, str] = {}
        """The text after which each segment was judged."""
        self.generation = 1
        self.owner = 0
        self.response: AuditedResponse | None = None
        self.outcome = Outcome()
        self.words = count()
        self.workers = [Worker(self, slot) for slot in range(self.random.choice((2, 2, 3)))]
        self.readers: list[Reader] = []

    def run(self) -> Outcome:
        """Run to the end, and return what it came to. Raises Violation."""
        for is_late in (False, False, True, True):
            self.after(self.random.uniform(0.0, 8.0) if is_late else 0.0, self.begin_reader, is_late)
        self.workers[0].learn(self.generation)
        for _ in range(self.random.randrange(1, 6)):
            kind = self.random.choice((self.rebalance, self.lend, self.crash, self.hang))
            self.after(self.random.uniform(0.0, 8.0), kind)
        self.after(END_S, self.settle)
        self.loop.run()
        if self.response is None:
            raise Violation("the event was never answered")
        self.outcome.is_replaced = self.response.replaced
        self.outcome.shown_count = sum(reader.text_before_end.count(".") for reader in self.readers)
        return self.outcome

    def wait_s(self, longest_s: float) -> float:
        """Return a delay: usually short, sometimes as long as is allowed."""
        return longest_s * self.random.random() ** 4

    def after(self, seconds: float, call: Any, *arguments: Any) -> None:
        self.loop.call_later(seconds, call, *arguments)

    def append(self, record: StreamRecord) -> None:
        """Let a record arrive at the log. What arrives after the response is of no use to anyone, but is read."""
        offset = len(self.log)
        written = Record(
            topic="s",
            partition=0,
            offset=offset,
            timestamp_ms=EVENT_MS + offset,
            key=record.audit_id.encode(),
            value=encode(record, Wire.JSON),
        )
        self.log.append(written)
        for reader in (*self.workers, *self.readers):
            reader.wake()

    # The group

    def rebalance(self) -> None:
        """Give the partition to some worker, perhaps to the same one; everybody learns of it in their own time."""
        self.outcome.faults.add("rebalance")
        self.generation += 1
        self.owner = self.random.randrange(len(self.workers))
        self.tell_all(6.0)

    def lend(self) -> None:
        """Give the partition to another worker and soon back to the first, who hears of the end of it only."""
        self.outcome.faults.add("given and taken back")
        first, self.owner = self.owner, self.random.randrange(len(self.workers))
        self.generation += 1
        self.after(self.wait_s(0.5), self.workers[self.owner].learn, self.generation)
        self.after(self.random.uniform(0.2, 4.0), self._take_back, first)

    def _take_back(self, first: int) -> None:
        self.generation += 1
        self.owner = first
        self.tell_all(3.0)

    def tell_all(self, longest_s: float) -> None:
        for worker in self.workers:
            # A member that misses a generation learns of the next one only.
            self.after(self.wait_s(longest_s), worker.learn, self.generation)

    def crash(self) -> None:
        """End a worker's process; it is back, as another producer's epoch, in the same generation."""
        self.outcome.faults.add("crash")
        worker = self.random.choice(self.workers)
        worker.crash()
        self.after(self.wait_s(2.0), worker.learn, self.generation)

    def hang(self) -> None:
        """Stop a worker as SIGSTOP does, and wake it later."""
        self.outcome.faults.add("hang")
        worker = self.random.choice(self.workers)
        worker.hang(self.random.uniform(0.1, 8.0))

    def settle(self) -> None:
        """Let nothing more go wrong: one worker owns the partition, and everybody knows."""
        for worker in self.workers:
            worker.is_careful = True
        if self.response is None:
            self.rebalance()
            self.tell_all(0.5)

    def may_commit(self, slot: int, generation: int) -> bool:
        """Return whether the brokers take this worker's transaction."""
        return self.response is None and generation == self.generation and slot == self.owner

    def answer(self, response: AuditedResponse) -> None:
        self.response = response
        for reader in self.readers:
            reader.await_end(response)
        for worker in self.workers:
            worker.cancel()

    # Readers

    def begin_reader(self, is_late: bool) -> None:
        # Late: it begins where the log ends now, after the event was written, and says so.
        reader = Reader(self, len(self.log) if is_late else 0, is_from_start=not is_late)
        self.readers.append(reader)
        reader.wake()
        if self.response is not None:
            reader.await_end(self.response)


class Worker:
    """One slot: its processes one after the other, and what each of them knows."""

    def __init__(self, world: World, slot: int) -> None:
        self._world = world
        self.slot = slot
        self.epoch = 0
        self.is_careful = False
        self._until_s = 0.0
        """Until when the process is stopped."""
        self._life = 0
        self._task: asyncio.Task[None] | None = None
        self._begin()

    def _begin(self) -> None:
        """Begin a process."""
        self._life += 1
        self._known = -1
        self._is_owner = False
        self._next = 0
        self._is_reading = False
        self._is_followed = False
        self._waiting: AuditedResponse | None = None
        self.ownership = Ownership(generation=0, member_id="m", group_id="g")
        index = StreamIndex(bytes_max=1 << 20, kept_s=600)
        self._places = Places(lambda partitions: index.keep([number for _, number in partitions]))
        self._places.watch(lambda: self.ownership)
        self._streams = Streams(
            index=index,
            places=self._places,
            following=self,
            sending=self,
            bounds=ReleaseBounds(open_timeout_s=12.0, send_timeout_s=SEND_TIMEOUT_S + 0.5, runs_max=8),
            metrics=_METRICS,
            identity=Identity(self.slot, self.epoch),
            monotonic_s=self._world.loop.time,
        )
        self._sink = AnswerSink(Commits(self._world, self), "audited", self._streams.read_back)

    def crash(self) -> None:
        """End the process; what it sent may still arrive."""
        self.cancel()
        self.epoch += 1
        self._begin()

    def hang(self, seconds: float) -> None:
        self._until_s = max(self._until_s, self._world.loop.now_s + seconds)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._waiting = None

    def learn(self, generation: int) -> None:
        """Hear of a generation, when the process runs; a window goes on if it stays here and nobody has answered."""
        if self._is_stopped(self.learn, generation) or generation <= self._known or generation < self._world.generation:
            return
        world, self._known = self._world, generation
        was_owner, self._is_owner = self._is_owner, world.owner == self.slot
        self.ownership = Ownership(generation=generation, member_id="m", group_id="g")
        self._places.keep([PLACE] if self._is_owner else [])
        if not self._is_owner:
            self._is_followed = False
            self.cancel()
        elif world.response is None and not (was_owner and (self._task is not None or self._waiting is not None)):
            self._task = world.loop.create_task(self._work())
            self._task.add_done_callback(self._note_failure)

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._world.loop.failures.append(error)

    def _is_stopped(self, call: Any, *arguments: Any) -> bool:
        """Return whether the process is stopped now; `call` then follows when it wakes."""
        left_s = self._until_s - self._world.loop.now_s
        if left_s > 0:
            self._world.after(left_s + 0.001, call, *arguments)
        return left_s > 0

    # What the event's pipeline does

    async def _work(self) -> None:
        world = self._world
        world.outcome.owners += 1
        releases = KafkaReleases(self._streams, IDS, PLACE, EVENT_MS)
        try:
            if await self._stream(releases):
                await releases.open()  # whatever changed hands meanwhile is read back before the response
            response = response_of(releases.sent + "end", replaced=False)
        except Replaced:
            response = response_of("whole answer", replaced=True)
        self._waiting = response
        self._task = None
        self._commit_soon()

    async def _stream(self, releases: KafkaReleases) -> bool:
        """Release some segments; return whether there is time to read back before the response."""
        world = self._world
        await releases.open()
        for number in range(world.random.randrange(SEGMENTS + 1)):
            if releases.has_last:
                return True
            await self._pause(0.8)
            word = f"{next(world.words)}. "
            world.judged[word] = releases.sent
            try:
                if world.random.random() < 0.05:  # the deadline, or a check that stops the answer
                    async with asyncio.timeout(world.wait_s(1.0)):
                        await releases.release(word, DraftSource.GENERATOR, is_last=False)
                else:
                    await releases.release(word, DraftSource.GENERATOR, is_last=number == SEGMENTS - 1)
            except PrefixChanged:
                world.outcome.faults.add("prefix changed")
                await releases.open()
            except TimeoutError:
                world.outcome.faults.add("ended while a segment was sent")
                # Without that time the response has everything that was sent.
                return world.random.random() < 0.5
        return True

    async def _pause(self, longest_s: float) -> None:
        await asyncio.sleep(self._world.wait_s(longest_s))
        while (left_s := self._until_s - self._world.loop.now_s) > 0:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(left_s + 0.001)

    def _commit_soon(self) -> None:
        self._world.after(self._world.wait_s(4.0), self._commit, self._life, self._waiting)

    def _commit(self, life: int, response: AuditedResponse | None) -> None:
        """Commit the response under the membership that is known now, as a window that goes on does."""
        if response is None or life != self._life or self._waiting is not response:
            return
        if self._is_stopped(self._commit, life, response):
            return
        headers = response_headers(
            SchemaName.AUDITED_RESPONSE, Wire.JSON, ce_id=IDS.audit_id, subject=IDS.conversation_id, time_ms=EVENT_MS
        )
        record = OutRecord(topic="audited", key=b"c1", value=encode(response), headers=headers)
        if not self._sink.commit([record], (), self.ownership):
            self._commit_soon()

    # The follower

    def follow_anew(self, partition: int, start: Start) -> None:
        del partition, start
        self._is_followed = True
        self._next = 0
        self.wake()

    def begun(self, partition: int) -> Begun | None:
        del partition
        return Begun(first=0, offset=0, end=0, whole_from_ms=0)

    def wake(self) -> None:
        if self._is_followed and not self._is_reading and self._next < len(self._world.log):
            self._is_reading = True
            self._world.after(self._world.wait_s(3.0), self._read, self._life)

    def _read(self, life: int) -> None:
        if life != self._life or self._is_stopped(self._read, life):
            return
        self._is_reading = False
        batch = self._world.log[self._next : self._next + self._world.random.randrange(1, 4)]
        if batch and self._is_followed:
            self._next = batch[-1].offset + 1
            self._streams.index.take(0, batch)
        self.wake()

    # The producer

    async def send(self, number: int, record: StreamRecord) -> bool:
        """Write a record: it may be late, come twice or never, and its acknowledgement may be lost."""
        del number
        world, life = self._world, self._life
        await self._pause(0.3)
        chance = 1.0 if self.is_careful else world.random.random()
        if chance < 0.05:
            world.outcome.faults.add("record lost")
            await asyncio.sleep(SEND_TIMEOUT_S)
            return False
        arrives_s = world.wait_s(0.3)
        if chance < 0.12:
            world.outcome.faults.add("record late")
            arrives_s = world.random.uniform(0.0, 10.0)
        world.after(arrives_s, world.append, record)
        if chance < 0.2:
            world.outcome.faults.add("record twice")
            world.after(arrives_s + world.random.uniform(0.0, 8.0), world.append, record)
        if chance < 0.25:
            world.outcome.faults.add("acknowledgement lost")
            await asyncio.sleep(SEND_TIMEOUT_S)
            return False
        await asyncio.sleep(min(arrives_s, SEND_TIMEOUT_S))
        if arrives_s > SEND_TIMEOUT_S:
            return False
        await self._pause(0.2)
        return life == self._life

    def close(self) -> None:
        """Nothing is held."""
