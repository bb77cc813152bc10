"""Settings of what happens to an event: its bounds, the policy, the stages, what is remembered and recorded."""

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
    """Bounds on one event, on what is held in memory, and on how long a check may take."""

    event_bytes_max: Annotated[Bytes, about("A longer record is dead-lettered.")] = 1 * MIB
    dead_letter_bytes_max: Annotated[Bytes, about("Original bytes kept in a dead letter; the rest is cut.")] = 64 * KIB
    in_flight_max: Annotated[int, Meta(ge=1, le=10_000, description="Events of one worker processed at once.")] = 64
    queue_events_max: Annotated[Count, about("Events a worker holds before it pauses its partitions.")] = 2_000
    queue_bytes_max: Annotated[Bytes, about("Bytes a worker holds before it pauses its partitions.")] = 64 * MIB
    batch_events_max: Annotated[int, Meta(ge=1, le=10_000, description="Events per transaction.")] = 200
    commit_interval_ms: Annotated[
        Milliseconds, about("Time between transactions, each of which costs about 10 ms whatever it holds.")
    ] = 100
    window_events_max: Annotated[
        int, Meta(ge=1, le=1024, description="Events of one partition between poll and commit.")
    ] = 1024
    offset_map_chars_max: Annotated[
        int, Meta(ge=64, le=4096, description="The brokers' `offset.metadata.max.bytes`, where it is below 4096.")
    ] = 4096
    revoke_timeout_s: Annotated[
        Seconds, about("How long a rebalance waits for what has finished; at most half of `session_timeout_ms`.")
    ] = 3
    deadline_default_s: Annotated[
        float,
        Meta(gt=0, le=86_400, description="An event without its own deadline is answered `withheld` after this."),
    ] = 300
    crashes_max: Annotated[
        int, Meta(ge=1, le=100, description="An event that ran in so many crashes of its worker is a dead letter.")
    ] = 3
    crash_journal_directory: Annotated[
        Text, about("Workers note here, in a directory of their own, what runs; empty: where temporary files go.")
    ] = ""
    nesting_depth_max: Annotated[int, Meta(ge=4, le=512, description="Depth of nesting in an event's JSON.")] = 64
    checks_timeout_s: Annotated[Seconds, about("All checks of one draft; a later one counts as failed.")] = 10
    assess_timeout_s: Annotated[Seconds, about("Labelling one request; a later label counts as failed.")] = 10


class PolicySettings(Struct, frozen=True, kw_only=True):
    """Which policy holds, and what the worker may choose under it."""

    source: Annotated[PolicySource, about("Where the policy comes from; never from both.")] = "file"
    bundle: Annotated[Text, about("With `file`: policy bundle (YAML file); empty: the packaged one.")] = ""
    overlays: Annotated[Text, about("With `file`: directory of tenant overlays; empty: none.")] = ""
    shadows: Annotated[Text, about("With `file`: directory of bundles judged beside the live one; empty: none.")] = ""
    id: Annotated[PolicyId, about("With `topic`: which policy's bundles hold here.")] = "safe-completion-core"
    keys: Annotated[
        dict[Name, PublicKey],
        Meta(max_length=64, description="With `topic`: key id to Ed25519 public key (base64) that may sign policies."),
    ] = {}
    version_min: Annotated[Version, about("With `topic`: no bundle below it is loaded, rolled back or not.")] = "0.0.0"
    reload_interval_s: Annotated[Seconds, about("Time between two looks for another policy.")] = 5
    start_timeout_s: Annotated[Seconds, about("With `topic`: how long a start waits for a bundle that holds.")] = 30
    revisions_max: Annotated[int, Meta(ge=0, le=5, description="Further drafts after the first one failed.")] = 2
    candidate_blocked: Annotated[
        CandidateBlocked, about("What follows when an answer made upstream does not pass.")
    ] = "template"
    age_default: Annotated[AgeDefault, about("Age band where the event names none; empty: the bundle's.")] = ""


class StageSettings(Struct, frozen=True, kw_only=True):
    """How one stage runs, and how its micro-batches are cut."""

    placement: Annotated[Placement, about("In the stream worker, or in a pool of actors.")] = "inline"
    replicas: Annotated[int, Meta(ge=1, le=1000, description="Actors of the pool.")] = 1
    batch_events_max: Annotated[int, Meta(ge=1, le=1000, description="Events per micro-batch.")] = 48
    batch_bytes_max: Annotated[Bytes, about("Bytes per micro-batch; a single longer event goes alone.")] = 96 * KIB
    linger_ms: Annotated[int, Meta(ge=0, le=1000, description="How long a micro-batch waits for more.")] = 5
    in_flight_max: Annotated[int, Meta(ge=1, le=100, description="Micro-batches under way per actor.")] = 2
    timeout_s: Annotated[Seconds, about("One micro-batch; at most `limits.checks_timeout_s`.")] = 5
    failure_mode: Annotated[FailureMode, about("A guard that cannot tell withholds; nothing else is offered.")] = (
        "closed"
    )


class StagesSettings(Struct, frozen=True, kw_only=True):
    """The three stages that look at a draft side by side."""

    classification: StageSettings = StageSettings()
    bias: StageSettings = StageSettings()
    logging: StageSettings = StageSettings()


class StateSettings(Struct, frozen=True, kw_only=True):
    """What is remembered of conversations, and for how long."""

    enabled: Annotated[bool, about("Off: every turn is planned by itself, and second copies are answered.")] = True
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
        Count, about("Conversations held of one partition; beyond that the oldest are forgotten.")
    ] = 100_000
    partition_bytes_max: Annotated[Bytes, about("Encoded states held of one partition; as above.")] = 64 * MIB
    restore_timeout_s: Annotated[
        Seconds, about("Reading a partition's states; it is not delivered before, and a failed try is repeated.")
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
    age_max_s: Annotated[Seconds, about("A mark of another time, by the worker's clock, is refused.")] = 600


class RedactionSettings(Struct, frozen=True, kw_only=True):
    """How user text is made fit for the audit record."""

    digest_key: Annotated[
        Secret, about("Key of the digests; empty: random for each process, so digests cannot be compared.")
    ] = Secret()
    digest_key_id: Annotated[KafkaName, about("Name of that key in every digest.")] = "local"
    default_region: Annotated[
        str, Meta(pattern="^[A-Z]{2}$", description="Country (ISO 3166) for phone numbers without one.")
    ] = "US"
