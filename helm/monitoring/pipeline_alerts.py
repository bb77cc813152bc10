"""Alerts on Sluicegate itself: enforcement, policy, flow, delivery."""

from typing import Final

from helm.monitoring.alert import VOLUME_FLOOR, Alert

_RATE_IN: Final = "sum(rate(sluicegate_events_consumed_total{$where}[5m]))"
_SLOW: Final = (
    '(1 - sum(rate(sluicegate_event_duration_seconds_bucket{le=~"30(\\\\.0)?",$where}[%s]))'
    " / clamp_min(sum(rate(sluicegate_event_duration_seconds_count{$where}[%s])), 0.001))"
)


def _slow(window: str) -> str:
    """The share of answers slower than 30 s over `window`."""
    return _SLOW % (window, window)


def _blocked(offset: str = "") -> str:
    """The share of events over half an hour that were not published as they came."""
    held_back, decided = (
        f"sum(rate(sluicegate_actions_total{{{only}$where}}[30m]{offset}))" for only in ('action!="published",', "")
    )
    return f"({held_back} / {decided})"


_LAST_WEEK: Final = _blocked(" offset 7d")


ENFORCEMENT: Final = (
    Alert(
        name="SluicegateUnscreenedPublished",
        group="enforcement",
        expr="sum(increase(sluicegate_unscreened_published_total{$where}[5m])) > 0",
        hold="0m",
        severity="page",
        summary="Answers left without every check.",
        first="Drain the workers: an answer that nobody checked must not go on leaving.",
    ),
    Alert(
        name="SluicegateFailClosed",
        group="enforcement",
        expr=(
            "sum(rate(sluicegate_fail_closed_total{$where}[5m]))"
            f" / clamp_min({_RATE_IN}, {VOLUME_FLOOR}) > $threshold and {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="5m",
        severity="page",
        summary="Guards cannot tell, so drafts are held and readers get the fallback text.",
        first="See which stage and reason: a guard's model down, overloaded, or its answers unreadable.",
        threshold=0.01,
    ),
    Alert(
        name="SluicegateCanaryFailing",
        group="enforcement",
        expr="min by (case) (sluicegate_canary_result{$where}) == 0",
        hold="0m",
        severity="page",
        summary="A probe passed that must be blocked, or was blocked that must pass.",
        first="Compare policy_ref and guard versions of the probe's audit record with those of yesterday.",
    ),
    Alert(
        name="SluicegateCanaryStale",
        group="enforcement",
        expr="time() - max(sluicegate_canary_last_success_timestamp_seconds{$where}) > $threshold",
        hold="0m",
        severity="page",
        summary="No probe has come through for three intervals.",
        first="Is the canary's job running, and does its event come out of the pipeline?",
        threshold=900,
    ),
    Alert(
        name="SluicegateBlockRateDrift",
        group="enforcement",
        expr=(
            f"({_blocked()} / clamp_min({_LAST_WEEK}, 0.0001) > $threshold"
            f" or {_LAST_WEEK} / clamp_min({_blocked()}, 0.0001) > $threshold)"
            f" and {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="30m",
        severity="warning",
        summary="The share of answers that are not published as they came has moved against last week's.",
        first="Compare by policy_version: a new policy, or new traffic?",
        threshold=2,
    ),
    Alert(
        name="SluicegateVerdictFlatline",
        group="enforcement",
        expr=(
            'sum(increase(sluicegate_verdicts_total{verdict!="publish",$where}[2h])) == 0'
            " and sum(increase(sluicegate_actions_total{$where}[2h])) > $threshold"
        ),
        hold="0m",
        severity="warning",
        summary="For two hours nothing was held against any draft, at normal volume.",
        first="Send a canary; a classifier that always allows looks like this.",
        threshold=2000,
    ),
)

POLICY: Final = (
    Alert(
        name="SluicegatePolicySkew",
        group="policy",
        expr="count(count by (hash) (sluicegate_policy_info{$where} == 1)) > 1",
        hold="15m",
        severity="warning",
        summary="Workers judge by different policies.",
        first="`sluicegate status` names the worker that stayed behind; its log says why.",
    ),
    Alert(
        name="SluicegatePolicyReloadFailed",
        group="policy",
        expr="sum(increase(sluicegate_policy_reload_failures_total{$where}[15m])) > 0",
        hold="0m",
        severity="warning",
        summary="A policy was offered and refused; the one before is still in force.",
        first="The worker's log lists every reason; `sluicegate policy lint FILE` repeats them.",
    ),
)

FLOW: Final = (
    Alert(
        name="SluicegateMetricsAbsent",
        group="flow",
        expr="absent(sluicegate_events_consumed_total{$where})",
        hold="5m",
        severity="page",
        summary="No worker reports.",
        first="Are the pods there, and is the scrape or the collector?",
    ),
    Alert(
        name="SluicegateNoTraffic",
        group="flow",
        expr=f"{_RATE_IN} == 0 and sum(sluicegate_consumer_lag{{$where}}) > 0",
        hold="5m",
        severity="page",
        summary="Records wait, and none is taken.",
        first="Assignment, credentials, crash loop: `sluicegate status`, then `sluicegate check`.",
    ),
    Alert(
        name="SluicegateLagHigh",
        group="flow",
        expr="max(sluicegate_consumer_lag_seconds{$where}) > $threshold",
        hold="5m",
        severity="warning",
        summary="The oldest event under way is older than the objective allows.",
        first="More replicas, or is the model the bottleneck? See the vLLM dashboard.",
        threshold=60,
    ),
    Alert(
        name="SluicegateLagCritical",
        group="flow",
        expr="max(sluicegate_consumer_lag_seconds{$where}) > $threshold",
        hold="5m",
        severity="page",
        summary="The oldest event under way is so old that deadlines pass.",
        first="As SluicegateLagHigh; events past their deadline end `withheld`.",
        threshold=300,
    ),
    Alert(
        name="SluicegateLagGrowing",
        group="flow",
        expr=(
            "sum(deriv(sluicegate_consumer_lag{$where}[10m])) > 0 and sum(sluicegate_consumer_lag{$where}) > $threshold"
        ),
        hold="10m",
        severity="warning",
        summary="More comes in than goes out.",
        first="Scale before the objective is missed.",
        threshold=1000,
    ),
    Alert(
        name="SluicegatePartitionStopped",
        group="flow",
        expr="sum(sluicegate_stopped_partitions{$where}) > 0",
        hold="0m",
        severity="page",
        summary="A partition's offset map cannot be read; it waits for somebody.",
        first="The log names the partition; the operators' guide says how to repair it.",
    ),
    Alert(
        name="SluicegatePartitionStuck",
        group="flow",
        expr="max by (topic, partition) (sluicegate_window_fill{$where}) >= 1",
        hold="10m",
        severity="page",
        summary="A partition's window has been full for ten minutes: its oldest event does not end.",
        first="Find the oldest event in the log; its deadline should have ended it.",
    ),
    Alert(
        name="SluicegateStateNotRestored",
        group="flow",
        expr="sum(sluicegate_state_restores_pending{$where}) > 0",
        hold="5m",
        severity="page",
        summary="Partitions wait for their conversations' state, and deliver nothing meanwhile.",
        first="The log says what the state topic answers: rights, partition count, or a topic that is too large.",
    ),
    Alert(
        name="SluicegateLatencyBudget",
        group="flow",
        expr=(
            f"{_slow('5m')} > 14.4 * $threshold and {_slow('1h')} > 14.4 * $threshold and {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="2m",
        severity="page",
        summary="The month's allowance of answers slower than 30 s is burning at 14 times its pace.",
        first="Stage breakdown on the stages dashboard; usually the model's queue.",
        threshold=0.01,
    ),
    Alert(
        name="SluicegateStageTimeouts",
        group="flow",
        expr=(
            "sum by (stage) (rate(sluicegate_stage_timeouts_total{$where}[10m]))"
            f" / on () group_left () clamp_min({_RATE_IN}, {VOLUME_FLOOR}) > $threshold"
            f" and on () {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="10m",
        severity="warning",
        summary="A stage is late for more than one event in a hundred.",
        first="Its queue depth and its actors: more replicas, or smaller batches.",
        threshold=0.01,
    ),
)

DELIVERY: Final = (
    Alert(
        name="SluicegateDeadLetterRate",
        group="delivery",
        expr=(
            "sum(rate(sluicegate_dlq_total{$where}[10m]))"
            f" / clamp_min({_RATE_IN}, {VOLUME_FLOOR}) > $threshold and {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="10m",
        severity="warning",
        summary="More than one record in a thousand is a dead letter.",
        first="`sluicegate dlq list` groups them by reason.",
        threshold=0.001,
    ),
    Alert(
        name="SluicegatePoison",
        group="delivery",
        expr='sum(increase(sluicegate_dlq_total{reason="poison",$where}[15m])) > 0',
        hold="0m",
        severity="page",
        summary="An event ran in crash after crash of its worker and was taken out.",
        first="`sluicegate dlq show` it, on a machine that may crash.",
    ),
    Alert(
        name="SluicegateTransactionAborts",
        group="delivery",
        expr="sum(rate(sluicegate_tx_aborts_total{$where}[10m])) > $threshold",
        hold="10m",
        severity="warning",
        summary="Transactions are aborted again and again.",
        first="By reason: fenced means two workers of one slot; delivery and broker mean the brokers.",
        threshold=0.02,
    ),
    Alert(
        name="SluicegateCommitFailures",
        group="delivery",
        expr="sum(rate(sluicegate_commit_failures_total{$where}[10m])) > $threshold",
        hold="10m",
        severity="warning",
        summary="Transactions do not commit.",
        first="As SluicegateTransactionAborts; nothing is lost, answers come late.",
        threshold=0.02,
    ),
    Alert(
        name="SluicegateRebalanceStorm",
        group="delivery",
        expr='sum(increase(sluicegate_rebalances_total{reason=~"revoked|lost",$where}[10m])) > $threshold',
        hold="0m",
        severity="warning",
        summary="Partitions change hands again and again.",
        first="Workers restarting, polls too far apart, or an autoscaler that cannot decide.",
        threshold=5,
    ),
    Alert(
        name="SluicegateActorRestarts",
        group="delivery",
        expr="sum by (role) (increase(sluicegate_actor_restarts_total{$where}[15m])) > $threshold",
        hold="0m",
        severity="warning",
        summary="Actors are replaced again and again.",
        first="Memory first: the pod's limit, then the log of the actor that went.",
        threshold=3,
    ),
    Alert(
        name="SluicegateTelemetryDropped",
        group="delivery",
        expr="sum by (signal) (rate(sluicegate_telemetry_dropped_total{$where}[15m])) > 0",
        hold="15m",
        severity="ticket",
        summary="Spans or metrics are lost on their way to the collector.",
        first="Is the collector up and fast enough? Audit records are not touched by this.",
    ),
)
