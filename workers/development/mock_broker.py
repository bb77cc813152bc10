"""The mock cluster of librdkafka: a stand-in, all in memory, for a machine where Kafka itself cannot run.

It has NO real transactions: `read_committed` sees aborted records, and the consumed offsets of a transaction are
discarded. It serves for a demonstration, and for errors that a real broker cannot be made to give; no test of delivery
means anything on it. It is part of the wheel of confluent-kafka, a development extra.
"""

import ctypes
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workers.development.jars import BrokerError
from workers.kafka.topics import topic_table
from workers.settings import TopicSettings

NOTICE = "librdkafka's mock cluster: in memory, without real transactions; nothing here shows exactly-once delivery"

API_VERSION = (2, 3)
"""The version that clients must be given, because kafka-python cannot decode the mock's answer about versions. (2, 3)
has static membership, and does not use the messages that the mock encodes wrongly."""

PARTITIONS = 4
_PRODUCER = 0
"""RD_KAFKA_PRODUCER. A handle must have a type; this one never sends anything."""

_ERROR_BYTES = 256


class MockBroker:
    """A mock cluster of one broker with every topic of `topics`. It runs until the block ends.

    Raises BrokerError if confluent-kafka is not installed. All calls must be on one thread.
    """

    def __init__(self, topics: TopicSettings | None = None, *, partitions: int = PARTITIONS) -> None:
        self._library = _load()
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        configuration = self._library.rd_kafka_conf_new()
        self._handle = self._library.rd_kafka_new(_PRODUCER, configuration, error, _ERROR_BYTES)
        if not self._handle:
            raise BrokerError(f"librdkafka did not start: {error.value.decode()}")
        self._cluster = self._library.rd_kafka_mock_cluster_new(self._handle, 1)
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        for spec in topic_table(topics or TopicSettings()):
            self.create_topic(spec.name, partitions)

    @property
    def bootstrap(self) -> str:
        """Return where clients connect, `host:port`."""
        return self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    @property
    def api_version(self) -> tuple[int, ...]:
        """Return the setting `kafka.api_version` that every client of it needs."""
        return API_VERSION

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Create a topic. Raises BrokerError if it exists."""
        if code := self._library.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1):
            raise BrokerError(f"topic {name} was not created: librdkafka's error {code}")

    def fail(self, api_key: int, codes: Iterable[int]) -> None:
        """Answer the next requests of one kind with these error codes, one each. Key 0 is Produce, 26 is EndTxn."""
        given = list(codes)
        array = (ctypes.c_int * len(given))(*given)
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, api_key, len(given), array)

    def close(self) -> None:
        """End the cluster; its contents are lost."""
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
            self._library.rd_kafka_destroy(self._handle)
            self._cluster = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _load() -> Any:
    """Return the shared library inside confluent-kafka's wheel, with its calls declared. Raises BrokerError."""
    found = importlib.util.find_spec("confluent_kafka")
    if found is None or found.origin is None:
        raise BrokerError("no mock broker: install confluent-kafka, which contains librdkafka")
    beside = Path(found.origin).parent.parent / "confluent_kafka.libs"
    libraries = sorted(beside.glob("librdkafka-*.so*"))
    if not libraries:
        raise BrokerError(f"no mock broker: confluent-kafka has no librdkafka in {beside}")
    library = ctypes.CDLL(str(libraries[0]))
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
        ("rd_kafka_mock_push_request_errors_array", None, [pointer, ctypes.c_int16, ctypes.c_size_t, pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
