"""Options of every client, the wait for brokers, and the sorting of the library's errors."""

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka import errors as library
from kafka.admin import KafkaAdminClient

from workers.kafka.client import (
    EXTRAS,
    admin_options,
    connect,
    consumer_options,
    producer_options,
    require_extras,
    slot_name,
)
from workers.kafka.errors import (
    TABLE,
    Fault,
    GroupUnsettled,
    KafkaRefused,
    KafkaUnavailable,
    OutcomeUnknown,
    RecordTooLarge,
    SlotFenced,
    fault_of,
)
from workers.settings import KafkaSettings, Secret
from workers.settings.secret import SecretSource, SourceKind

PASSWORD = "a-password-that-must-not-show"
SETTINGS = KafkaSettings(group_id="group", cluster_name="cluster")
BUILDERS: list[tuple[Any, Callable[[KafkaSettings], dict[str, Any]]]] = [
    (KafkaConsumer, lambda settings: consumer_options(settings, instance_id="slot")),
    (KafkaConsumer, consumer_options),
    (KafkaProducer, lambda settings: producer_options(settings, transactional_id="slot")),
    (KafkaProducer, producer_options),
    (KafkaAdminClient, admin_options),
]
IDS = ["member", "reader", "transactional", "idempotent", "admin"]


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def _errors() -> list[type[library.KafkaError]]:
    return [
        value
        for value in vars(library).values()
        if inspect.isclass(value) and issubclass(value, library.KafkaError) and value.__module__ == library.__name__
    ]


@pytest.mark.parametrize(("client", "build"), BUILDERS, ids=IDS)
def test_the_library_knows_every_option(client: Any, build: Callable[[KafkaSettings], dict[str, Any]]) -> None:
    assert build(SETTINGS).keys() <= client.DEFAULT_CONFIG.keys()


@pytest.mark.parametrize("build", [build for _, build in BUILDERS], ids=IDS)
def test_every_client_comes_back_quickly_from_a_broker_restart(
    build: Callable[[KafkaSettings], dict[str, Any]],
) -> None:
    """K11: the library's default is silence for up to 30 s."""
    options = build(SETTINGS)
    assert options["reconnect_backoff_max_ms"] == 500
    assert options["retry_backoff_ms"] <= 50


def test_the_members_consumer_is_set_as_delivery_needs_it() -> None:
    options = consumer_options(SETTINGS, instance_id=slot_name(SETTINGS, 3))
    assert options["group_instance_id"] == "group.cluster.3"
    assert options["enable_auto_commit"] is False
    assert options["isolation_level"] == "read_committed"
    assert options["max_poll_records"] >= 10**9, "a smaller number stalls paused partitions (K6)"
    (assignor,) = options["partition_assignment_strategy"]
    assert type(assignor).__name__ == "StickyPartitionAssignor", "a cooperative one has two owners at once (K10)"


def test_the_transactional_producer_gives_up_before_its_transaction_does() -> None:
    options = producer_options(SETTINGS, transactional_id=slot_name(SETTINGS, 3))
    assert options["transactional_id"] == "group.cluster.3"
    assert options["acks"] == "all"
    assert options["delivery_timeout_ms"] < options["transaction_timeout_ms"]


@pytest.mark.parametrize("build", [build for _, build in BUILDERS], ids=IDS)
def test_no_client_creates_topics_by_itself(build: Callable[[KafkaSettings], dict[str, Any]]) -> None:
    assert not build(SETTINGS).get("allow_auto_create_topics", False)


@pytest.mark.parametrize("build", [build for _, build in BUILDERS], ids=IDS)
def test_tls_and_sasl_reach_every_client_and_do_not_show(build: Callable[[KafkaSettings], dict[str, Any]]) -> None:
    options = build(
        KafkaSettings(
            security_protocol="SASL_SSL",
            ssl_cafile="ca.pem",
            ssl_certfile="client.pem",
            ssl_keyfile="key.pem",
            ssl_password=Secret(PASSWORD),
            ssl_check_hostname=False,
            sasl_mechanism="SCRAM-SHA-512",
            sasl_username="alice",
            sasl_password=Secret(PASSWORD),
        )
    )
    expected = {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": "ca.pem",
        "ssl_certfile": "client.pem",
        "ssl_keyfile": "key.pem",
        "ssl_password": PASSWORD,
        "ssl_check_hostname": False,
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "alice",
        "sasl_plain_password": PASSWORD,
    }
    assert options.items() >= expected.items()
    assert PASSWORD not in f"{options} {options!r}"


def test_plain_text_has_no_security_options() -> None:
    assert not [name for name in admin_options(SETTINGS) if name.startswith(("ssl_", "sasl_"))]


def test_with_oauthbearer_the_password_is_the_token() -> None:
    options = admin_options(
        KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_password=Secret(PASSWORD))
    )
    assert options["sasl_oauth_token_provider"].token() == PASSWORD
    assert "sasl_plain_password" not in options
    assert PASSWORD not in repr(options)


def test_the_file_of_a_token_is_read_for_each_login(tmp_path: Path) -> None:
    """Tokens live for an hour or less; between two of them the last one is sent, and the broker decides."""
    file = tmp_path / "token"
    file.write_text("first\n", encoding="utf-8")
    secret = Secret("first", SecretSource(SourceKind.FILE, str(file)))
    options = admin_options(
        KafkaSettings(security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_password=secret)
    )
    provider = options["sasl_oauth_token_provider"]
    assert provider.token() == "first"
    file.write_text("second\n", encoding="utf-8")
    assert provider.token() == "second"
    file.unlink()
    assert provider.token() == "second"


@pytest.mark.parametrize("missing", EXTRAS)
def test_without_fast_checksums_or_a_codec_nothing_starts(missing: str) -> None:
    def find(module: str) -> str | None:
        return None if module == EXTRAS[missing] else module

    with pytest.raises(KafkaRefused, match=f"{missing} missing: install kafka-python"):
        require_extras(find)


def test_brokers_that_come_up_late_are_waited_for() -> None:
    time, failures = Time(), [library.KafkaTimeoutError("not there"), library.NodeNotReadyError("not yet")]

    def build() -> str:
        if failures:
            raise failures.pop()
        return "client"

    assert connect("consumer", build, 10, monotonic_s=time.monotonic_s, sleep=time.sleep) == "client"
    assert 0 < time.now_s < 10


def test_the_wait_for_brokers_ends() -> None:
    time = Time()

    def build() -> str:
        raise library.KafkaTimeoutError("not there")

    with pytest.raises(KafkaUnavailable, match="KafkaTimeoutError"):
        connect("consumer", build, 10, monotonic_s=time.monotonic_s, sleep=time.sleep)
    assert time.now_s <= 10


def test_wrong_credentials_are_not_tried_again() -> None:
    time = Time()

    def build() -> str:
        raise library.SaslAuthenticationFailedError("invalid credentials")

    with pytest.raises(KafkaRefused, match="SaslAuthenticationFailedError"):
        connect("consumer", build, 10, monotonic_s=time.monotonic_s, sleep=time.sleep)
    assert time.now_s == 0


@pytest.mark.parametrize("kind", _errors(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_library_has_a_row(kind: type[library.KafkaError]) -> None:
    """Only the two roots may be sorted by the roots' own rows."""
    roots = {library.KafkaError, library.BrokerResponseError}
    row = next(parent for parent in kind.__mro__ if parent in TABLE)
    assert row not in roots or kind in roots


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (library.KafkaTimeoutError(), Fault.TRANSIENT),
        (library.NotLeaderForPartitionError(), Fault.TRANSIENT),
        (library.CommitFailedError(), Fault.STALE),
        (library.RebalanceInProgressError(), Fault.STALE),
        (library.ProducerFencedError(), Fault.FENCED),
        (library.FencedInstanceIdError(), Fault.FENCED),
        (library.TopicAuthorizationFailedError(), Fault.REFUSED),
        (library.MessageSizeTooLargeError(), Fault.REFUSED),
        (library.KafkaError("fatal, unexpected"), Fault.TRANSIENT),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_errors_are_sorted_by_what_to_do(error: library.KafkaError, fault: Fault) -> None:
    assert fault_of(error) is fault


@pytest.mark.parametrize(
    "error",
    [
        KafkaUnavailable("producer", "KafkaTimeoutError"),
        KafkaRefused("commit", "MessageSizeTooLargeError", "9 bytes"),
        SlotFenced("group.cluster.0", "ProducerFencedError"),
        RecordTooLarge("sluicegate.audit", 26_000, 3),
        GroupUnsettled("group.cluster.0", "rebalancing", 120.0),
        OutcomeUnknown("commit", "no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes_whole(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, vars(copy), str(copy)) == (type(error), error.args, vars(error), str(error))
