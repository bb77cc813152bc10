"""The Releases port on Kafka: one event's run, opened, read back, and written segment by segment.

`topology/streaming/writer.py` has the rules. Here is what drives it: the topic's records as the index hands them over,
the ownership in force, and acknowledgements. Everything but the index's call is on one event loop.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final, NamedTuple, NoReturn, Protocol

import msgspec

from topology.contract.errors import PrefixChanged, Replaced
from topology.contract.names import DraftSource
from topology.contract.records import PartitionId, Record
from topology.contract.streams import StreamKind, StreamRecord, StreamToken
from topology.ports import Releases
from topology.streaming.reader_rule import BEGIN_BEFORE_MS
from topology.streaming.writer import HIGHER, StreamIds, StreamWriter
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric, StreamOutcome
from workers.kafka.following.follower import Start
from workers.kafka.following.partition_reader import Begun
from workers.streaming.index import StreamIndex
from workers.streaming.places import Place, Places
from workers.streaming.sending import Sending

_records = msgspec.json.Decoder(StreamRecord)


class Identity(NamedTuple):
    """The slot's first producer when this loop was built."""

    producer_id: int
    epoch: int


NOBODY: Final = Identity(0, 0)


class ReadBack(NamedTuple):
    """Where an event stands, and the generation under which its run last read back."""

    partition: PartitionId
    generation: int


class Following(Protocol):
    """What is needed of the follower of the stream topic: see `Follower`."""

    def follow_anew(self, partition: int, start: Start) -> None:
        """Follow a partition from `start` on."""
        ...

    def begun(self, partition: int) -> Begun | None:
        """Return where a partition began."""
        ...


@dataclass(frozen=True, slots=True)
class ReleaseBounds:
    """Bounds of one event: the time to open and read back, that of one record's acknowledgement, and its runs."""

    open_timeout_s: float
    send_timeout_s: float
    runs_max: int


@dataclass(slots=True)
class Streams:
    """What the runs of one worker share."""

    index: StreamIndex
    places: Places
    following: Following
    sending: Sending
    bounds: ReleaseBounds
    metrics: Instruments
    identity: Identity = NOBODY
    monotonic_s: Callable[[], float] = time.monotonic
    runs: "count[int]" = field(default_factory=lambda: count(1))
    starts: dict[int, int] = field(default_factory=dict[int, int])
    """The time from which each partition is followed."""
    read_back: dict[str, ReadBack] = field(default_factory=dict[str, ReadBack])
    """The events that are open here, by audit id, until their response is visible; see `answers.py`."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while partitions begin to be followed, or are let go, on two threads."""

    def begin(self, number: int, event_ms: int) -> None:
        """Follow a partition from long enough before an event on, unless it is."""
        from_ms = max(0, event_ms - BEGIN_BEFORE_MS)
        with self.lock:
            if from_ms < self.starts.get(number, from_ms + 1):
                self.starts[number] = from_ms
                self.following.follow_anew(number, Start(from_ms))

    def is_whole(self, number: int, event_ms: int) -> bool:
        """Return whether everything of an event was read that was ever written."""
        begun = self.following.begun(number)
        if begun is None or begun.whole_from_ms > max(0, event_ms - BEGIN_BEFORE_MS):
            return False
        return self.index.is_whole(number, event_ms)


class KafkaReleases(Releases):
    """The runs of one event that `event_ms` is the append time of. Calls wait for each other."""

    def __init__(self, streams: Streams, ids: StreamIds, partition: PartitionId, event_ms: int) -> None:
        self._streams = streams
        self._ids = ids
        self._partition = partition
        self._event_ms = event_ms
        self._writer = StreamWriter(ids)
        self._place: Place | None = None
        self._run_count = 0
        self._pending: list[Record] | None = None
        """What was read before the first own `opened`, perhaps in more than one go; None before it is asked for."""
        self._was_open = False
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    @property
    def sent(self) -> str:
        """See `Releases.sent`."""
        return self._writer.sent

    @property
    def has_last(self) -> bool:
        """See `Releases.has_last`."""
        return self._writer.has_last

    async def open(self) -> str:
        """See `Releases.open`."""
        async with self._turn:
            await self._ensure_open()
            return self._writer.sent

    async def release(self, text: str, source: DraftSource, *, is_last: bool) -> None:
        """See `Releases.release`."""
        async with self._turn:
            before = self._writer.sent
            await self._ensure_open()
            while self._writer.sent == before:
                segment = self._writer.segment(text, source, is_last=is_last)
                if await self._send(segment):
                    self._writer.acknowledged(segment)
                    return
                self._writer.failed()
                await self._ensure_open()
            if self._writer.sent != before + text:
                raise PrefixChanged("another run has released text")

    def taken(self, records: Sequence[Record]) -> None:
        """Take new records from the index, on the follower's thread."""
        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(self._take, records)

    def _take(self, records: Sequence[Record]) -> None:
        if self._was_open:
            self._read(records)
        elif self._pending is not None:
            self._pending.extend(records)
            if any(self._is_own_opened(record) for record in records):
                self._was_open = True
                # Records from before the following began anew may have come after later ones.
                self._read(sorted(self._pending, key=lambda record: record.offset))
                self._pending.clear()
        if self._writer.is_open or self._writer.is_overtaken or self._writer.replaced_why:
            self._changed.set()

    def _read(self, records: Sequence[Record]) -> None:
        for record in records:
            found = _decoded(record)
            if found is None:
                self._writer.replace("a record of the stream cannot be read")
            else:
                self._writer.read(found)

    def _is_own_opened(self, record: Record) -> bool:
        found = _decoded(record)
        return found is not None and found.kind is StreamKind.OPENED and found.token == self._writer.token

    async def _ensure_open(self) -> None:
        """Return once a run is open under the ownership in force. Raises Replaced."""
        while True:
            self._writer.require_place()
            place = self._streams.places.of(self._partition)
            if place is None:
                self._give_up("the partition is not owned")
            if self._place == place:
                if self._writer.is_open:
                    return
                if self._writer.is_overtaken:
                    self._give_up(HIGHER)
            if self._run_count >= self._streams.bounds.runs_max:
                self._give_up("too many runs")
            await self._run(place)

    async def _run(self, place: Place) -> None:
        """Open a run and read back; after a failed send, leave that to the next one."""
        streams, number = self._streams, self._partition[1]
        started_s = streams.monotonic_s()
        self._run_count += 1
        self._follow()
        token = StreamToken(
            generation=place.generation,
            epoch=streams.identity.epoch,
            producer_id=streams.identity.producer_id,
            run=next(streams.runs),
        )
        opened = self._writer.open(token)
        self._place = place
        self._changed.clear()
        if not await self._send(opened):
            self._writer.failed()
            return
        try:
            async with asyncio.timeout(streams.bounds.open_timeout_s):
                await self._changed.wait()
        except TimeoutError:
            self._give_up("not read back in time")
        if not streams.is_whole(number, self._event_ms):
            self._give_up("the stream's log begins too late")
        if self._writer.replaced_why:
            self._give_up(self._writer.replaced_why)
        if not self._writer.is_open:
            return
        streams.read_back[self._ids.audit_id] = ReadBack(self._partition, place.generation)
        streams.metrics.count(Metric.STREAM_RUNS, outcome=StreamOutcome.OPENED)
        streams.metrics.observe(Metric.STREAM_READ_BACK, streams.monotonic_s() - started_s)

    def _follow(self) -> None:
        self._streams.begin(self._partition[1], self._event_ms)
        if self._pending is None:
            self._pending = self._streams.index.claim(self._partition[1], self._ids.audit_id, self.taken)

    async def _send(self, record: StreamRecord) -> bool:
        is_done = False
        try:
            async with asyncio.timeout(self._streams.bounds.send_timeout_s):
                is_done = await self._streams.sending.send(self._partition[1], record)
        except TimeoutError:
            pass  # nobody knows whether it arrives
        except asyncio.CancelledError:
            self._writer.failed()
            raise
        outcome = StreamOutcome.ACKNOWLEDGED if is_done else StreamOutcome.FAILED
        self._streams.metrics.count(Metric.STREAM_RECORDS, kind=record.kind.value, outcome=outcome)
        return is_done

    def _give_up(self, why: str) -> NoReturn:
        self._writer.replace(why)
        self._streams.read_back.pop(self._ids.audit_id, None)
        self._streams.metrics.count(Metric.STREAM_RUNS, outcome=StreamOutcome.REPLACED)
        raise Replaced(self._writer.replaced_why)


def _decoded(record: Record) -> StreamRecord | None:
    try:
        return None if record.unreadable else _records.decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
