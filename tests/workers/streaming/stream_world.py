"""A stream topic in memory, with workers that write to it and are told of it as a follower tells them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from topology.contract.codec import encode
from topology.contract.headers import Wire
from topology.contract.records import Ownership, Record
from topology.contract.streams import StreamRecord
from topology.streaming.writer import StreamIds
from topology.telemetry.instruments import Instruments
from workers.kafka.following.follower import Start
from workers.kafka.following.partition_reader import Begun
from workers.streaming.index import StreamIndex
from workers.streaming.places import Places
from workers.streaming.releases import Identity, KafkaReleases, ReleaseBounds, Streams

EVENTS = "events"
EVENT_MS = 1_000_000
IDS = StreamIds(audit_id="a1", event_id="e1", conversation_id="c1", tenant_id="t1")
BOUNDS = ReleaseBounds(open_timeout_s=0.5, send_timeout_s=0.5, runs_max=4)


class StreamLog:
    """One partition. `outcomes` are what becomes of the next records: see `Worker.send`."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.workers: list[Worker] = []
        self.first = 0
        self.whole_from_ms = 0

    def append(self, value: bytes, audit_id: str = IDS.audit_id, at_ms: int | None = None) -> Record:
        offset = self.records[-1].offset + 1 if self.records else self.first
        at_ms = EVENT_MS + offset if at_ms is None else at_ms
        record = Record(topic="s", partition=0, offset=offset, timestamp_ms=at_ms, key=audit_id.encode(), value=value)
        self.records.append(record)
        for worker in self.workers:
            worker.tell([record])
        return record

    def write(self, *records: StreamRecord) -> None:
        for record in records:
            self.append(encode(record, Wire.JSON), record.audit_id)


class Worker:
    """One worker's side: what its follower delivers, what it sends, and what it owns."""

    def __init__(self, log: StreamLog, producer_id: int = 7, generation: int = 1, runs_max: int = 4) -> None:
        self.log = log
        self.outcomes: list[str] = []
        self.starts: list[int | None] = []
        self.is_deaf = False
        self.before_send: Callable[[StreamRecord], object] = lambda _: None
        self._begun: Begun | None = None
        index = StreamIndex(bytes_max=1 << 20, kept_s=600)
        self.places = Places(lambda partitions: index.keep([number for _, number in partitions]))
        self.places.watch(lambda: self.ownership)
        self.streams = Streams(
            index=index,
            places=self.places,
            following=self,
            sending=self,
            bounds=ReleaseBounds(
                open_timeout_s=BOUNDS.open_timeout_s, send_timeout_s=BOUNDS.send_timeout_s, runs_max=runs_max
            ),
            metrics=Instruments.none(),
            identity=Identity(producer_id, 0),
        )
        self.own(generation)
        log.workers.append(self)

    def own(self, generation: int, *, is_owner: bool = True) -> None:
        """Take over a membership."""
        self.ownership = Ownership(generation=generation, member_id="m", group_id="g")
        self.places.keep([(EVENTS, 0)] if is_owner else [])

    def releases(self, ids: StreamIds = IDS, event_ms: int = EVENT_MS) -> KafkaReleases:
        return KafkaReleases(self.streams, ids, (EVENTS, 0), event_ms)

    def follow_anew(self, partition: int, start: Start) -> None:
        self.starts.append(start.from_ms)
        self._begun = Begun(
            first=self.log.first, offset=self.log.first, end=len(self.log.records), whole_from_ms=self.log.whole_from_ms
        )
        if not self.is_deaf and self.log.records:
            self.streams.index.take(partition, list(self.log.records))

    def begun(self, partition: int) -> Begun | None:
        del partition
        return self._begun

    def tell(self, records: list[Record]) -> None:
        if not self.is_deaf and self._begun is not None:
            self.streams.index.take(0, records)

    async def send(self, number: int, record: StreamRecord) -> bool:
        """Append a record. Outcomes: `lost` and not acknowledged, `unheard` (arrived, not acknowledged), `stuck`."""
        assert number == 0
        self.before_send(record)
        outcome = self.outcomes.pop(0) if self.outcomes else "ok"
        if outcome in {"ok", "unheard"}:
            self.log.write(record)
        if outcome == "stuck":
            await asyncio.sleep(60)
        return outcome == "ok"

    def close(self) -> None:
        """Nothing is held."""


def run(work: Any) -> Any:
    return asyncio.run(work)


def texts(records: Iterable[StreamRecord]) -> list[str]:
    return [record.text for record in records]
