"""Options of every Kafka client of this project, from settings, and the bounded wait for brokers at a start.

docs/kafka.md says why each option is set; K1 to K21 are the library's defects as that page lists them.
"""

import importlib.util
import logging
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self, TypeVar

from kafka.admin import KafkaAdminClient
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.net.compat import KafkaNetClient
from msgspec.structs import replace

from workers.kafka.errors import (
    DETAIL_CHARACTERS_MAX,
    Fault,
    KafkaRefused,
    KafkaUnavailable,
    fault_of,
    refused,
    translated,
)
from workers.kafka.library_fixes import deliver_bytes_before_eof
from workers.settings import KafkaSettings, Secret

logger = logging.getLogger("sluicegate.kafka")

T = TypeVar("T")

POLL_RECORDS_MAX = 10**9
"""No limit: with a limit, a paused partition never delivers again (K6). The fetch sizes bound what a poll returns."""

RETRY_BACKOFF_MS = 50
PRODUCER_RETRY_BACKOFF_MS = 20
"""The wait of a transaction while the broker still completes the last one: 15 ms back to back instead of 70."""

RECONNECT_BACKOFF_MAX_MS = 500
"""Metadata refresh shares the reconnect backoff; with the default of 30 s a client is silent for 14 to 37 s after a
broker restarts (K11)."""

METADATA_AGE_MAX_MS = 10_000
"""The longest time until a new partition is seen; nobody reads it before."""

BOOTSTRAP_TIMEOUT_MS = 5_000
"""Bound on one attempt to connect; further attempts follow until `connect_timeout_s`."""

REQUEST_BYTES_MAX = 8 * 1024 * 1024
"""Longest record that the sink writes: an audit record holds the redacted request and three redacted drafts."""

PATIENCE_S = 10
"""Longest wait of a command for its brokers; a worker waits `kafka.connect_timeout_s`."""

CONNECT_BACKOFF_S = 0.5
DISCARD_TIMEOUT_S = 1.0

EXTRAS = {"crc32c": "crc32c", "lz4": "lz4.frame", "snappy": "snappy", "zstd": "zstandard"}
"""The parts of kafka-python that are required, each with the module that it brings. gzip comes with Python."""

FINAL_REASONS = ("SaslAuthenticationFailedError", "CERTIFICATE_VERIFY_FAILED")
"""Texts in the library's log after which another attempt cannot help."""

_UNKNOWN_TOPIC = 3
_MAY_NOT_DESCRIBE = 29
"""The brokers' error codes UNKNOWN_TOPIC_OR_PARTITION and TOPIC_AUTHORIZATION_FAILED."""

_NETWORK_CLIENTS: ContextVar[list[Any] | None] = ContextVar("network_clients", default=None)
"""Network clients that the constructor of a client has opened; None outside of `connect`."""

_SECRET_OPTIONS = frozenset({"ssl_password", "sasl_plain_password", "sasl_oauth_token_provider"})


class Options(dict[str, Any]):
    """Keyword arguments of a client, whose repr masks secrets."""

    def __repr__(self) -> str:
        return repr({name: "***" if name in _SECRET_OPTIONS else value for name, value in self.items()})

    __str__ = __repr__


def slot_name(kafka: KafkaSettings, slot: int) -> str:
    """Return a worker's stable name, which is its transactional id and its group instance id."""
    return f"{kafka.group_id}.{kafka.cluster_name}.{slot}"


def consumer_options(kafka: KafkaSettings, *, instance_id: str | None = None) -> Options:
    """Return options for KafkaConsumer. `instance_id` None: a reader that belongs to no group."""
    require_extras()
    options = _client_options(kafka, instance_id or "sluicegate-reader")
    options.update(
        auto_offset_reset=kafka.auto_offset_reset,
        enable_auto_commit=False,
        isolation_level="read_committed",
        allow_auto_create_topics=False,
        max_poll_records=POLL_RECORDS_MAX,
        max_partition_fetch_bytes=kafka.partition_fetch_bytes,
        fetch_max_bytes=kafka.fetch_bytes_max,
        metrics_enabled=False,
    )
    if kafka.api_version is not None:
        options.update(check_crcs=False)  # the mock broker sends batches of transactions with wrong checksums
    if instance_id is not None:
        options.update(
            group_id=kafka.group_id,
            group_instance_id=instance_id,
            # Eager: the cooperative one gives a partition to a returned zombie while its owner still has it (K10).
            partition_assignment_strategy=[StickyPartitionAssignor()],
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=kafka.heartbeat_interval_ms,
            max_poll_interval_ms=kafka.max_poll_interval_ms,
        )
    return options


def producer_options(kafka: KafkaSettings, *, transactional_id: str | None = None) -> Options:
    """Return options for KafkaProducer. `transactional_id` None: a plain idempotent producer."""
    require_extras()
    options = _client_options(kafka, transactional_id or "sluicegate-writer")
    options.update(
        acks="all",
        retry_backoff_ms=PRODUCER_RETRY_BACKOFF_MS,
        allow_auto_create_topics=False,
        batch_size=kafka.batch_bytes,
        linger_ms=kafka.linger_ms,
        delivery_timeout_ms=kafka.delivery_timeout_ms,
        max_block_ms=kafka.delivery_timeout_ms,
        max_request_size=REQUEST_BYTES_MAX,
        metrics_enabled=False,
    )
    if transactional_id is not None:
        options.update(transactional_id=transactional_id, transaction_timeout_ms=kafka.transaction_timeout_ms)
    return options


def admin_options(kafka: KafkaSettings) -> Options:
    """Return options for KafkaAdminClient."""
    return _client_options(kafka, "sluicegate-admin")


def require_extras(find: Callable[[str], object | None] = importlib.util.find_spec) -> None:
    """Raise KafkaRefused unless all parts of kafka-python that are packages of their own are installed.

    Without `crc32c`, checksums are computed in Python, at 16 times the CPU per record read. Without a codec, the first
    batch that a producer, a topic or a broker compressed with it would stop its partition.
    """
    missing = [extra for extra, module in EXTRAS.items() if find(module) is None]
    if missing:
        extras = ",".join(EXTRAS)
        raise KafkaRefused("start", f"{', '.join(missing)} missing", f"install kafka-python[{extras}]")


def connect(
    what: str,
    build: Callable[[], T],
    timeout_s: float,
    *,
    monotonic_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """Call `build` until the brokers are there and return its result; each failure is logged.

    Raises KafkaUnavailable once `timeout_s` has passed, KafkaRefused at once if another attempt cannot help, and the
    library's error if the brokers say that the slot is taken.
    """
    deadline_s = monotonic_s() + timeout_s
    while True:
        reasons = _Reasons()
        try:
            with reasons, _closed_on_failure():
                return build()
        except KafkaError as exc:
            error = exc
        if (fault := fault_of(error)) is Fault.FENCED:
            raise error
        if fault is Fault.REFUSED:
            raise refused(what, error) from error
        if reasons.is_final:
            raise KafkaRefused(what, type(error).__name__, reasons.last) from error
        if monotonic_s() + CONNECT_BACKOFF_S >= deadline_s:
            raise KafkaUnavailable(what, reasons.last or type(error).__name__) from error
        logger.warning("brokers cannot be reached, trying again", extra={"client": what, "error": type(error).__name__})
        sleep(CONNECT_BACKOFF_S)


@contextmanager
def kafka_session(kafka: KafkaSettings, operation: str, topic: str) -> Generator[KafkaSettings]:
    """Give a command settings with a short wait for brokers; `topic` exists inside the block.

    Raises KafkaUnavailable and KafkaRefused, also for the library's errors inside the block. The mock broker creates
    its topics itself and is not asked.
    """
    hurried = replace(kafka, connect_timeout_s=min(kafka.connect_timeout_s, PATIENCE_S))
    with translated(operation):
        if kafka.api_version is None:
            _require_topic(hurried, operation, topic)
        yield hurried


def _require_topic(kafka: KafkaSettings, operation: str, topic: str) -> None:
    """Raise KafkaRefused if the topic does not exist: clients wait for it until they time out, or break."""
    options = admin_options(kafka)
    client: Any = connect(operation, lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
    try:
        (found,) = client.describe_topics([topic])
    finally:
        client.close()
    if found["error_code"] == _UNKNOWN_TOPIC:
        raise KafkaRefused(operation, f"no topic {topic}", "`sluicegate topics create` makes it")
    if found["error_code"] == _MAY_NOT_DESCRIBE:
        raise KafkaRefused(operation, f"topic {topic}", "these credentials may not describe it")


@contextmanager
def _closed_on_failure() -> Generator[None]:
    """Close the network of a client whose constructor fails: the library leaks its thread and sockets (K14).

    One that is closed already, or that its own thread still has to close, refuses with a RuntimeError.
    """
    opened: list[Any] = []
    token = _NETWORK_CLIENTS.set(opened)
    try:
        yield
    except BaseException:
        for client in opened:
            with suppress(KafkaError, RuntimeError):  # what failed is told, not this
                client.close()
        raise
    finally:
        _NETWORK_CLIENTS.reset(token)


def _network_client(**config: Any) -> Any:
    client: Any = KafkaNetClient(**config)
    deliver_bytes_before_eof(client)
    opened = _NETWORK_CLIENTS.get()
    if opened is not None:
        opened.append(client)
    return client


class _Reasons(logging.Handler):
    """The reasons why connections fail: a client that cannot connect raises a timeout and only logs the cause."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.last = ""
        self.is_final = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the last message, but never let a closed socket replace a final reason."""
        text = record.getMessage()
        if self.is_final:
            return
        self.is_final = any(sign in text for sign in FINAL_REASONS)
        self.last = text[-DETAIL_CHARACTERS_MAX:]

    def __enter__(self) -> Self:
        logging.getLogger("kafka.net").addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("kafka.net").removeHandler(self)


def _client_options(kafka: KafkaSettings, client_id: str) -> Options:
    return Options(
        bootstrap_servers=list(kafka.bootstrap_servers),
        client_id=client_id,
        kafka_client=_network_client,
        request_timeout_ms=kafka.request_timeout_ms,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        reconnect_backoff_max_ms=RECONNECT_BACKOFF_MAX_MS,
        metadata_max_age_ms=METADATA_AGE_MAX_MS,
        bootstrap_timeout_ms=min(BOOTSTRAP_TIMEOUT_MS, int(kafka.connect_timeout_s * 1000)),
        api_version=kafka.api_version,
        security_protocol=kafka.security_protocol,
        **_tls_options(kafka),
        **_sasl_options(kafka),
    )


def _tls_options(kafka: KafkaSettings) -> dict[str, Any]:
    if kafka.security_protocol not in {"SSL", "SASL_SSL"}:
        return {}
    return {
        "ssl_check_hostname": kafka.ssl_check_hostname,
        "ssl_cafile": kafka.ssl_cafile or None,
        "ssl_certfile": kafka.ssl_certfile or None,
        "ssl_keyfile": kafka.ssl_keyfile or None,
        "ssl_password": kafka.ssl_password.reveal() or None,
    }


def _sasl_options(kafka: KafkaSettings) -> dict[str, Any]:
    if not kafka.security_protocol.startswith("SASL_"):
        return {}
    if kafka.sasl_mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": "OAUTHBEARER", "sasl_oauth_token_provider": _token_provider(kafka.sasl_password)}
    return {
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": kafka.sasl_password.reveal(),
    }


def _token_provider(token: Secret) -> object:
    from kafka.net.sasl.oauth import AbstractTokenProvider

    class GivenToken(AbstractTokenProvider):
        """The token of the settings, read from its file anew for each login: such tokens live for an hour or less."""

        def token(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride] - as its documentation says
            return token.reread()

    return GivenToken()


def discard(producer: Any) -> None:
    """Stop a producer without finishing its transaction, within twice DISCARD_TIMEOUT_S."""
    try:
        producer.close(timeout=DISCARD_TIMEOUT_S)
    except KafkaTimeoutError:
        # close() flushes first, and if that takes too long it leaves the sending thread running.
        sender = producer._sender  # noqa: SLF001 - the library has no accessor for it
        sender.force_close()
        sender.join(DISCARD_TIMEOUT_S)
