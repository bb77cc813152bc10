"""The settings for processing an event: bounds, policy, stages, conversation state, signatures and redaction."""

from typing import Annotated

from msgspec import Meta, Struct

from topology.policy.bundle import PolicyId, Version
from workers.settings.secret import Secret
from workers.settings.types import (
    KIB,
    MIB,
    AgeDefault,
    Bytes,
    CandidateBlocked,
    Count,
    FailureMode,
    KafkaName,
    Milliseconds,
    Name,
    Placement,
    PolicySource,
    PublicKey,
    Seconds,
    Text,
    about,
)


class LimitSettings(Struct, frozen=True, kw_only=True):
    """Bounds on one event, on memory, and on the duration of checks."""

    event_bytes_max: Annotated[Bytes, about("Longest record; a longer one is dead-lettered.")] = 1 * MIB
    dead_letter_bytes_max: Annotated[Bytes, about("Original bytes kept in a dead letter; the rest is cut off.")] = (
        64 * KIB
    )
    in_flight_max: Annotated[int, Meta(ge=1, le=10_000, description="Events that one worker processes at once.")] = 64
    awaiting_answer_max: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="Events that wait for the model's answer, or for a free request, beside `in_flight_max`, so "
            "that they hold back none that need no model.",
        ),
    ] = 320
    queue_events_max: Annotated[Count, about("Events a worker holds at most before it pauses its partitions.")] = 2_000
    wait_slow_s: Annotated[
        Seconds,
        about(
            "Time that an event may wait in a worker for its turn; beyond it the worker holds fewer, at least twice "
            "`limits.in_flight_max`, and the rest waits in Kafka."
        ),
    ] = 10
    queue_bytes_max: Annotated[Bytes, about("Bytes a worker holds before it pauses its partitions.")] = 64 * MIB
    batch_events_max: Annotated[int, Meta(ge=1, le=10_000, description="Events per transaction.")] = 200
    commit_interval_ms: Annotated[
        Milliseconds,
        about("Time between transactions; none waits if nothing else is under way. Each takes about 10 ms."),
    ] = 100
    window_events_max: Annotated[
        int, Meta(ge=1, le=1024, description="Events of one partition between poll and commit.")
    ] = 1024
    offset_map_chars_max: Annotated[
        int, Meta(ge=64, le=4096, description="The brokers' `offset.metadata.max.bytes`, if they allow less than 4096.")
    ] = 4096
    revoke_timeout_s: Annotated[
        Seconds,
        about("Time that a rebalance waits to commit finished events; at most half of `kafka.session_timeout_ms`."),
    ] = 3
    deadline_default_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86_400,
            description="Deadline, since its receipt, of an event that names none; past it, it is `withheld`.",
        ),
    ] = 300
    cancellations_max: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Most unfinished events known to be cancelled; 0: `topics.cancel` is not read.",
        ),
    ] = 10_000
    clock_skew_max_s: Annotated[
        Seconds,
        about(
            "Difference between the worker's clock and the times of fresh records beyond which it is logged, and "
            "deadlines go by the records' time."
        ),
    ] = 30
    crashes_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Crashes of its worker, with nothing else in progress, after which an event is dead-lettered.",
        ),
    ] = 3
    crash_journal_directory: Annotated[
        Text,
        about("Directory in which workers note which events are in progress; empty: the system's temporary directory."),
    ] = ""
    nesting_depth_max: Annotated[int, Meta(ge=4, le=512, description="Deepest nesting in an event's JSON.")] = 64
    checks_timeout_s: Annotated[
        Seconds,
        about(
            "Service time of a check by the guard LLM; a later one counts as failed. Waiting for a turn is not service."
        ),
    ] = 10
    assess_timeout_s: Annotated[
        Seconds, about("Service time of labelling one request; a later label counts as failed.")
    ] = 10


class PolicySettings(Struct, frozen=True, kw_only=True):
    """The policy in force, and the choices that it leaves to the worker."""

    source: Annotated[PolicySource, about("Origin of the policy: files, or the policy topic; never both.")] = "file"
    bundle: Annotated[Text, about("With `file`: the policy bundle (YAML file); empty: the packaged one.")] = ""
    overlays: Annotated[Text, about("With `file`: the directory of tenant overlays; empty: none.")] = ""
    shadows: Annotated[
        Text, about("With `file`: the directory of bundles that are judged beside the live one; empty: none.")
    ] = ""
    budgets: Annotated[Text, about("With `file`: the directory of tenants' budgets; empty: none.")] = ""
    id: Annotated[PolicyId, about("With `topic`: the policy whose bundles apply here.")] = "safe-completion-core"
    keys: Annotated[
        dict[Name, PublicKey],
        Meta(
            max_length=64,
            description="With `topic`: the Ed25519 public keys (base64), by key id, that may sign policies.",
        ),
    ] = {}
    version_min: Annotated[
        Version, about("With `topic`: the lowest version of a bundle that is loaded, even by a roll-back.")
    ] = "0.0.0"
    ahead_max_s: Annotated[
        Seconds, about("With `topic`: a publication dated further ahead of this clock has no effect until it is not.")
    ] = 300
    reload_interval_s: Annotated[Seconds, about("Time between two looks for a changed policy.")] = 5
    start_timeout_s: Annotated[Seconds, about("With `topic`: time that a start waits for a valid bundle.")] = 30
    revisions_max: Annotated[int, Meta(ge=0, le=5, description="Drafts after the first one that did not pass.")] = 2
    candidate_blocked: Annotated[
        CandidateBlocked,
        about("Replacement for an upstream answer that does not pass: a new draft, or the policy's template."),
    ] = "template"
    age_default: Annotated[AgeDefault, about("Age band of a user whose event names none; empty: the bundle's.")] = ""


class StageSettings(Struct, frozen=True, kw_only=True):
    """The way in which one stage runs and forms its micro-batches."""

    placement: Annotated[Placement, about("Where the stage runs: in the stream worker, or in a pool of actors.")] = (
        "inline"
    )
    replicas: Annotated[int, Meta(ge=1, le=1000, description="Actors of the pool.")] = 1
    batch_events_max: Annotated[int, Meta(ge=1, le=1000, description="Events per micro-batch.")] = 48
    batch_bytes_max: Annotated[Bytes, about("Bytes per micro-batch; a longer event forms one of its own.")] = 96 * KIB
    linger_ms: Annotated[int, Meta(ge=0, le=1000, description="Time that a micro-batch waits for more events.")] = 5
    in_flight_max: Annotated[int, Meta(ge=1, le=100, description="Micro-batches in flight per actor.")] = 2
    timeout_s: Annotated[
        Seconds, about("Service time of one draft; a later report counts as failed. Waiting for a turn is not service.")
    ] = 5
    failure_mode: Annotated[
        FailureMode, about("A guard that cannot judge a draft withholds it; there is no other choice.")
    ] = "closed"


class StagesSettings(Struct, frozen=True, kw_only=True):
    """The three stages that examine a draft side by side."""

    classification: StageSettings = StageSettings()
    bias: StageSettings = StageSettings()
    logging: StageSettings = StageSettings()


class StateSettings(Struct, frozen=True, kw_only=True):
    """The memory of conversations: what it holds, and for how long."""

    enabled: Annotated[
        bool, about("Off: each turn is planned on its own, and a second copy of an event is answered again.")
    ] = True
    ttl_s: Annotated[
        int,
        Meta(
            ge=1,
            le=30 * 86_400,
            description="Time after its last turn at which a conversation is forgotten, whatever the policy remembers.",
        ),
    ] = 7 * 86_400
    answers_at_ceiling_max: Annotated[
        int,
        Meta(ge=1, le=1000, description="Serious answers at a category's ceiling after which it is lowered by one."),
    ] = 2
    events_max: Annotated[
        int, Meta(ge=1, le=1000, description="Events of a conversation whose second copies are recognized.")
    ] = 32
    conversation_bytes_max: Annotated[
        int, Meta(ge=8 * KIB, le=MIB, description="Size of one encoded state; beyond it the oldest parts are dropped.")
    ] = 8 * KIB
    conversations_max: Annotated[
        Count, about("Conversations held per partition; beyond it the oldest are forgotten.")
    ] = 100_000
    partition_bytes_max: Annotated[
        Bytes, about("Encoded states held per partition; beyond it the oldest are forgotten.")
    ] = 64 * MIB
    restore_timeout_s: Annotated[
        Seconds,
        about("Time for reading a partition's states. Its events wait for them, and a failed attempt is repeated."),
    ] = 60


class TenantSettings(Struct, frozen=True, kw_only=True):
    """Budgets and fair shares of tenants, and the count of what they use."""

    enabled: Annotated[
        bool, about("On: use is counted on `topics.usage`, budgets are applied, and tenants run in fair shares.")
    ] = False
    tenants_max: Annotated[
        Count, about("Tenants of a partition that are counted by name in one day; later ones are counted together.")
    ] = 10_000


class GrantSettings(Struct, frozen=True, kw_only=True):
    """The keys that may sign grants."""

    keys: Annotated[
        dict[Name, PublicKey],
        Meta(max_length=64, description="Ed25519 public keys (32 bytes in base64) by key id."),
    ] = {}


class SignatureSettings(Struct, frozen=True, kw_only=True):
    """The forms of signatures that count, of grants, overlays, canaries and policy publications alike."""

    accept_undomained: Annotated[
        bool,
        about(
            "Also accept what was signed before version 0.2, without the line that names its domain. Only for the time "
            "until all of it is signed again; version 0.3 removes this setting."
        ),
    ] = False


class CanarySettings(Struct, frozen=True, kw_only=True):
    """Probes that prove on the live path that blocked answers are withheld."""

    keys: Annotated[
        dict[Name, PublicKey],
        Meta(
            max_length=64,
            description="Ed25519 public keys (base64), by key id, that may sign canaries; none: no canaries.",
        ),
    ] = {}
    age_max_s: Annotated[
        Seconds, about("Largest difference between a mark's time and the worker's clock; other marks are refused.")
    ] = 600


class RedactionSettings(Struct, frozen=True, kw_only=True):
    """The redaction and the digests of user text in the audit record."""

    digest_key: Annotated[
        Secret, about("Key of the digests; empty: a random one for each process, whose digests cannot be compared.")
    ] = Secret()
    digest_key_id: Annotated[KafkaName, about("Name of that key in every digest.")] = "local"
    default_region: Annotated[
        str,
        Meta(
            pattern="^[A-Z]{2}$",
            title="two capital letters, such as DE",
            description="Country (ISO 3166) of phone numbers that name none.",
        ),
    ] = "US"
    names_models: Annotated[
        tuple[Name, ...],
        Meta(
            max_length=16,
            description="spaCy pipelines (packages or folders) that find names of people and places in audit text, one "
            "for a language; texts of other languages go to the first. None: names stay.",
        ),
    ] = ()


class StreamingSettings(Struct, frozen=True, kw_only=True):
    """Text that leaves before its answer is whole, on the stream topic, for events that ask by `stream: true`."""

    enabled: Annotated[bool, about("Stream answers; if not, an event that asks for a stream is answered whole.")] = (
        False
    )
    open_timeout_s: Annotated[
        Seconds,
        about(
            "Time of a run to read the stream back to its own beginning, and of a segment to be written; after it, the "
            "rest of an answer leaves whole."
        ),
    ] = 10
    runs_max: Annotated[
        int,
        Meta(
            ge=1,
            le=100,
            description="Runs of one event by one worker, each after a failed write or a change of ownership.",
        ),
    ] = 5
    kept_s: Annotated[
        Seconds, about("Time for which records of streams are kept in memory; an older event is answered whole.")
    ] = 600
    kept_bytes_max: Annotated[
        Bytes, about("Most bytes of records of streams in memory, beside those of events that run.")
    ] = 64 * MIB
