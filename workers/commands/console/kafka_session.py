"""What commands that people type need of Kafka: a short wait, a topic that is there, and errors that say what to do."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError
from msgspec.structs import replace

from workers.kafka.client import admin_options, connect
from workers.kafka.errors import Fault, KafkaRefused, KafkaUnavailable, fault_of, refused
from workers.settings import KafkaSettings

PATIENCE_S = 10
"""A worker waits `kafka.connect_timeout_s` for its brokers; somebody at a terminal does not."""

_UNKNOWN_TOPIC = 3
_MAY_NOT_DESCRIBE = 29
"""The brokers' error codes UNKNOWN_TOPIC_OR_PARTITION and TOPIC_AUTHORIZATION_FAILED."""


@contextmanager
def kafka_session(kafka: KafkaSettings, operation: str, topic: str) -> Generator[KafkaSettings]:
    """Settings for clients inside the block; `topic` exists, and what clients raise comes out as ours.

    Raises KafkaUnavailable and KafkaRefused. The mock broker makes its topics itself and is not asked.
    """
    hurried = replace(kafka, connect_timeout_s=min(kafka.connect_timeout_s, PATIENCE_S))
    try:
        if kafka.api_version is None:
            _require(hurried, operation, topic)
        yield hurried
    except KafkaError as exc:
        if fault_of(exc) is Fault.REFUSED:
            raise refused(operation, exc) from exc
        raise KafkaUnavailable(operation, type(exc).__name__) from exc


def _require(kafka: KafkaSettings, operation: str, topic: str) -> None:
    """Raises KafkaRefused where the topic is not there: clients wait for it until they time out, or break."""
    options = admin_options(kafka)
    client: Any = connect(operation, lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
    try:
        (found,) = client.describe_topics([topic])
    finally:
        client.close()
    match found["error_code"]:
        case code if code == _UNKNOWN_TOPIC:
            raise KafkaRefused(operation, f"no topic {topic}", "`sluicegate topics create` makes it")
        case code if code == _MAY_NOT_DESCRIBE:
            raise KafkaRefused(operation, f"topic {topic}", "these credentials may not describe it")
        case _:
            return
