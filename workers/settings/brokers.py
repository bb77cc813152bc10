"""Settings of the brokers and topics."""

from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.names import Topic
from workers.settings.secret import Secret
from workers.settings.types import (
    KIB,
    MIB,
    Bytes,
    KafkaName,
    Milliseconds,
    OffsetReset,
    SaslMechanism,
    Seconds,
    SecurityProtocol,
    Text,
    WireForm,
    about,
)


class KafkaSettings(Struct, frozen=True, kw_only=True):
    """The brokers, and how consumer and transactional producer talk to them."""

    bootstrap_servers: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[^\s:,/]+:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$")], ...],
        Meta(min_length=1, max_length=64, description="Brokers to start from, host:port."),
    ] = ("127.0.0.1:9092",)
    group_id: Annotated[KafkaName, about("Consumer group; the first part of every transactional id.")] = "sluicegate"
    cluster_name: Annotated[
        KafkaName, about("RayCluster or StatefulSet name: the second part of every transactional id.")
    ] = "local"
    security_protocol: Annotated[SecurityProtocol, about("How to talk to the brokers.")] = "PLAINTEXT"
    ssl_cafile: Annotated[Text, about("CA certificates (PEM); empty: the system's.")] = ""
    ssl_certfile: Annotated[Text, about("Client certificate (PEM) for mutual TLS.")] = ""
    ssl_keyfile: Annotated[Text, about("Key of the client certificate (PEM).")] = ""
    ssl_password: Annotated[Secret, about("Password of `ssl_keyfile`.")] = Secret()
    ssl_check_hostname: Annotated[bool, about("Refuse a broker whose certificate names another host.")] = True
    sasl_mechanism: Annotated[SaslMechanism, about("Used where `security_protocol` is SASL_*.")] = "SCRAM-SHA-512"
    sasl_username: Annotated[Text, about("User name; not used by OAUTHBEARER.")] = ""
    sasl_password: Annotated[Secret, about("Password; with OAUTHBEARER the token.")] = Secret()
    session_timeout_ms: Annotated[
        Milliseconds, about("Silence after which the group gives a worker's partitions away.")
    ] = 10_000
    heartbeat_interval_ms: Annotated[Milliseconds, about("At most a third of `session_timeout_ms`.")] = 2_000
    max_poll_interval_ms: Annotated[
        Milliseconds, about("A consumer that has not polled for this long leaves the group.")
    ] = 15_000
    request_timeout_ms: Annotated[
        Milliseconds, about("One request; plus `linger_ms` at most `delivery_timeout_ms`, as kafka-python demands.")
    ] = 5_000
    delivery_timeout_ms: Annotated[
        Milliseconds, about("A record that is not acknowledged by then fails its transaction.")
    ] = 8_000
    transaction_timeout_ms: Annotated[
        Milliseconds, about("The broker aborts an open transaction after this; above `delivery_timeout_ms`.")
    ] = 15_000
    producer_process: Annotated[
        bool,
        about("Whether a worker's producer has a process of its own: 33 MiB, and more events where one core is busy."),
    ] = False
    linger_ms: Annotated[int, Meta(ge=0, le=1000, description="How long the producer waits for a fuller batch.")] = 3
    batch_bytes: Annotated[Bytes, about("Producer batch per partition.")] = 128 * KIB
    partition_fetch_bytes: Annotated[Bytes, about("What one fetch returns per partition.")] = 256 * KIB
    fetch_bytes_max: Annotated[Bytes, about("What one fetch returns over all partitions.")] = 16 * MIB
    connect_timeout_s: Annotated[Seconds, about("How long a start waits for the brokers.")] = 60
    commit_timeout_s: Annotated[
        Seconds, about("A transaction whose end is unknown after this ends the process; a restart resolves it.")
    ] = 20
    auto_offset_reset: Annotated[OffsetReset, about("Where a group without a committed offset starts.")] = "earliest"
    api_version: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...] | None,
        about("Fixes the broker version instead of asking: for the mock broker only."),
    ] = None


class TopicSettings(Struct, frozen=True, kw_only=True):
    """Topic names, and what `topics create` gives them."""

    events: Annotated[KafkaName, about("Conversation events: the input.")] = Topic.EVENTS.value
    audited: Annotated[KafkaName, about("Audited responses: the output.")] = Topic.AUDITED.value
    audit: Annotated[KafkaName, about("Audit records.")] = Topic.AUDIT.value
    review: Annotated[KafkaName, about("Escalations for people.")] = Topic.REVIEW.value
    state: Annotated[KafkaName, about("Conversation state (compacted).")] = Topic.STATE.value
    canary: Annotated[KafkaName, about("Responses to canary events.")] = Topic.CANARY.value
    policy: Annotated[KafkaName, about("Policy bundles and overlays (compacted).")] = Topic.POLICY.value
    dead_letters: Annotated[KafkaName, about("Records that cannot be processed.")] = Topic.DEAD_LETTERS.value
    wire: Annotated[WireForm, about("How responses, audit records and review items are written.")] = "json"
    partitions: Annotated[int, Meta(ge=1, le=10_000, description="Partitions of a topic that is created.")] = 6
    replication_factor: Annotated[int, Meta(ge=1, le=15, description="Copies of each partition.")] = 1
    min_insync_replicas: Annotated[
        int, Meta(ge=1, le=15, description="Copies that must have a record; at most `replication_factor`.")
    ] = 1
    input_message_bytes_max: Annotated[
        Bytes, about("The brokers' `max.message.bytes` of the input topic; at least `limits.event_bytes_max`.")
    ] = 2 * MIB
