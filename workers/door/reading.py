"""The topics as the door uses them: events are written, audited responses followed and read again."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from topology.contract.events import Position
from topology.contract.headers import last_headers
from topology.contract.lineage import Cancellation
from topology.contract.names import CONTENT_TYPE_JSON, Header, SchemaName
from topology.contract.records import Headers, Record
from topology.contract.streams import StreamRecord
from topology.ports import Clock
from workers.door.asking import LogAway
from workers.door.flights import Placed
from workers.door.reasons import Answered
from workers.kafka.errors import KafkaRefused, KafkaUnavailable, translated
from workers.kafka.reader import RangeReader, ReadingStalled, Span, TopicFollower, ValueDecoder
from workers.kafka.sender import EventSender
from workers.settings import KafkaSettings, TopicSettings

logger = logging.getLogger("sluicegate.door")

T = TypeVar("T")

POLL_S: Final = 0.5
AGAIN_S: Final = 1.0
"""The wait before the audited topic is followed anew after an error."""
FETCH_S: Final = 5.0
"""Bound on reading one answer again."""
STRETCH_RECORDS: Final = 100
"""Records between two wanted answers that are read along with them: one fetch brings as many."""
STOP_S: Final = 5.0
STILL_S: Final = 15.0
"""A door one of whose readers has not polled for so long is not ready."""

_answered = ValueDecoder(Answered)
_DIGEST: Final = Header.REQUEST_DIGEST.value
_CANCEL_HEADERS: Final = (
    (Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),
    (Header.SCHEMA.value, f"{SchemaName.CANCELLATION.value}/1".encode()),
)


class Following(Protocol):
    """What is followed: see `TopicFollower`."""

    def poll(self, timeout_s: float) -> list[Record]:
        """Return what is new."""
        ...

    def is_caught_up(self) -> bool:
        """Return whether all that stood there at the start was read."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


def placed_of(record: Record) -> Placed | None:
    """Return the response of a record; None for one to an event that no door sent, which is not even decoded."""
    digest = last_headers(record.headers).get(_DIGEST)
    answered = _answered(record) if digest else None
    if digest is None or answered is None:
        return None
    return Placed(answered, digest.decode("ascii", "replace"), record.partition, record.offset, record.timestamp_ms)


_streamed = ValueDecoder(StreamRecord)


class TopicThread(Generic[T]):
    """A thread that follows a topic and hands over what `read` makes of its records, each poll's at once.

    `follow` begins anew after an error; what was handed over then comes again, which changes nothing.
    """

    def __init__(
        self, follow: Callable[[], Following], read: Callable[[Record], T | None], deliver: Callable[[list[T]], None]
    ) -> None:
        self._follow = follow
        self._read = read
        self._deliver = deliver
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="door-reader", daemon=True)
        self.has_caught_up = False
        """Whether everything was read that stood there at the start."""
        self.polled_s = time.monotonic()

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, within STOP_S."""
        self._ended.set()
        self._thread.join(STOP_S)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._follow_until_stopped()
            except (KafkaUnavailable, KafkaRefused) as exc:
                logger.warning("not followed, trying again: %s", exc)
                self._ended.wait(AGAIN_S)

    def _follow_until_stopped(self) -> None:
        following = self._follow()
        try:
            while not self._ended.is_set():
                read = [found for record in following.poll(POLL_S) if (found := self._read(record)) is not None]
                if read:
                    self._deliver(read)
                self.polled_s = time.monotonic()
                self.has_caught_up = self.has_caught_up or following.is_caught_up()
        finally:
            following.close()


class Ranges(Protocol):
    """What reads answers again: see `RangeReader`."""

    def read(self, spans: Mapping[int, Span], stall_s: float) -> Iterator[list[Record]]:
        """Yield the records of the spans."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


class KeptAnswers:
    """Answers that are read again. Those that are wanted while one is being read are read together after it."""

    def __init__(self, open_reader: Callable[[], Ranges]) -> None:
        self._open_reader = open_reader
        self._reader: Ranges | None = None
        self._reading = threading.Lock()
        self._noting = threading.Lock()
        self._wanted: dict[tuple[int, int], Future[Placed | None]] = {}

    def fetch(self, partition: int, offset: int) -> Placed | None:
        """Return an answer, on any thread; None if it is gone. Raises LogAway."""
        with self._noting:
            found = self._wanted.setdefault((partition, offset), Future())
        with self._reading:
            if not found.done():
                self._read_all()
        return found.result()

    def close(self) -> None:
        """Release the connections."""
        with self._reading:
            if self._reader is not None:
                self._reader.close()

    def _read_all(self) -> None:
        """Read what is wanted by now: of each partition one stretch after the other."""
        with self._noting:
            wanted, self._wanted = self._wanted, {}
        try:
            if self._reader is None:
                self._reader = self._open_reader()
            for spans in stretches(wanted):
                for records in self._reader.read(spans, FETCH_S):
                    for record in records:
                        found = wanted.get((record.partition, record.offset))
                        if found is not None and not found.done():
                            found.set_result(placed_of(record))
        except (ReadingStalled, KafkaUnavailable, KafkaRefused) as exc:
            for found in wanted.values():
                if not found.done():
                    found.set_exception(LogAway(str(exc)))
        finally:
            for found in wanted.values():
                if not found.done():
                    found.set_result(None)


def stretches(places: Iterable[tuple[int, int]]) -> list[dict[int, Span]]:
    """Return ranges that contain all places (partition and offset), so that few reads bring little besides them."""
    by_partition: dict[int, list[Span]] = {}
    for partition, offset in sorted(places):
        spans = by_partition.setdefault(partition, [])
        if spans and offset - spans[-1].end < STRETCH_RECORDS:
            spans[-1] = Span(start=spans[-1].start, end=offset + 1)
        else:
            spans.append(Span(start=offset, end=offset + 1))
    longest = max(map(len, by_partition.values()), default=0)
    return [{each: spans[i] for each, spans in by_partition.items() if i < len(spans)} for i in range(longest)]


def _tell(sent: Callable[[bool], None], is_written: bool, _outcome: object) -> None:
    sent(is_written)


class KafkaLink:
    """See `asking.Link`. Raises KafkaUnavailable and KafkaRefused if the brokers are not there."""

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, replay_s: float, clock: Clock) -> None:
        self._kafka = kafka
        self._cancelled = topics.cancel
        self._replay_ms = round(replay_s * 1000)
        self._clock = clock
        self._topics = topics
        self._answers: TopicThread[Placed] | None = None
        self._streams: TopicThread[StreamRecord] | None = None
        self._sender = EventSender(replace(kafka, linger_ms=0), topics.events)
        self._kept = KeptAnswers(lambda: RangeReader(kafka, topics.audited))

    def send(self, key: bytes, value: bytes, headers: Headers, acknowledged: Callable[[Position | None], None]) -> None:
        """See `asking.Log`."""

        def done(at: Any) -> None:
            acknowledged(Position(topic=at.topic, partition=at.partition, offset=at.offset, timestamp_ms=0))

        def failed(_error: object) -> None:
            acknowledged(None)

        try:
            with translated("send"):
                future = self._sender.send_raw(key, value, headers)
        except (KafkaUnavailable, KafkaRefused) as exc:
            raise LogAway from exc
        future.add_callback(done)
        future.add_errback(failed)

    def cancel(self, position: Position, event_id: str, sent: Callable[[bool], None]) -> None:
        """See `asking.Log`."""
        value = msgspec.json.encode(
            Cancellation(partition=position.partition, offset=position.offset, event_id=event_id)
        )
        try:
            with translated("cancel"):
                future = self._sender.send_to(
                    self._cancelled, position.partition, event_id.encode(), value, _CANCEL_HEADERS
                )
        except (KafkaUnavailable, KafkaRefused, ValueError):  # the library's word for a partition that is not there
            sent(False)
            return
        future.add_callback(partial(_tell, sent, True))
        future.add_errback(partial(_tell, sent, False))

    def fetch(self, partition: int, offset: int) -> Placed | None:
        """See `asking.Log`."""
        return self._kept.fetch(partition, offset)

    def start(
        self, deliver: Callable[[list[Placed]], None], stream: Callable[[list[StreamRecord]], None] | None
    ) -> None:
        """See `asking.Link`."""
        self._answers = TopicThread(lambda: self._follow(self._topics.audited), placed_of, deliver)
        self._answers.start()
        if stream is not None:
            self._streams = TopicThread(lambda: self._follow(self._topics.stream), _streamed, stream)
            self._streams.start()

    def not_ready(self) -> tuple[str, ...]:
        """See `asking.Link`."""
        faults: list[str] = []
        for thread, topic in ((self._answers, "audited"), (self._streams, "stream")):
            if thread is None:
                continue
            if not thread.has_caught_up:
                faults.append(f"the {topic} topic is not read to its end yet")
            elif time.monotonic() - thread.polled_s > STILL_S:
                faults.append(f"the {topic} topic is not being read")
        return tuple(faults) if self._answers is not None else ("nothing is read yet",)

    def _follow(self, topic: str) -> Following:
        return TopicFollower(self._kafka, topic, self._clock.now_ms() - self._replay_ms)

    def close(self) -> None:
        """See `asking.Link`."""
        for thread in (self._answers, self._streams):
            if thread is not None:
                thread.stop()
        self._sender.close()
        self._kept.close()
