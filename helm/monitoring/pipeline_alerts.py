"""Alerts on Sluicegate itself: enforcement, policy, flow, delivery."""

from typing import Final

from helm.monitoring.alert import VOLUME_FLOOR, Alert

_RATE_IN: Final = "sum(rate(sluicegate_events_consumed_total{$where}[5m]))"
_STANDS_STILL: Final = "max(max_over_time(sluicegate_partition_standstill_seconds{$where}[2m])) > 0"
"""A partition that is read to its end never stands still, whatever else its lag counts. An event that is given up now
and then sets the gauge back for a moment; so the last two minutes count."""
_SLOW: Final = (
    '(1 - sum(rate(sluicegate_event_duration_seconds_bucket{le=~"30(\\\\.0)?",$where}[%s]))'
    " / clamp_min(sum(rate(sluicegate_event_duration_seconds_count{$where}[%s])), 0.001))"
)


def _slow(window: str) -> str:
    """Return the share of answers slower than 30 s over `window`."""
    return _SLOW % (window, window)


def _blocked(offset: str = "") -> str:
    """Return the share of events over half an hour whose answers were not published unchanged.

    Those that ended early because their clients had gone are none of them.
    """
    held_back, decided = (
        f'sum(rate(sluicegate_actions_total{{{only}reason!="client_gone",$where}}[30m]{offset}))'
        for only in ('action!="published",', "")
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
        summary="Answers were published without passing every check.",
        first="Drain the workers now, so that no further unchecked answer is published.",
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
        summary="Guards cannot judge drafts: answers are withheld, and readers get the fallback text.",
        first="Find the stage and the reason: a guard's model is down or overloaded, or its answers cannot be read.",
        threshold=0.01,
    ),
    Alert(
        name="SluicegateReleasedOver",
        group="enforcement",
        expr="sum(increase(sluicegate_stream_released_over_total{$where}[30m])) > 0",
        hold="0m",
        severity="warning",
        summary="A fault was found in text that had been streamed.",
        first="Find the audit records with `released_over`, and the rule that their last attempt names.",
    ),
    Alert(
        name="SluicegateCanaryFailing",
        group="enforcement",
        expr="min by (case) (sluicegate_canary_result{$where}) == 0",
        hold="0m",
        severity="page",
        summary="A probe that must be held was published, or one that must be published was held.",
        first="Compare policy_ref and guard versions in the probe's audit record with those of the last good probe.",
    ),
    Alert(
        name="SluicegateCanaryStale",
        group="enforcement",
        expr="time() - max(sluicegate_canary_last_success_timestamp_seconds{$where}) > $threshold",
        hold="0m",
        severity="page",
        summary="No probe has ended as it must for three intervals.",
        first="Check that the canary job runs, and that its probes come out of the pipeline.",
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
        summary="The share of answers that are not published unchanged is far from last week's.",
        first="Compare by policy_version: is it a new policy, or new traffic?",
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
        summary="For two hours every draft was judged publishable, at normal volume.",
        first="Send a canary: a classifier that always allows looks like this.",
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
        summary="A new policy was refused; the previous one is still in force.",
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
        summary="No worker reports metrics.",
        first="Check that the pods run, and that the scrape or the collector works.",
    ),
    Alert(
        name="SluicegateNoTraffic",
        group="flow",
        expr=f"{_RATE_IN} == 0 and sum(sluicegate_consumer_lag{{$where}}) > 0 and {_STANDS_STILL}",
        hold="5m",
        severity="page",
        summary="Records are waiting, and no worker takes any.",
        first="Check assignment, credentials and restarts: `sluicegate status`, then `sluicegate check`.",
    ),
    Alert(
        name="SluicegateLagHigh",
        group="flow",
        expr="max(sluicegate_consumer_lag_seconds{$where}) > $threshold",
        hold="5m",
        severity="warning",
        summary="The oldest event in flight is older than the objective allows.",
        first="Find the bottleneck: too few workers, or the model? See the vLLM dashboard.",
        threshold=60,
    ),
    Alert(
        name="SluicegateLagCritical",
        group="flow",
        expr="max(sluicegate_consumer_lag_seconds{$where}) > $threshold",
        hold="5m",
        severity="page",
        summary="The oldest event in flight is so old that events miss their deadlines.",
        first="Act as for SluicegateLagHigh; events past their deadline end `withheld`.",
        threshold=300,
    ),
    Alert(
        name="SluicegateShedding",
        group="flow",
        expr=(
            'sum(rate(sluicegate_actions_total{reason="overloaded",$where}[5m]))'
            f" / clamp_min({_RATE_IN}, {VOLUME_FLOOR}) > $threshold and {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="5m",
        severity="page",
        summary="Events wait for their turn until it is too late for their deadlines, and are withheld unanswered.",
        first="Find the part with a queue: a guard or a model is slower than what arrives.",
        threshold=0.01,
    ),
    Alert(
        name="SluicegateClockSkew",
        group="flow",
        expr="max(abs(sluicegate_clock_skew_seconds{$where})) > $threshold",
        hold="5m",
        severity="warning",
        summary="A worker's clock disagrees with the times of the records that it reads.",
        first="Compare the node's clock with the brokers' and the senders'; repair its time synchronisation.",
        threshold=30,
    ),
    Alert(
        name="SluicegateLagGrowing",
        group="flow",
        expr=(
            "sum(deriv(sluicegate_consumer_lag{$where}[10m])) > 0 and sum(sluicegate_consumer_lag{$where}) > $threshold"
        ),
        hold="10m",
        severity="warning",
        summary="More events arrive than are answered.",
        first="Scale before the objective is missed.",
        threshold=1000,
    ),
    Alert(
        name="SluicegatePartitionStopped",
        group="flow",
        expr="sum(sluicegate_stopped_partitions{$where}) > 0",
        hold="0m",
        severity="page",
        summary="A partition's offset map cannot be read; the partition is stopped until somebody repairs it.",
        first="The log names the partition; the operators' guide says how to repair it.",
    ),
    Alert(
        name="SluicegatePartitionStuck",
        group="flow",
        expr="max by (topic, partition) (sluicegate_window_fill{$where}) >= 1",
        hold="10m",
        severity="page",
        summary="A partition's window has been full for ten minutes: its oldest event does not finish.",
        first="Find the oldest event in the log; its deadline should have ended it.",
    ),
    Alert(
        name="SluicegatePartitionStandsStill",
        group="flow",
        expr="max by (topic, partition) (sluicegate_partition_standstill_seconds{$where}) > $threshold",
        hold="0m",
        severity="page",
        summary="A partition has not moved for ten minutes, although it is not read to its end.",
        first="`sluicegate status` and the worker's log say what it waits for; then restart that worker.",
        threshold=600,
    ),
    Alert(
        name="SluicegateStateNotRestored",
        group="flow",
        expr="sum(sluicegate_state_restores_pending{$where}) > 0",
        hold="5m",
        severity="page",
        summary="Partitions wait for the state of their conversations and deliver nothing meanwhile.",
        first="The log says why: rights, partition count, or a state topic that is too large to read in time.",
    ),
    Alert(
        name="SluicegateUsageNotRestored",
        group="flow",
        expr="sum(sluicegate_usage_restores_pending{$where}) > 0",
        hold="5m",
        severity="page",
        summary="Partitions wait for the use of their tenants and deliver nothing meanwhile.",
        first="The log says why: rights, partition count, or a usage topic that is too large to read in time.",
    ),
    Alert(
        name="SluicegateLatencyBudget",
        group="flow",
        expr=(
            f"{_slow('5m')} > 14.4 * $threshold and {_slow('1h')} > 14.4 * $threshold and {_RATE_IN} > {VOLUME_FLOOR}"
        ),
        hold="2m",
        severity="page",
        summary="Answers slower than 30 s use up the month's allowance 14 times faster than planned.",
        first="Look at the stage breakdown on the stages dashboard; usually it is the model's queue.",
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
        first="Look at its queue depth and its actors: add replicas, or make batches smaller.",
        threshold=0.01,
    ),
    Alert(
        name="SluicegateStageStandsStill",
        group="flow",
        expr=(
            'sum by (part) (sluicegate_concurrency_begun{part=~"classification|bias|logging",$where}) > 0'
            " unless on (part) label_join("
            "sum by (stage) (rate(sluicegate_stage_duration_seconds_count{$where}[2m])) > 0,"
            ' "part", "", "stage")'
        ),
        hold="5m",
        severity="page",
        summary="Drafts are in a stage's hands, and none comes back: nothing that needs it is answered.",
        first="Are the stage's actors alive? `sluicegate status` and the Ray dashboard say; restart what hangs.",
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
        summary="More than one record in a thousand becomes a dead letter.",
        first="`sluicegate dlq list` groups them by reason.",
        threshold=0.001,
    ),
    Alert(
        name="SluicegateRecordsLost",
        group="delivery",
        expr="sum(increase(sluicegate_records_lost_total{$where}[15m])) > 0",
        hold="0m",
        severity="page",
        summary="The brokers removed records from the input before they were read.",
        first="The worker's log names the partition and the range; raise the input's retention before more is lost.",
    ),
    Alert(
        name="SluicegatePoison",
        group="delivery",
        expr='sum(increase(sluicegate_dlq_total{reason="poison",$where}[15m])) > 0',
        hold="0m",
        severity="page",
        summary="An event was being processed in crash after crash of its worker, and was taken out.",
        first="Look at it with `sluicegate dlq show`, and reproduce it on a machine that may crash.",
    ),
    Alert(
        name="SluicegateUnreadableRecords",
        group="delivery",
        expr="sum(increase(sluicegate_unreadable_records_total{$where}[15m])) > 0",
        hold="0m",
        severity="warning",
        summary="Records on the input cannot be read; those of one batch share one dead letter.",
        first="`sluicegate dlq list --reason unreadable` says which offsets, and why.",
    ),
    Alert(
        name="SluicegateResultTooLarge",
        group="delivery",
        expr='sum(increase(sluicegate_dlq_total{reason="result_too_large",$where}[15m])) > 0',
        hold="0m",
        severity="warning",
        summary="A topic is too small for an answer or its audit record: the event has none.",
        first="The letter names topic and size; `sluicegate topics create --alter` raises `max.message.bytes`.",
    ),
    Alert(
        name="SluicegateTransactionAborts",
        group="delivery",
        expr="sum(rate(sluicegate_tx_aborts_total{$where}[10m])) > $threshold",
        hold="10m",
        severity="warning",
        summary="Transactions are aborted repeatedly.",
        first="Look at the reason: fenced means two workers of one slot; delivery and broker mean the brokers.",
        threshold=0.02,
    ),
    Alert(
        name="SluicegateCommitFailures",
        group="delivery",
        expr="sum(rate(sluicegate_commit_failures_total{$where}[10m])) > $threshold",
        hold="10m",
        severity="warning",
        summary="Transactions fail to commit.",
        first="Act as for SluicegateTransactionAborts; nothing is lost, but answers come late.",
        threshold=0.02,
    ),
    Alert(
        name="SluicegateRebalanceStorm",
        group="delivery",
        expr='sum(increase(sluicegate_rebalances_total{reason=~"revoked|lost",$where}[10m])) > $threshold',
        hold="0m",
        severity="warning",
        summary="Partitions change hands repeatedly.",
        first="Look for workers that restart, polls that are too far apart, or an autoscaler that oscillates.",
        threshold=5,
    ),
    Alert(
        name="SluicegateActorRestarts",
        group="delivery",
        expr="sum by (role) (increase(sluicegate_actor_restarts_total{$where}[15m])) > $threshold",
        hold="0m",
        severity="warning",
        summary="Actors are replaced repeatedly.",
        first="Check memory first: the pod's limit, then the log of the actor that ended.",
        threshold=3,
    ),
    Alert(
        name="SluicegateTelemetryDropped",
        group="delivery",
        expr="sum by (signal) (rate(sluicegate_telemetry_dropped_total{$where}[15m])) > 0",
        hold="15m",
        severity="ticket",
        summary="Spans or metrics are lost on their way to the collector.",
        first="Check that the collector is up and fast enough. Audit records are not affected.",
    ),
)
