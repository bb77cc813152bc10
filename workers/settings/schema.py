"""Every setting: its name, type, bounds, default and meaning. `settings.py` loads them, `docs/settings.md` lists them.

Units stand last in the name: `_s` seconds, `_ms` milliseconds, `_bytes`, `_max`. An empty string means "not set".
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from topology.contract.names import SERVICE, Topic
from topology.policy.bundle import PolicyId, Version
from workers.settings.secret import Secret

KIB = 1024
MIB = 1024 * KIB

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=3_600_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
Bytes = Annotated[int, Meta(ge=1 * KIB, le=1024 * MIB)]
Text = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
KafkaName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$")]
"""At most 249 characters to Kafka; the rest is left for the slot in a transactional id."""
PublicKey = Annotated[str, Meta(pattern=r"^[A-Za-z0-9+/]{43}=$")]
"""An Ed25519 public key: 32 bytes in base64."""
Url = Annotated[str, Meta(pattern=r"^(https?://[^\s/@]+(/[^\s@]*)?)?$")]
"""`http://` or `https://`, without user and password: those are secrets with a setting of their own."""

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
OffsetReset = Literal["earliest", "latest"]
CandidateBlocked = Literal["regenerate", "template"]
AgeDefault = Literal["", "adult", "teen"]
PolicySource = Literal["file", "topic"]
LabelerKind = Literal["embedded", "llm"]
JudgePrompts = Literal["combined", "groups"]
Placement = Literal["inline", "actor"]
WireForm = Literal["json", "msgpack"]
FailureMode = Literal["closed"]
OtlpProtocol = Literal["http", "grpc"]
Preset = Literal["full", "ratio"]
ConsumeRelationship = Literal["parent", "link"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]


def _about(text: str) -> Meta:
    return Meta(description=text)


class KafkaSettings(Struct, frozen=True, kw_only=True):
    """The brokers, and how consumer and transactional producer talk to them."""

    bootstrap_servers: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[^\s:,/]+:\d{1,5}$|^\[[0-9a-fA-F:.]+\]:\d{1,5}$")], ...],
        Meta(min_length=1, max_length=64, description="Brokers to start from, host:port."),
    ] = ("127.0.0.1:9092",)
    group_id: Annotated[KafkaName, _about("Consumer group; the first part of every transactional id.")] = "sluicegate"
    cluster_name: Annotated[
        KafkaName, _about("RayCluster or StatefulSet name: the second part of every transactional id.")
    ] = "local"
    security_protocol: Annotated[SecurityProtocol, _about("How to talk to the brokers.")] = "PLAINTEXT"
    ssl_cafile: Annotated[Text, _about("CA certificates (PEM); empty: the system's.")] = ""
    ssl_certfile: Annotated[Text, _about("Client certificate (PEM) for mutual TLS.")] = ""
    ssl_keyfile: Annotated[Text, _about("Key of the client certificate (PEM).")] = ""
    ssl_password: Annotated[Secret, _about("Password of `ssl_keyfile`.")] = Secret()
    ssl_check_hostname: Annotated[bool, _about("Refuse a broker whose certificate names another host.")] = True
    sasl_mechanism: Annotated[SaslMechanism, _about("Used where `security_protocol` is SASL_*.")] = "SCRAM-SHA-512"
    sasl_username: Annotated[Text, _about("User name; not used by OAUTHBEARER.")] = ""
    sasl_password: Annotated[Secret, _about("Password; with OAUTHBEARER the token.")] = Secret()
    session_timeout_ms: Annotated[
        Milliseconds, _about("Silence after which the group gives a worker's partitions away.")
    ] = 10_000
    heartbeat_interval_ms: Annotated[Milliseconds, _about("At most a third of `session_timeout_ms`.")] = 2_000
    max_poll_interval_ms: Annotated[
        Milliseconds, _about("A consumer that has not polled for this long leaves the group.")
    ] = 15_000
    request_timeout_ms: Annotated[
        Milliseconds, _about("One request; plus `linger_ms` at most `delivery_timeout_ms`, as kafka-python demands.")
    ] = 5_000
    delivery_timeout_ms: Annotated[
        Milliseconds, _about("A record that is not acknowledged by then fails its transaction.")
    ] = 8_000
    transaction_timeout_ms: Annotated[
        Milliseconds, _about("The broker aborts an open transaction after this; above `delivery_timeout_ms`.")
    ] = 15_000
    producer_process: Annotated[
        bool,
        _about("Whether a worker's producer has a process of its own: 33 MiB, and more events where one core is busy."),
    ] = False
    linger_ms: Annotated[int, Meta(ge=0, le=1000, description="How long the producer waits for a fuller batch.")] = 3
    batch_bytes: Annotated[Bytes, _about("Producer batch per partition.")] = 128 * KIB
    partition_fetch_bytes: Annotated[Bytes, _about("What one fetch returns per partition.")] = 256 * KIB
    fetch_bytes_max: Annotated[Bytes, _about("What one fetch returns over all partitions.")] = 16 * MIB
    connect_timeout_s: Annotated[Seconds, _about("How long a start waits for the brokers.")] = 60
    commit_timeout_s: Annotated[
        Seconds, _about("A transaction whose end is unknown after this ends the process; a restart resolves it.")
    ] = 20
    auto_offset_reset: Annotated[OffsetReset, _about("Where a group without a committed offset starts.")] = "earliest"
    api_version: Annotated[
        tuple[Annotated[int, Meta(ge=0)], ...] | None,
        _about("Fixes the broker version instead of asking: for the mock broker only."),
    ] = None


class TopicSettings(Struct, frozen=True, kw_only=True):
    """Topic names, and what `topics create` gives them."""

    events: Annotated[KafkaName, _about("Conversation events: the input.")] = Topic.EVENTS.value
    audited: Annotated[KafkaName, _about("Audited responses: the output.")] = Topic.AUDITED.value
    audit: Annotated[KafkaName, _about("Audit records.")] = Topic.AUDIT.value
    review: Annotated[KafkaName, _about("Escalations for people.")] = Topic.REVIEW.value
    state: Annotated[KafkaName, _about("Conversation state (compacted).")] = Topic.STATE.value
    canary: Annotated[KafkaName, _about("Responses to canary events.")] = Topic.CANARY.value
    policy: Annotated[KafkaName, _about("Policy bundles and overlays (compacted).")] = Topic.POLICY.value
    dead_letters: Annotated[KafkaName, _about("Records that cannot be processed.")] = Topic.DEAD_LETTERS.value
    wire: Annotated[WireForm, _about("How responses, audit records and review items are written.")] = "json"
    partitions: Annotated[int, Meta(ge=1, le=10_000, description="Partitions of a topic that is created.")] = 6
    replication_factor: Annotated[int, Meta(ge=1, le=15, description="Copies of each partition.")] = 1
    min_insync_replicas: Annotated[
        int, Meta(ge=1, le=15, description="Copies that must have a record; at most `replication_factor`.")
    ] = 1
    input_message_bytes_max: Annotated[
        Bytes, _about("The brokers' `max.message.bytes` of the input topic; at least `limits.event_bytes_max`.")
    ] = 2 * MIB


class LimitSettings(Struct, frozen=True, kw_only=True):
    """Bounds on one event, on what is held in memory, and on how long a check may take."""

    event_bytes_max: Annotated[Bytes, _about("A longer record is dead-lettered.")] = 1 * MIB
    dead_letter_bytes_max: Annotated[Bytes, _about("Original bytes kept in a dead letter; the rest is cut.")] = 64 * KIB
    in_flight_max: Annotated[int, Meta(ge=1, le=10_000, description="Events of one worker processed at once.")] = 64
    queue_events_max: Annotated[Count, _about("Events a worker holds before it pauses its partitions.")] = 2_000
    queue_bytes_max: Annotated[Bytes, _about("Bytes a worker holds before it pauses its partitions.")] = 64 * MIB
    batch_events_max: Annotated[int, Meta(ge=1, le=10_000, description="Events per transaction.")] = 200
    commit_interval_ms: Annotated[
        Milliseconds, _about("Time between transactions, each of which costs about 10 ms whatever it holds.")
    ] = 100
    window_events_max: Annotated[
        int, Meta(ge=1, le=1024, description="Events of one partition between poll and commit.")
    ] = 1024
    offset_map_chars_max: Annotated[
        int, Meta(ge=64, le=4096, description="The brokers' `offset.metadata.max.bytes`, where it is below 4096.")
    ] = 4096
    revoke_timeout_s: Annotated[
        Seconds, _about("How long a rebalance waits for what has finished; at most half of `session_timeout_ms`.")
    ] = 3
    deadline_default_s: Annotated[
        float,
        Meta(gt=0, le=86_400, description="An event without its own deadline is answered `withheld` after this."),
    ] = 300
    crashes_max: Annotated[
        int, Meta(ge=1, le=100, description="An event that ran in so many crashes of its worker is a dead letter.")
    ] = 3
    crash_journal_directory: Annotated[
        Text, _about("Workers note here, in a directory of their own, what runs; empty: where temporary files go.")
    ] = ""
    nesting_depth_max: Annotated[int, Meta(ge=4, le=512, description="Depth of nesting in an event's JSON.")] = 64
    checks_timeout_s: Annotated[Seconds, _about("All checks of one draft; a later one counts as failed.")] = 10
    assess_timeout_s: Annotated[Seconds, _about("Labelling one request; a later label counts as failed.")] = 10


class PolicySettings(Struct, frozen=True, kw_only=True):
    """Which policy holds, and what the worker may choose under it."""

    source: Annotated[PolicySource, _about("Where the policy comes from; never from both.")] = "file"
    bundle: Annotated[Text, _about("With `file`: policy bundle (YAML file); empty: the packaged one.")] = ""
    overlays: Annotated[Text, _about("With `file`: directory of tenant overlays; empty: none.")] = ""
    shadows: Annotated[Text, _about("With `file`: directory of bundles judged beside the live one; empty: none.")] = ""
    id: Annotated[PolicyId, _about("With `topic`: which policy's bundles hold here.")] = "safe-completion-core"
    keys: Annotated[
        dict[Name, PublicKey],
        Meta(max_length=64, description="With `topic`: key id to Ed25519 public key (base64) that may sign policies."),
    ] = {}
    version_min: Annotated[Version, _about("With `topic`: no bundle below it is loaded, rolled back or not.")] = "0.0.0"
    reload_interval_s: Annotated[Seconds, _about("Time between two looks for another policy.")] = 5
    start_timeout_s: Annotated[Seconds, _about("With `topic`: how long a start waits for a bundle that holds.")] = 30
    revisions_max: Annotated[int, Meta(ge=0, le=5, description="Further drafts after the first one failed.")] = 2
    candidate_blocked: Annotated[
        CandidateBlocked, _about("What follows when an answer made upstream does not pass.")
    ] = "template"
    age_default: Annotated[AgeDefault, _about("Age band where the event names none; empty: the bundle's.")] = ""


class GenerationSettings(Struct, frozen=True, kw_only=True):
    """The OpenAI-compatible endpoint that answers."""

    base_url: Annotated[Url, _about("The endpoint, with `/v1`.")] = "http://127.0.0.1:8000/v1"
    model: Annotated[Name, _about("Model name as the endpoint serves it.")] = "sluicegate-tiny"
    api_key: Annotated[Secret, _about("Bearer token; empty: none is sent.")] = Secret()
    max_tokens: Annotated[int, Meta(ge=1, le=131_072, description="Longest answer, and a cap on an event's own.")] = 512
    temperature: Annotated[float, Meta(ge=0, le=2, description="Used where the event names none.")] = 0.7
    request_timeout_s: Annotated[Seconds, _about("One request, streaming included.")] = 60
    connect_timeout_s: Annotated[Seconds, _about("Opening a connection.")] = 5
    concurrency_max: Annotated[int, Meta(ge=1, le=10_000, description="Requests of one worker at once.")] = 64
    retries_max: Annotated[int, Meta(ge=0, le=20, description="Further tries inside one client call.")] = 3
    attempts_max: Annotated[
        int,
        Meta(ge=1, le=100_000, description="Such calls for one draft; as a rule the event's deadline comes first."),
    ] = 200
    backoff_initial_s: Annotated[Seconds, _about("Wait before the first further try.")] = 0.2
    backoff_max_s: Annotated[Seconds, _about("Longest wait between tries.")] = 5
    breaker_failures: Annotated[int, Meta(ge=1, le=1000, description="Failures in a row that open the breaker.")] = 5
    breaker_open_s: Annotated[Seconds, _about("How long an open breaker refuses before it lets one through.")] = 5
    response_bytes_max: Annotated[Bytes, _about("A longer response is cut off and counts as unparsable.")] = 4 * MIB
    forward_seed: Annotated[
        bool, _about("Send an event's seed on. Off: a seed ends the CPU build of vLLM 0.32, whoever sent it.")
    ] = False


class GuardSettings(Struct, frozen=True, kw_only=True):
    """Who labels requests, and the guard LLM."""

    labeler: Annotated[LabelerKind, _about("The packaged model, or the guard LLM.")] = "embedded"
    judge_base_url: Annotated[Url, _about("Endpoint of the guard LLM; needed by `labeler = llm`.")] = ""
    judge_model: Annotated[Text, _about("Its model name.")] = ""
    judge_api_key: Annotated[Secret, _about("Its bearer token; empty: none is sent.")] = Secret()
    judge_timeout_s: Annotated[Seconds, _about("One call.")] = 20
    judge_concurrency_max: Annotated[int, Meta(ge=1, le=10_000, description="Calls of one worker at once.")] = 16
    judge_prompts: Annotated[
        JudgePrompts, _about("One question over all categories, or a further one for each group that matters.")
    ] = "combined"
    judge_groups_max: Annotated[
        int, Meta(ge=1, le=16, description="Groups asked about for one text, the gravest first; with `groups`.")
    ] = 3


class StageSettings(Struct, frozen=True, kw_only=True):
    """How one stage runs, and how its micro-batches are cut."""

    placement: Annotated[Placement, _about("In the stream worker, or in a pool of actors.")] = "inline"
    replicas: Annotated[int, Meta(ge=1, le=1000, description="Actors of the pool.")] = 1
    batch_events_max: Annotated[int, Meta(ge=1, le=1000, description="Events per micro-batch.")] = 48
    batch_bytes_max: Annotated[Bytes, _about("Bytes per micro-batch; a single longer event goes alone.")] = 96 * KIB
    linger_ms: Annotated[int, Meta(ge=0, le=1000, description="How long a micro-batch waits for more.")] = 5
    in_flight_max: Annotated[int, Meta(ge=1, le=100, description="Micro-batches under way per actor.")] = 2
    timeout_s: Annotated[Seconds, _about("One micro-batch; at most `limits.checks_timeout_s`.")] = 5
    failure_mode: Annotated[FailureMode, _about("A guard that cannot tell withholds; nothing else is offered.")] = (
        "closed"
    )


class StagesSettings(Struct, frozen=True, kw_only=True):
    """The three stages that look at a draft side by side."""

    classification: StageSettings = StageSettings()
    bias: StageSettings = StageSettings()
    logging: StageSettings = StageSettings()


class StateSettings(Struct, frozen=True, kw_only=True):
    """What is remembered of conversations, and for how long."""

    enabled: Annotated[bool, _about("Off: every turn is planned by itself, and second copies are answered.")] = True
    ttl_s: Annotated[
        int, Meta(ge=1, le=30 * 86_400, description="Nothing is remembered that long after a conversation's last turn.")
    ] = 86_400
    caution_turns: Annotated[
        int, Meta(ge=1, le=1000, description="Turns for which an intent or a wrapper that was seen counts.")
    ] = 10
    crisis_turns: Annotated[
        int, Meta(ge=1, le=1000, description="Turns for which somebody who was at risk keeps that mode.")
    ] = 2
    answers_at_ceiling_max: Annotated[
        int, Meta(ge=1, le=1000, description="Serious answers at a category's ceiling that lower it by one.")
    ] = 2
    events_max: Annotated[
        int, Meta(ge=1, le=1000, description="Events of a conversation whose second copies are known.")
    ] = 32
    conversation_bytes_max: Annotated[
        int, Meta(ge=8 * KIB, le=MIB, description="One encoded state; its oldest parts go beyond that.")
    ] = 8 * KIB
    conversations_max: Annotated[
        Count, _about("Conversations held of one partition; beyond that the oldest are forgotten.")
    ] = 100_000
    partition_bytes_max: Annotated[Bytes, _about("Encoded states held of one partition; as above.")] = 64 * MIB
    restore_timeout_s: Annotated[
        Seconds, _about("Reading a partition's states; it is not delivered before, and a failed try is repeated.")
    ] = 60


class GrantSettings(Struct, frozen=True, kw_only=True):
    """Whose grants hold."""

    keys: Annotated[
        dict[Name, PublicKey],
        Meta(max_length=64, description="Key id to Ed25519 public key (base64, 32 bytes)."),
    ] = {}


class CanarySettings(Struct, frozen=True, kw_only=True):
    """Probes that prove on the live path that the gate holds."""

    keys: Annotated[
        dict[Name, PublicKey],
        Meta(
            max_length=64,
            description="Key id to Ed25519 public key (base64) that may sign canaries; none: no canaries.",
        ),
    ] = {}
    age_max_s: Annotated[Seconds, _about("A mark of another time, by the worker's clock, is refused.")] = 600


class RedactionSettings(Struct, frozen=True, kw_only=True):
    """How user text is made fit for the audit record."""

    digest_key: Annotated[
        Secret, _about("Key of the digests; empty: random for each process, so digests cannot be compared.")
    ] = Secret()
    digest_key_id: Annotated[KafkaName, _about("Name of that key in every digest.")] = "local"
    default_region: Annotated[
        str, Meta(pattern="^[A-Z]{2}$", description="Country (ISO 3166) for phone numbers without one.")
    ] = "US"


class TelemetrySettings(Struct, frozen=True, kw_only=True):
    """Traces, metrics and logs."""

    enabled: Annotated[bool, _about("Off: no spans and no metrics at all.")] = True
    endpoint: Annotated[Url, _about("OTLP endpoint without `/v1/traces`; empty: nothing is exported.")] = ""
    protocol: Annotated[OtlpProtocol, _about("OTLP over HTTP (protobuf) or gRPC.")] = "http"
    headers: Annotated[Secret, _about("Headers for the endpoint: `name=value,name=value`.")] = Secret()
    preset: Annotated[
        Preset, _about("`full`: every event, for a collector that samples; `ratio`: a share, and what was flagged.")
    ] = "ratio"
    ratio: Annotated[float, Meta(ge=0, le=1, description="Share of events traced under `ratio`.")] = 0.05
    consume_relationship: Annotated[
        ConsumeRelationship, _about("Make the chat service's span our parent, or only link to it.")
    ] = "parent"
    push_metrics: Annotated[
        bool, _about("Push metrics to the endpoint too; off for backends of traces alone, which refuse them.")
    ] = True
    export_interval_s: Annotated[Seconds, _about("How often metrics are pushed.")] = 10
    queue_max: Annotated[int, Meta(ge=1, le=1_000_000, description="Spans held for export; more are dropped.")] = 4096
    export_timeout_s: Annotated[Seconds, _about("One export.")] = 5
    service_name: Annotated[Name, _about("`service.name`.")] = SERVICE
    environment: Annotated[Text, _about("`deployment.environment.name`; empty: not sent.")] = ""
    capture_content: Annotated[
        bool, _about("Put conversation text on spans, redacted. Off unless you may store user text there.")
    ] = False
    openinference: Annotated[
        bool, _about("Add `openinference.span.kind`, for backends such as Phoenix that group spans by it.")
    ] = False
    log_level: Annotated[LogLevel, _about("Least severe level that is logged.")] = "INFO"


class RaySettings(Struct, frozen=True, kw_only=True):
    """The Ray cluster, and how the supervisor watches its actors."""

    address: Annotated[Text, _about("Cluster to join; empty: start a local one.")] = ""
    slots: Annotated[int, Meta(ge=1, le=1000, description="Stream workers.")] = 1
    slot_start: Annotated[int, Meta(ge=0, le=1_000_000, description="Slot of the first stream worker.")] = 0
    restarts_max: Annotated[int, Meta(ge=-1, le=1_000_000, description="Restarts per actor; -1: no limit.")] = -1
    health_interval_s: Annotated[Seconds, _about("How often each actor is asked.")] = 2
    health_timeout_s: Annotated[Seconds, _about("How long it may take to answer.")] = 5
    unhealthy_after: Annotated[int, Meta(ge=1, le=100, description="Failures in a row that replace an actor.")] = 3
    restart_backoff_max_s: Annotated[Seconds, _about("Longest wait between restarts of one actor.")] = 10
    start_timeout_s: Annotated[Seconds, _about("How long an actor may take to become ready.")] = 120
    logical_cpus: Annotated[
        int, Meta(ge=0, le=4096, description="CPUs that a local cluster claims to have; 0: by number of actors.")
    ] = 0


class DrainSettings(Struct, frozen=True, kw_only=True):
    """How a worker stops."""

    timeout_s: Annotated[Seconds, _about("How long events under way may take; the rest is left uncommitted.")] = 30


class AgentSettings(Struct, frozen=True, kw_only=True):
    """The port of a node: probes, metrics, status, drain."""

    host: Annotated[Name, _about("Address to listen on; in a pod `0.0.0.0`.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port to listen on; 0: no agent.")] = 9464
    token: Annotated[Secret, _about("What `POST /drain` must present; empty: it is refused.")] = Secret()
    beat_max_s: Annotated[Seconds, _about("Liveness fails where nobody has looked at the actors for so long.")] = 30
    scrape_timeout_s: Annotated[Seconds, _about("How long the actors' metrics may take; what is late is left out.")] = 5


class Settings(Struct, frozen=True, kw_only=True):
    """All settings; `Settings()` is a valid set."""

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    limits: LimitSettings = LimitSettings()
    policy: PolicySettings = PolicySettings()
    generation: GenerationSettings = GenerationSettings()
    guard: GuardSettings = GuardSettings()
    stages: StagesSettings = StagesSettings()
    grants: GrantSettings = GrantSettings()
    canary: CanarySettings = CanarySettings()
    redaction: RedactionSettings = RedactionSettings()
    state: StateSettings = StateSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    ray: RaySettings = RaySettings()
    drain: DrainSettings = DrainSettings()
    agent: AgentSettings = AgentSettings()
