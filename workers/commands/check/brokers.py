"""The probe of the brokers: connection, login, topics and rights. Nothing is created or written."""

import logging
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import errors as library
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from workers.commands.check.listeners import broker_trouble, host_and_port, port_trouble, shown
from workers.commands.check.permissions import right_lines
from workers.commands.check.probe import Line, note, ok, unused, wrong
from workers.commands.console.terminal import printable
from workers.kafka.client import admin_options, require_extras
from workers.kafka.errors import DETAIL_CHARACTERS_MAX, KafkaRefused
from workers.kafka.topics import COMPRESSION, COMPRESSIONS, Existing, TopicSpec, compare, topic_table
from workers.settings import KafkaSettings, Settings

CONNECTIONS_SHARE = 0.4
"""The share of the time for opening ports one by one."""

_MAY_NOT_DESCRIBE = 29
"""The broker's error code for TOPIC_AUTHORIZATION_FAILED; it does not say whether the topic exists."""

_TELLING = (
    library.SaslAuthenticationFailedError,
    library.UnsupportedSaslMechanismError,
    library.IllegalSaslStateError,
    library.IncompatibleBrokerVersion,
    library.InvalidReceiveError,
    library.KafkaConnectionError,
)
"""The errors of a login, the most informative first: after a failed login the library often reports no more than a
closed connection."""


def probe_brokers(settings: Settings, timeout_s: float) -> Iterator[Line]:
    """Check ports, certificates, login, advertised addresses, topics and rights, each step if the one before works."""
    kafka = settings.kafka
    try:
        require_extras()
    except KafkaRefused as exc:
        yield wrong("brokers", exc.error, exc.detail)
    started_s = time.monotonic()
    addresses = [host_and_port(server) for server in kafka.bootstrap_servers]
    each_s = CONNECTIONS_SHARE * timeout_s / len(addresses)
    troubles = [found for host, port in addresses if (found := broker_trouble(kafka, host, port, each_s))]
    is_reached = len(troubles) < len(addresses)
    for trouble in troubles:
        # One that answers is enough to start; the others are needed when it is down.
        yield (note if is_reached else wrong)("brokers", trouble.found, trouble.mend)
    if not is_reached:
        return
    left_s = timeout_s - (time.monotonic() - started_s)
    with _reasons() as reasons:
        try:
            client: Any = KafkaAdminClient(**bounded_options(kafka, left_s))
        except library.KafkaError as exc:
            yield _no_login(kafka, [*reasons, exc])
            return
    try:
        yield from _inside(client, settings, left_s)
    except library.KafkaError as exc:
        yield wrong("brokers", f"a request failed: {_said(exc)}", "read the broker's log")
    finally:
        client.close()


def bounded_options(kafka: KafkaSettings, timeout_s: float) -> dict[str, Any]:
    """Return the options of a client that gives up the login, and each request, after half of `timeout_s`."""
    half_ms = max(1, int(timeout_s * 500))
    return admin_options(kafka) | {
        "bootstrap_timeout_ms": half_ms,
        "request_timeout_ms": min(half_ms, kafka.request_timeout_ms),
    }


@contextmanager
def _reasons() -> Generator[list[BaseException]]:
    """Collect the errors of a client's login: kafka-python only logs them, and then raises a time-out."""
    found: list[BaseException] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arguments = record.args if isinstance(record.args, tuple) else ()
            found.extend(argument for argument in arguments if isinstance(argument, BaseException))

    logger, collect = logging.getLogger("kafka.net"), Collect(logging.WARNING)
    logger.addHandler(collect)
    try:
        yield found
    finally:
        logger.removeHandler(collect)


def _no_login(kafka: KafkaSettings, errors: Sequence[BaseException]) -> Line:
    """Explain why no client can log in although ports are open and TLS works."""
    protocol = kafka.security_protocol
    ranked = [error for kind in _TELLING for error in errors if isinstance(error, kind)]
    error = ranked[0] if ranked else errors[-1]
    login = "kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password_file"
    match error:
        case library.SaslAuthenticationFailedError():
            return wrong("brokers", f"the login was refused: {_said(error)}", f"set {login} as the brokers have them")
        case library.UnsupportedSaslMechanismError() | library.IllegalSaslStateError():
            found = f"the listener does not accept {protocol} with {kafka.sasl_mechanism}: {_said(error)}"
            return wrong(
                "brokers", found, "set kafka.security_protocol and kafka.sasl_mechanism as the listener has them"
            )
        case library.IncompatibleBrokerVersion():
            return wrong("brokers", _said(error), "name brokers, not controllers, in kafka.bootstrap_servers")
        case library.KafkaConnectionError() if protocol.startswith("SASL_"):
            found = f"the connection was closed during the login ({_said(error)})"
            return wrong("brokers", found, f"usually a wrong password or mechanism: check {login}")
        case library.KafkaConnectionError() | library.InvalidReceiveError():
            # A TLS listener answers a client without TLS, if at all, with something that is not Kafka's protocol.
            found = f"the port opens, but the connection is then closed ({_said(error)})"
            mend = (
                f"kafka.security_protocol is {protocol}: does this listener want TLS, a client certificate or a login?"
            )
            return wrong("brokers", found, mend)
        case _:
            mend = "is it a Kafka broker, and is it alive? Check kafka.bootstrap_servers and the broker's log"
            return wrong("brokers", f"the port opens, but nothing answers as a broker ({_said(error)})", mend)


def _inside(client: Any, settings: Settings, timeout_s: float) -> Iterator[Line]:
    kafka = settings.kafka
    brokers: list[dict[str, Any]] = client.describe_cluster()["brokers"]
    troubles = [
        trouble
        for broker in brokers
        if (trouble := port_trouble(broker["host"], broker["port"], timeout_s * CONNECTIONS_SHARE / len(brokers), ""))
    ]
    for trouble in troubles:
        mend = "set the brokers' advertised.listeners to addresses that clients can reach"
        yield wrong("brokers", f"a broker advertises {trouble.found}", mend)
    if not troubles:
        names = ", ".join(shown(broker["host"], broker["port"]) for broker in brokers)
        yield ok("brokers", f"{names}; {kafka.security_protocol}")
    if kafka.api_version is not None:
        yield unused("topics", "kafka.api_version is set, as for the mock broker, which creates its topics itself")
        return
    is_streaming = settings.streaming.enabled
    table = [
        spec for spec in topic_table(settings.topics, is_streaming=is_streaming) if spec.name not in _unused(settings)
    ]
    described = {topic["name"]: topic for topic in client.describe_topics([spec.name for spec in table])}
    yield from _topic_lines(client, table, described)
    yield from right_lines(client, settings, table, described, timeout_s * CONNECTIONS_SHARE)


def _unused(settings: Settings) -> set[str]:
    """Return the topics that these settings leave out."""
    topics = settings.topics
    used = {
        topics.usage: settings.tenants.enabled,
        topics.stream: settings.streaming.enabled,
        topics.cancel: settings.limits.cancellations_max > 0,
    }
    return {name for name, is_used in used.items() if not is_used}


def _topic_lines(client: Any, table: Sequence[TopicSpec], described: Mapping[str, Any]) -> Iterator[Line]:
    there = [spec for spec in table if described[spec.name]["partitions"]]
    hidden = [spec.name for spec in table if described[spec.name]["error_code"] == _MAY_NOT_DESCRIBE]
    missing = [spec.name for spec in table if spec not in there and spec.name not in hidden]
    if missing:
        mend = "run `sluicegate topics create`, or set topics.* to the names they have"
        yield wrong("topics", f"missing: {', '.join(missing)}", mend)
    if hidden:
        yield wrong("topics", f"may not be described: {', '.join(hidden)}", "grant DESCRIBE on these topics")
    existing = _existing(client, there, described)
    unread = [name for name, topic in existing.items() if not topic.configs]
    if unread:
        mend = "grant DESCRIBE_CONFIGS on these topics, so that it can be compared"
        yield note("topics", f"configuration may not be read: {', '.join(unread)}", mend)
    differences = compare(table, {name: topic for name, topic in existing.items() if topic.configs})
    for difference in differences:
        mend = f"`sluicegate topics create --alter` sets configurations; partitions stay ({difference.setting})"
        if difference.setting == COMPRESSION:
            mend = f"set the topic's {COMPRESSION} to {difference.expected}"
        line = wrong if difference.is_serious else note
        yield line("topics", str(difference), mend)
    if not (missing or hidden or unread or differences):
        yield ok("topics", f"all {len(table)} exist and are as the settings say{_compressed(existing)}")


def _compressed(existing: Mapping[str, Existing]) -> str:
    """Return which topics the brokers compress anew, and how; producers choose the codec of all others."""
    codecs = {name: topic.configs.get(COMPRESSION, COMPRESSIONS[0]) for name, topic in existing.items()}
    own = [f"{name} {codec}" for name, codec in codecs.items() if codec not in {"producer", "uncompressed"}]
    return f"; compressed by the brokers: {', '.join(own)}" if own else ""


def _existing(client: Any, there: Sequence[TopicSpec], described: Mapping[str, Any]) -> dict[str, Existing]:
    """Return the topics as they are; `configs` is empty if they may not be read."""
    if not there:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, spec.name) for spec in there]
    configs: dict[str, Any] = client.describe_configs(resources, config_filter="all")["topic"]
    return {
        spec.name: Existing(
            partitions=len(described[spec.name]["partitions"]),
            replication_factor=len(described[spec.name]["partitions"][0]["replica_nodes"]),
            configs={key: entry["value"] for key, entry in configs.get(spec.name, {}).items()},
        )
        for spec in there
    }


def _said(error: BaseException) -> str:
    return printable(str(error), DETAIL_CHARACTERS_MAX) or type(error).__name__
