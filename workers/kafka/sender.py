"""A producer that writes records to the input topic as a chat service would, each with its own producer span."""

from typing import Any

from kafka import KafkaProducer
from kafka.partitioner import murmur2
from opentelemetry.context import Context
from opentelemetry.trace import NoOpTracer, SpanKind, Tracer

from topology.contract.codec import encode
from topology.contract.events import ConversationEvent
from topology.contract.headers import Wire
from topology.contract.names import CONTENT_TYPE_JSON, Header, SchemaName
from topology.contract.records import Headers
from topology.telemetry.span_names import SYSTEM, Attribute, send_name
from topology.telemetry.trace_context import carrier
from workers.kafka.client import connect, producer_options
from workers.settings import KafkaSettings

SEND_TIMEOUT_S = 30.0
"""Bound on waiting for one acknowledgement; the producer's delivery timeout is shorter."""


class EventSender:
    """A producer for one topic. Raises KafkaUnavailable if the brokers are not there in time."""

    def __init__(
        self, kafka: KafkaSettings, topic: str, tracer: Tracer | None = None, *, is_idempotent: bool = True
    ) -> None:
        options = producer_options(kafka)
        if not is_idempotent:
            options.update(enable_idempotence=False)
        self._topic = topic
        self._tracer = tracer or NoOpTracer()
        self._producer: Any = connect("sender", lambda: KafkaProducer(**options), kafka.connect_timeout_s)

    def partition_of(self, key: bytes) -> int:
        """Return the partition to which records of a key go. Raises KafkaError if the topic is not known in time."""
        partitions = sorted(self._producer.partitions_for(self._topic))
        return partitions[(murmur2(key) & 0x7FFFFFFF) % len(partitions)]  # as the producer's DefaultPartitioner does

    def send_event(self, event: ConversationEvent) -> Any:
        """Send one event as JSON, keyed by its conversation. Returns a future; see `wait_for_position`."""
        headers = (
            (Header.CONTENT_TYPE.value, CONTENT_TYPE_JSON.encode()),
            (Header.SCHEMA.value, f"{SchemaName.CONVERSATION_EVENT.value}/1".encode()),
        )
        return self.send_raw(event.conversation_id.encode(), encode(event, Wire.JSON), headers)

    def send_raw(
        self, key: bytes | None, value: bytes | None, headers: Headers = (), *, partition: int | None = None
    ) -> Any:
        """Send bytes as they are; a trace context is added unless `headers` have one. Returns a future.

        `partition` None: the one that the key is hashed to.
        """
        attributes = {
            Attribute.MESSAGING_SYSTEM.value: SYSTEM,
            Attribute.MESSAGING_OPERATION_NAME.value: "send",
            Attribute.MESSAGING_OPERATION_TYPE.value: "send",
            Attribute.MESSAGING_DESTINATION.value: self._topic,
        }
        with self._tracer.start_as_current_span(
            send_name(self._topic), context=Context(), kind=SpanKind.PRODUCER, attributes=attributes
        ) as span:
            named = {name for name, _ in headers}
            trace = [(n, v.encode()) for n, v in carrier(span.get_span_context()).items() if n not in named]
            return self._producer.send(
                self._topic, value=value, key=key, headers=[*headers, *trace], partition=partition
            )

    def send_to(self, topic: str, partition: int, key: bytes, value: bytes, headers: Headers) -> Any:
        """Send a record to one partition of another topic. Returns a future."""
        return self._producer.send(topic, value=value, key=key, headers=list(headers), partition=partition)

    def flush(self) -> None:
        """Wait until everything sent is acknowledged or has failed."""
        self._producer.flush(timeout=SEND_TIMEOUT_S)

    def close(self) -> None:
        """Flush and release the connections."""
        self._producer.close(timeout=SEND_TIMEOUT_S)


def wait_for_position(future: Any) -> tuple[str, int, int]:
    """Return (topic, partition, offset) of an acknowledged record. Raises KafkaError if it was not acknowledged."""
    acknowledged = future.get(timeout=SEND_TIMEOUT_S)
    return acknowledged.topic, acknowledged.partition, acknowledged.offset
