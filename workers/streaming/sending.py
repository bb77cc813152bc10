"""Records of streams written by a plain producer, never in a transaction; the event loop waits for acknowledgements."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from msgspec.structs import replace

from topology.contract.codec import encode
from topology.contract.headers import Wire
from topology.contract.names import CONTENT_TYPE_JSON, Header, SchemaName
from topology.contract.records import Headers
from topology.contract.streams import StreamRecord
from workers.kafka.errors import KafkaRefused, KafkaUnavailable, translated
from workers.kafka.sender import EventSender
from workers.settings import KafkaSettings

HEADERS: Headers = (
    (Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),
    (Header.SCHEMA.value, f"{SchemaName.STREAM_RECORD.value}/1".encode()),
)


class Sending(Protocol):
    """A way to write records of streams."""

    async def send(self, number: int, record: StreamRecord) -> bool:
        """Write a record to a partition; return whether it was acknowledged. False: nobody knows if it arrives."""
        ...

    def close(self) -> None:
        """Release the connections."""
        ...


class StreamSender:
    """The producer of one worker. Connects when made: raises KafkaUnavailable or KafkaRefused if it cannot.

    The library may wait for metadata in `send`, so a thread of its own calls it; every event has one record there.
    """

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._sender = EventSender(replace(kafka, linger_ms=0), topic, is_idempotent=False)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="stream-sender")

    async def send(self, number: int, record: StreamRecord) -> bool:
        """See `Sending.send`. Takes at most `kafka.delivery_timeout_ms`, and as long for the topic's metadata."""
        loop = asyncio.get_running_loop()
        key, value = record.audit_id.encode(), encode(record, Wire.JSON)
        acknowledged: asyncio.Future[bool] = loop.create_future()

        def settle(*, is_done: bool) -> None:
            with suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(lambda: acknowledged.done() or acknowledged.set_result(is_done))

        def done(_at: Any) -> None:
            settle(is_done=True)

        def failed(_error: object) -> None:
            settle(is_done=False)

        def put() -> None:
            try:
                with translated("send"):
                    future = self._sender.send_raw(key, value, HEADERS, partition=number)
            except (KafkaUnavailable, KafkaRefused, ValueError):  # the last: a partition that is not there
                settle(is_done=False)
                return
            future.add_callback(done)
            future.add_errback(failed)

        putting = self._thread.submit(put)
        try:
            return await acknowledged
        finally:
            putting.cancel()  # one that has not begun: nobody waits for it any more

    def close(self) -> None:
        """See `Sending.close`."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._sender.close()
