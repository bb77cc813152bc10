"""The streams of one worker, built from settings."""

from collections.abc import Callable, Collection, Sequence

from topology.contract.events import ConversationEvent
from topology.contract.records import Ownership, PartitionId, Record
from topology.ports import PartitionMemory, Releases, Sink
from topology.streaming.writer import StreamIds
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.following.follower import Follower, Start
from workers.settings import Settings
from workers.streaming.answers import AnswerSink
from workers.streaming.index import StreamIndex
from workers.streaming.places import Places
from workers.streaming.releases import Identity, KafkaReleases, ReleaseBounds, Streams
from workers.streaming.sending import Sending, StreamSender

SEND_MARGIN_S = 1.0
"""The time added to `kafka.delivery_timeout_ms`, after which the library itself fails every record."""


class WorkerStreams:
    """The streams of the partitions that a worker owns. `releases` makes the Releases of an event."""

    def __init__(self, settings: Settings, sending: Sending, metrics: Instruments) -> None:
        streaming, kafka = settings.streaming, settings.kafka
        self._audited = settings.topics.audited
        self._metrics = metrics
        self._index = StreamIndex(bytes_max=streaming.kept_bytes_max, kept_s=streaming.kept_s)
        self._follower = Follower(kafka, settings.topics.stream, self._take, name="streams", metrics=metrics)
        self._places = Places(self._keep, self._stop)
        self._streams = Streams(
            index=self._index,
            places=self._places,
            following=self._follower,
            sending=sending,
            bounds=ReleaseBounds(
                open_timeout_s=streaming.open_timeout_s,
                send_timeout_s=kafka.delivery_timeout_ms / 1000 + SEND_MARGIN_S,
                runs_max=streaming.runs_max,
            ),
            metrics=metrics,
        )

    @property
    def memory(self) -> PartitionMemory:
        """Return what is to be told of the partitions that are owned."""
        return self._places

    def begin(self, ownership: Callable[[], Ownership | None], first_identity: tuple[int, int]) -> None:
        """Begin: `first_identity` is the slot's first producer, `ownership` the membership in force."""
        self._streams.identity = Identity(*first_identity)
        self._places.watch(ownership)
        self._follower.start()

    def releases(self, record: Record, event: ConversationEvent, audit_id: str) -> Releases:
        """See `ReleasesFactory`."""
        ids = StreamIds(
            audit_id=audit_id,
            event_id=event.event_id,
            conversation_id=event.conversation_id,
            tenant_id=event.tenant_id,
        )
        return KafkaReleases(self._streams, ids, (record.topic, record.partition), record.timestamp_ms)

    def checked(self, sink: Sink) -> Sink:
        """Return a sink that looks at each response of a streamed event once more."""
        return AnswerSink(sink, self._audited, self._streams.read_back)

    def close(self) -> None:
        """Stop following, and release the connections."""
        self._places.close()

    def _stop(self) -> None:
        self._follower.stop()
        self._streams.sending.close()

    def _take(self, number: int, records: Sequence[Record]) -> None:
        self._index.take(number, records)
        self._metrics.gauge_set(Metric.STREAM_KEPT_BYTES, self._index.size_bytes)

    def _keep(self, partitions: Collection[PartitionId]) -> None:
        numbers = {number for _, number in partitions}
        starts, read_back = self._streams.starts, self._streams.read_back
        with self._streams.lock:  # a partition that begins meanwhile would be let go, and never followed again
            for number in set(starts) - numbers:
                del starts[number]
            self._follower.follow({number: Start(from_ms) for number, from_ms in starts.items()})
        for audit_id, last in list(read_back.items()):
            if last.partition not in partitions:
                read_back.pop(audit_id, None)
        self._index.keep(numbers)


def open_streams(settings: Settings, metrics: Instruments) -> WorkerStreams | None:
    """Return the streams of a worker; None if settings switch them off.

    Raises KafkaUnavailable or KafkaRefused if the brokers are not there.
    """
    if not settings.streaming.enabled:
        return None
    return WorkerStreams(settings, StreamSender(settings.kafka, settings.topics.stream), metrics)
