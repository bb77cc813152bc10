"""The settings of brokers and topics."""

from typing import Annotated

from msgspec import Meta, Struct

from topology.contract.names import Topic
from workers.settings.secret import Secret
from workers.settings.types import (
    KIB,
    MIB,
    Bytes,
    Count,
    HostPort,
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
    """The brokers, and how the consumer and the transactional producer talk to them."""

    bootstrap_servers: Annotated[
        tuple[HostPort, ...],
        Meta(min_length=1, max_length=64, description="Brokers to start from, host:port."),
    ] = ("127.0.0.1:9092",)
    group_id: Annotated[KafkaName, about("Consumer group; the first part of every transactional id.")] = "sluicegate"
    cluster_name: Annotated[
        KafkaName, about("Name of the RayCluster or StatefulSet; the second part of every transactional id.")
    ] = "local"
    security_protocol: Annotated[SecurityProtocol, about("Protocol of the connections to the brokers.")] = "PLAINTEXT"
    ssl_cafile: Annotated[Text, about("File of CA certificates (PEM); empty: the system's.")] = ""
    ssl_certfile: Annotated[Text, about("File of the client certificate (PEM), for mutual TLS.")] = ""
    ssl_keyfile: Annotated[Text, about("File of the client certificate's key (PEM).")] = ""
    ssl_password: Annotated[Secret, about("Password of `ssl_keyfile`.")] = Secret()
    ssl_check_hostname: Annotated[bool, about("Refuse a broker whose certificate names another host.")] = True
    sasl_mechanism: Annotated[SaslMechanism, about("Mechanism, if `security_protocol` is SASL_*.")] = "SCRAM-SHA-512"
    sasl_username: Annotated[Text, about("User name; not used by OAUTHBEARER.")] = ""
    sasl_password: Annotated[
        Secret, about("Password; for OAUTHBEARER the token, whose file is read anew for each login.")
    ] = Secret()
    session_timeout_ms: Annotated[
        Milliseconds,
        about("Without a heartbeat for this long, a worker loses its partitions to the rest of the group."),
    ] = 10_000
    heartbeat_interval_ms: Annotated[
        Milliseconds, about("Time between heartbeats; less than a third of `session_timeout_ms`.")
    ] = 2_000
    max_poll_interval_ms: Annotated[
        Milliseconds, about("A consumer that does not poll for this long leaves the group.")
    ] = 15_000
    rejoin_timeout_s: Annotated[
        Seconds,
        about(
            "A worker that was in no settled group for this long ends and says so; more than twice "
            "`max_poll_interval_ms`, which a rebalance may take."
        ),
    ] = 120
    request_timeout_ms: Annotated[
        Milliseconds,
        about(
            "Timeout of one request. kafka-python requires that with `linger_ms` it is at most `delivery_timeout_ms`."
        ),
    ] = 5_000
    delivery_timeout_ms: Annotated[
        Milliseconds, about("A record that is not acknowledged within this time makes its transaction fail.")
    ] = 8_000
    transaction_timeout_ms: Annotated[
        Milliseconds, about("The broker aborts a transaction that is open for longer; more than `delivery_timeout_ms`.")
    ] = 15_000
    producer_process: Annotated[
        bool,
        about("Run a worker's producer in its own process: more events where a worker fills a core, for 33 MiB."),
    ] = True
    linger_ms: Annotated[
        int, Meta(ge=0, le=1000, description="Time that the producer waits for more records for a batch.")
    ] = 3
    batch_bytes: Annotated[Bytes, about("Largest batch of the producer for one partition.")] = 128 * KIB
    partition_fetch_bytes: Annotated[Bytes, about("Most that one fetch returns per partition.")] = 256 * KIB
    fetch_bytes_max: Annotated[Bytes, about("Most that one fetch returns over all partitions.")] = 16 * MIB
    batch_decompressed_bytes_max: Annotated[
        Bytes,
        about(
            "Most bytes of one batch once decompressed; a larger one ends as one dead letter. One poll reads as many."
        ),
    ] = 32 * MIB
    batch_records_max: Annotated[
        Count,
        about("Most records of one batch; one with more ends as one dead letter. One poll reads as many."),
    ] = 20_000
    connect_timeout_s: Annotated[Seconds, about("Time that a start waits for the brokers.")] = 60
    commit_timeout_s: Annotated[
        Seconds,
        about("If a commit's outcome is still unknown after this, the worker exits, and its restart asks the brokers."),
    ] = 20
    auto_offset_reset: Annotated[OffsetReset, about("Position at which a group without a committed offset starts.")] = (
        "earliest"
    )
    api_version: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...] | None,
        about("Broker version to assume instead of asking; only for the mock broker."),
    ] = None


class TopicSettings(Struct, frozen=True, kw_only=True):
    """Topic names, and the configuration that `topics create` gives the topics."""

    events: Annotated[KafkaName, about("Input: conversation events.")] = Topic.EVENTS.value
    audited: Annotated[KafkaName, about("Output: audited responses.")] = Topic.AUDITED.value
    audit: Annotated[KafkaName, about("Audit records.")] = Topic.AUDIT.value
    review: Annotated[KafkaName, about("Escalations for human review.")] = Topic.REVIEW.value
    state: Annotated[KafkaName, about("Conversation states (compacted).")] = Topic.STATE.value
    canary: Annotated[KafkaName, about("Responses to canary events.")] = Topic.CANARY.value
    usage: Annotated[KafkaName, about("Use by tenants (compacted).")] = Topic.USAGE.value
    stream: Annotated[KafkaName, about("Segments of answers that are not whole yet.")] = Topic.STREAM.value
    policy: Annotated[KafkaName, about("Policy bundles and overlays (compacted).")] = Topic.POLICY.value
    dead_letters: Annotated[KafkaName, about("Records that cannot be processed.")] = Topic.DEAD_LETTERS.value
    cancel: Annotated[KafkaName, about("Events that doors cancel; an hour's.")] = Topic.CANCEL.value
    wire: Annotated[WireForm, about("Encoding of responses, audit records and review items.")] = "json"
    rejected_answers: Annotated[
        bool, about("Answer `rejected` to a record that names its ids but is no valid event, besides its dead letter.")
    ] = True
    partitions: Annotated[int, Meta(ge=1, le=10_000, description="Partitions of a new topic.")] = 6
    replication_factor: Annotated[int, Meta(ge=1, le=15, description="Copies of each partition.")] = 1
    min_insync_replicas: Annotated[
        int,
        Meta(
            ge=1,
            le=15,
            description="Copies that must have a record before it is acknowledged; at most `replication_factor`.",
        ),
    ] = 1
    input_message_bytes_max: Annotated[
        Bytes, about("`max.message.bytes` of the input topic; at least `limits.event_bytes_max`.")
    ] = 2 * MIB
