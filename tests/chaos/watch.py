"""A read_committed reader that runs all the time: what is answered by now, and how long readers were held back.

How long a reader is held back is taken record by record: the broker stamps each response when it is appended to the
log, so that from then on it is below the high watermark; the reader gets it once the last stable offset has passed it.
What lies between is the time of its own transaction, of every open one before it, and of the reader's own fetch. A
record that is aborted is never seen and does not count. A partition on which nothing waits holds back nobody.
"""

import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from kafka.errors import KafkaError
from msgspec import Struct

from tests.chaos.worker import SOURCE_HEADER, WORKER_HEADER
from topology.contract.headers import last_header
from topology.contract.records import Record
from workers.kafka.reader import TopicReader
from workers.settings import KafkaSettings, TopicSettings

POLL_S = 0.1
CLOSE_TIMEOUT_S = 10.0
SIGHTS_MAX = 5_000_000
"""Records remembered one by one; at 100 a second they last for half a day."""


class Sight(Struct, frozen=True, gc=False):
    """A response as it came: Unix times, the source partition and offset, and who wrote it."""

    seen_s: float
    appended_s: float
    partition: int
    offset: int
    incarnation: int

    @property
    def held_back_s(self) -> float:
        """From its append to its sight, at least 0: clocks have milliseconds."""
        return max(0.0, self.seen_s - self.appended_s)


class Watch:
    """Reads responses and dead letters on a thread of its own, from the beginning or from now."""

    def __init__(self, kafka: KafkaSettings, topics: TopicSettings, *, from_beginning: bool) -> None:
        self._topics = topics
        self._reader = TopicReader(kafka, [topics.audited, topics.dead_letters], from_beginning=from_beginning)
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._sights: list[Sight] = []
        self._seen: Counter[tuple[int, int]] = Counter()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="watch", daemon=True)
        self._thread.start()

    @property
    def answered_count(self) -> int:
        """Different records answered."""
        return len(self._seen)

    @property
    def duplicate_count(self) -> int:
        """Answers beyond a record's first."""
        return len(self._sights) - len(self._seen)

    def check(self) -> None:
        """Raises what ended the thread."""
        if self._error is not None:
            raise self._error

    def sights(self, since_s: float = 0.0) -> Sequence[Sight]:
        """What was seen since, in order of sight."""
        with self._lock:
            start = bisect_left(self._sights, since_s, key=lambda sight: sight.seen_s)
            return self._sights[start:]

    def close(self) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        with suppress(KafkaError):
            self._reader.close()

    def _serve(self) -> None:
        try:
            while not self._ended.is_set():
                records = self._reader.poll(POLL_S)
                seen_s = time.time()
                with self._lock:
                    for record in records:
                        self._take(record, seen_s)
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that asks `check`
            self._error = exc

    def _take(self, record: Record, seen_s: float) -> None:
        place = last_header(record.headers, SOURCE_HEADER)
        if place is None or len(self._sights) >= SIGHTS_MAX:
            return
        partition, offset = map(int, place.split(":"))
        incarnation = int(last_header(record.headers, WORKER_HEADER) or "-1")
        self._sights.append(Sight(seen_s, record.timestamp_ms / 1000, partition, offset, incarnation))
        self._seen[partition, offset] += 1
