"""Every metric as data: name, kind, unit, labels with their values, help, buckets.

Names are those that Prometheus shows: counters end in `_total`, units in full. A label is either an enumeration,
or open: its values come from settings, policy or assignment, and `instruments.py` bounds the number of series.
"""

from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct

from topology.contract.errors import DeadLetterReason, PolicyRefusal
from topology.contract.events import Action
from topology.contract.labels import Outcome, VerdictKind
from topology.contract.names import ActionReason, CommitReason, LlmRole, ShadowOutcome, StageName
from topology.contract.streams import StreamKind
from topology.telemetry.metric_names import Metric

Kind = Literal["counter", "gauge", "histogram"]

SECONDS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The defaults of Prometheus, and up to a minute, because a language model answers."""
SHORT_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The buckets of commits, which take milliseconds."""


TOKEN_BUCKETS: Final = tuple(float(4**power) for power in range(11))
"""The first of the boundaries that the GenAI conventions ask for, up to a million tokens."""


class StreamOutcome(StrEnum):
    """What became of a run of a streamed event, or of a record of its stream."""

    OPENED = "opened"
    REPLACED = "replaced"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"


class Label(Struct, frozen=True):
    """One label; empty `values` mean that it is open: they come from settings, policy or assignment."""

    name: str
    values: tuple[str, ...] = ()


class MetricSpec(Struct, frozen=True, kw_only=True):
    """One metric. With `zeros`, every label set is exported as 0 from the start, so that absence never means zero."""

    name: Metric
    kind: Kind
    unit: str
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    zeros: bool = False


def _enumerated(name: str, *enums: type[StrEnum]) -> Label:
    return Label(name, tuple(member.value for enum in enums for member in enum))


DEAD_LETTER_OUTCOME: Final = "dead_letter"
"""The outcome of a record that ended as a dead letter and no response."""

GUARDS: Final = (StageName.ASSESS, StageName.CLASSIFICATION, StageName.BIAS, StageName.LOGGING, StageName.GUARD_LLM)
"""The stages whose failure withholds a draft."""

_FAILURES = Label("reason", tuple(outcome.value for outcome in Outcome if outcome is not Outcome.OK))
_STAGE = _enumerated("stage", StageName)
_GUARD = Label("stage", tuple(stage.value for stage in GUARDS))
_OUTCOME = Label("outcome", (*(action.value for action in Action), DEAD_LETTER_OUTCOME))


def long_part(stage: StageName) -> str:
    """Return the part that is a stage's lane of long texts."""
    return f"{stage.value}_long"


_LANES = tuple(long_part(stage) for stage in (StageName.CLASSIFICATION, StageName.BIAS, StageName.LOGGING))
_PART = Label(
    "part",
    (
        *(stage.value for stage in GUARDS if stage is not StageName.GUARD_LLM),
        *_LANES,
        "generator",
        "judge",
        "intake",
    ),
)
_TOPIC = Label("topic")
_PARTITION = Label("partition")
_MODEL = Label("model")
_ROLE = Label("role", ("ingress", "stage", "supervisor", "generator"))


def _counter(name: Metric, unit: str, text: str, *labels: Label, zeros: bool = False) -> MetricSpec:
    return MetricSpec(name=name, kind="counter", unit=f"{{{unit}}}", help=text, labels=labels, zeros=zeros)


def _gauge(name: Metric, unit: str, text: str, *labels: Label) -> MetricSpec:
    return MetricSpec(name=name, kind="gauge", unit=unit, help=text, labels=labels)


def _seconds(name: Metric, text: str, *labels: Label, buckets: tuple[float, ...] = SECONDS_BUCKETS) -> MetricSpec:
    return MetricSpec(name=name, kind="histogram", unit="s", help=text, labels=labels, buckets=buckets)


# A unit of "1" would become the suffix `_ratio` in Prometheus; `{event}` and the like are dropped there.
METRICS: Final[tuple[MetricSpec, ...]] = (
    _counter(Metric.EVENTS_CONSUMED, "event", "Records taken from the input.", _TOPIC),
    _counter(Metric.EVENTS_PUBLISHED, "event", "Records that became visible, by topic.", _TOPIC),
    _seconds(Metric.EVENT_DURATION, "From the record's broker time to its visible answer.", _OUTCOME),
    _seconds(Metric.PROCESSING_DURATION, "From the start of processing to the result.", _OUTCOME),
    _seconds(Metric.STAGE_DURATION, "One stage of one event.", _STAGE, buckets=SECONDS_BUCKETS),
    _counter(Metric.STAGE_ERRORS, "failure", "Stages that failed, timeouts included.", _STAGE, _FAILURES),
    _counter(Metric.STAGE_TIMEOUTS, "timeout", "Stages that were late.", _STAGE, zeros=True),
    _counter(Metric.PARTLY_READ, "text", "Texts too long to be read as a whole.", _GUARD, zeros=True),
    _gauge(
        Metric.CONCURRENCY_LIMIT, "{call}", "Calls of a part that may have begun at once; adapts to their pace.", _PART
    ),
    _gauge(Metric.CONCURRENCY_BEGUN, "{call}", "Calls of a part that have begun and not ended.", _PART),
    _gauge(Metric.CONCURRENCY_WAITING, "{call}", "Calls that wait for their turn at a part.", _PART),
    _gauge(Metric.INFLIGHT_EVENTS, "{event}", "Events taken and not yet finished."),
    _gauge(Metric.BACKPRESSURE_PAUSED, "", "1 while reading is paused because of a bound, else 0."),
    _counter(
        Metric.VERDICTS,
        "verdict",
        "What the judge said of a draft; category is the strictest one found.",
        _STAGE,
        _enumerated("verdict", VerdictKind),
        Label("category"),
        Label("policy_version"),
    ),
    _counter(
        Metric.ACTIONS,
        "action",
        "What was done with an event.",
        _enumerated("action", Action),
        _enumerated("reason", ActionReason),
        zeros=True,
    ),
    _counter(Metric.FAIL_CLOSED, "event", "Drafts held because a guard could not tell.", _GUARD, _FAILURES, zeros=True),
    _counter(Metric.UNSCREENED_PUBLISHED, "event", "Answers that left without every check: must be 0.", zeros=True),
    _counter(
        Metric.DEAD_LETTERS, "record", "Dead letters written.", _enumerated("reason", DeadLetterReason), zeros=True
    ),
    _counter(
        Metric.UNREADABLE_RECORDS,
        "record",
        "Records that cannot be read; those of one batch share a letter.",
        zeros=True,
    ),
    _counter(Metric.RECORDS_LOST, "record", "Records removed by the brokers before they were read.", zeros=True),
    _counter(Metric.SUSPECTS, "record", "Records that were running when their worker crashed.", zeros=True),
    _counter(Metric.DUPLICATES_SUPPRESSED, "event", "Events that were answered before, and not again.", zeros=True),
    _counter(Metric.RETRIES, "try", "Further tries of an event.", _FAILURES, zeros=True),
    _counter(Metric.REGENERATIONS, "draft", "Further drafts asked for after a verdict.", zeros=True),
    _counter(
        Metric.SAFE_COMPLETION,
        "event",
        "Answers by how much of the request they meet.",
        Label("kind", ("full", "partial", "refusal")),
        zeros=True,
    ),
    _gauge(Metric.CANARY_RESULT, "", "1: the last probe of a case ended as it must; 0: it did not.", Label("case")),
    _gauge(Metric.CANARY_LAST_SUCCESS, "s", "When a probe last ended as it must; at first, when the worker started."),
    _gauge(Metric.POLICY_INFO, "", "1 for the policy in force.", Label("version"), Label("hash")),
    _counter(
        Metric.POLICY_RELOAD_FAILURES,
        "failure",
        "Policies, or publications of them, that were not loaded.",
        _enumerated("reason", PolicyRefusal),
        zeros=True,
    ),
    _counter(
        Metric.SHADOW_DECISIONS,
        "event",
        "What candidate policies would have decided, beside what was.",
        Label("policy_version"),
        _enumerated("outcome", ShadowOutcome),
    ),
    _counter(
        Metric.GRANTS,
        "grant",
        "Grants seen, by what became of them.",
        Label("status", ("used", "expired", "not_yet_valid", "foreign", "unknown_key", "altered", "undomained")),
        zeros=True,
    ),
    _counter(
        Metric.TENANT_EVENTS,
        "event",
        "Events by the budget that was asked; `*` is that of all tenants without one of their own.",
        Label("budget"),
        Label("outcome", ("admitted", "shadow_limited", "limited")),
    ),
    _counter(
        Metric.TENANT_ACTIONS,
        "action",
        "What was done with an event, by tenant; `*` is all tenants without an overlay or a budget of their own.",
        Label("known_tenant"),
        _enumerated("action", Action),
        _enumerated("reason", ActionReason),
    ),
    _gauge(Metric.TENANTS, "{tenant}", "Tenants whose use is held in memory, for each partition."),
    _gauge(Metric.USAGE_RESTORES_PENDING, "{partition}", "Partitions that wait until their tenants' use is read."),
    _seconds(
        Metric.LLM_REQUEST_DURATION,
        "One request to a language model.",
        _MODEL,
        _enumerated("role", LlmRole),
        _enumerated("outcome", Outcome),
    ),
    _counter(Metric.LLM_ERRORS, "failure", "Requests to a language model that failed.", _MODEL, _FAILURES),
    _gauge(Metric.LLM_CIRCUIT_STATE, "", "The breaker: 0 closed, 1 half open, 2 open.", _MODEL),
    _counter(Metric.LLM_TOKENS, "token", "Tokens spent.", _MODEL, Label("kind", ("input", "output"))),
    MetricSpec(
        name=Metric.LLM_REQUEST_TOKENS,
        kind="histogram",
        unit="{token}",
        help="Tokens of one answered request.",
        labels=(_MODEL, Label("kind", ("input", "output"))),
        buckets=TOKEN_BUCKETS,
    ),
    _seconds(Metric.STREAM_FIRST_TEXT, "From a record's receipt to the first text of its answer that left."),
    MetricSpec(
        name=Metric.STREAM_HELD,
        kind="histogram",
        unit="{character}",
        help="Characters of a streamed answer that are held back, each time some are judged.",
        buckets=TOKEN_BUCKETS,
    ),
    _counter(
        Metric.STREAM_ABORTS,
        "request",
        "Requests to the generator that a verdict on the answer's beginning closed.",
        _enumerated("verdict", VerdictKind),
        zeros=True,
    ),
    _counter(
        Metric.STREAM_TOKENS_SAVED,
        "token",
        "Tokens that closed requests were still allowed: an upper bound.",
        zeros=True,
    ),
    _counter(Metric.STREAM_RELEASED_OVER, "event", "Answers in whose streamed text a fault was found.", zeros=True),
    _counter(
        Metric.REBALANCES,
        "rebalance",
        "Changes of assignment.",
        Label("reason", ("assigned", "revoked", "lost")),
        zeros=True,
    ),
    _gauge(Metric.ASSIGNED_PARTITIONS, "{partition}", "Partitions that this worker reads."),
    _seconds(
        Metric.COMMIT_DURATION,
        "One transaction, from its first record to its end.",
        buckets=SHORT_BUCKETS,
    ),
    _counter(
        Metric.COMMIT_FAILURES,
        "transaction",
        "Transactions that did not commit.",
        _enumerated("reason", CommitReason),
        zeros=True,
    ),
    _counter(
        Metric.TRANSACTION_ABORTS,
        "transaction",
        "Transactions that were aborted.",
        _enumerated("reason", CommitReason),
        zeros=True,
    ),
    _gauge(Metric.CONSUMER_LAG, "{record}", "Records that can be read and are not yet committed.", _TOPIC, _PARTITION),
    _gauge(Metric.CONSUMER_LAG_SECONDS, "s", "Age of the oldest record read and not committed.", _TOPIC, _PARTITION),
    _gauge(Metric.CLOCK_SKEW, "s", "How far this worker's clock is ahead of the times of fresh records."),
    _gauge(Metric.WINDOW_FILL, "", "Share of a partition's window in use; at 1 it is paused.", _TOPIC, _PARTITION),
    _gauge(Metric.OFFSET_MAP_CHARS, "{char}", "Length of the offset map committed last, of 4096.", _TOPIC, _PARTITION),
    _gauge(
        Metric.STANDSTILL_SECONDS,
        "s",
        "Time since a partition last moved or had nothing to do; never cleared.",
        _TOPIC,
        _PARTITION,
    ),
    _gauge(Metric.STOPPED_PARTITIONS, "{partition}", "Partitions that wait for somebody to repair their offset map."),
    _gauge(Metric.STATE_CONVERSATIONS, "{conversation}", "Conversations whose state is held in memory."),
    _gauge(Metric.STATE_BYTES, "By", "What their states take, encoded."),
    _counter(Metric.STATE_EVICTIONS, "conversation", "Conversations forgotten for want of room.", zeros=True),
    _gauge(Metric.STATE_RESTORES_PENDING, "{partition}", "Partitions that wait until their states are read."),
    _counter(Metric.STATE_RESTORE_FAILURES, "try", "Failed tries to read the states of partitions.", zeros=True),
    _counter(
        Metric.FOLLOW_FAILURES, "try", "Failures after which a topic that a worker follows is read on anew.", _TOPIC
    ),
    _counter(
        Metric.STREAM_RUNS,
        "run",
        "Runs of streamed events that were opened and read back, and events whose stream was given up.",
        Label("outcome", (StreamOutcome.OPENED.value, StreamOutcome.REPLACED.value)),
        zeros=True,
    ),
    _counter(
        Metric.STREAM_RECORDS,
        "record",
        "Records written to streams; one that failed may have arrived all the same.",
        _enumerated("kind", StreamKind),
        Label("outcome", (StreamOutcome.ACKNOWLEDGED.value, StreamOutcome.FAILED.value)),
        zeros=True,
    ),
    _seconds(Metric.STREAM_READ_BACK, "From the `opened` of a run to its reading back.", buckets=SHORT_BUCKETS),
    _gauge(Metric.STREAM_KEPT_BYTES, "By", "What a worker keeps of streams in memory."),
    _counter(Metric.ACTOR_RESTARTS, "restart", "Actors replaced.", _ROLE, zeros=True),
    _gauge(
        Metric.ACTORS,
        "{actor}",
        "Actors by state.",
        _ROLE,
        Label("state", ("starting", "ready", "unhealthy", "draining", "stopped")),
    ),
    _counter(
        Metric.DOOR_REQUESTS, "request", "Requests to the door, by route and status.", Label("route"), Label("status")
    ),
    _seconds(Metric.DOOR_DURATION, "From a request for an event to its answer, at the door."),
    _gauge(Metric.DOOR_WAITING, "{event}", "Events of the door that are under way."),
    _gauge(Metric.DOOR_INDEX, "{answer}", "Answers that the door can give again."),
    _gauge(Metric.DOOR_STREAMS, "{answer}", "Streamed answers that are not whole yet, as far as a door keeps them."),
    _counter(Metric.DOOR_CLOSED, "stream", "Streams closed because their clients did not read.", zeros=True),
    _counter(
        Metric.DOOR_CANCELLATIONS,
        "event",
        "Events that a door cancelled because their clients had gone; `unplaced`: it could not, not knowing where.",
        Label("outcome", ("sent", "unplaced", "failed")),
        zeros=True,
    ),
    _counter(
        Metric.CANCELLATIONS,
        "record",
        "Records of the cancel topic that were read; `dropped`: earlier ones, for want of room.",
        Label("outcome", ("taken", "dropped", "unreadable")),
        zeros=True,
    ),
    _gauge(Metric.CANCELLATIONS_KNOWN, "{record}", "Unfinished records that are known to be cancelled."),
    _gauge(Metric.BUILD_INFO, "", "1 for this version.", Label("version"), Label("role")),
    _counter(
        Metric.TELEMETRY_DROPPED,
        "item",
        "Telemetry lost: queue full, or not accepted.",
        Label("signal", ("spans", "metrics")),
        zeros=True,
    ),
)
