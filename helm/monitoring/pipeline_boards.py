"""Dashboards of Sluicegate itself: overview, guard quality, stages, Kafka, audit."""

from typing import Final

from helm.monitoring.panel import Board, Panel, Query
from helm.monitoring.queries import percentiles, quantile, rate

_HELD_BACK: Final = 'action!="published"'

OVERVIEW: Final = Board(
    uid="sluicegate-overview",
    title="Sluicegate / Overview",
    about="Is every event answered, in time, and does the gate hold?",
    panels=(
        Panel(
            title="Events in and answers out",
            unit="reqps",
            queries=(
                Query(rate("sluicegate_events_consumed_total"), "in"),
                Query(rate("sluicegate_events_published_total", "topic"), "out {{topic}}"),
            ),
        ),
        Panel(
            title="Time from the broker to the visible answer",
            unit="s",
            queries=percentiles("sluicegate_event_duration_seconds"),
            about="Exemplars link to the trace.",
        ),
        Panel(
            title="Oldest event in flight",
            unit="s",
            red_from=60,
            queries=(Query("max by (topic) (sluicegate_consumer_lag_seconds{$where})", "{{topic}}"),),
        ),
        Panel(
            title="What became of events",
            unit="reqps",
            queries=(Query(rate("sluicegate_actions_total", "action"), "{{action}}"),),
        ),
        Panel(
            title="Withheld because a guard could not judge",
            unit="reqps",
            queries=(Query(rate("sluicegate_fail_closed_total", "stage, reason"), "{{stage}} {{reason}}"),),
        ),
        Panel(
            title="Published without every check",
            kind="stat",
            red_from=1,
            width=4,
            queries=(Query("sum(increase(sluicegate_unscreened_published_total{$where}[24h]))"),),
            about="Must be 0.",
        ),
        Panel(
            title="Probes",
            kind="stat",
            width=4,
            queries=(Query("min by (case) (sluicegate_canary_result{$where})", "{{case}}"),),
            about="1: the probe ended as it must.",
        ),
        Panel(
            title="Since a probe last ended well",
            kind="stat",
            unit="s",
            red_from=900,
            width=4,
            queries=(Query("time() - max(sluicegate_canary_last_success_timestamp_seconds{$where})"),),
        ),
        Panel(
            title="Dead letters",
            unit="reqps",
            width=4,
            queries=(Query(rate("sluicegate_dlq_total", "reason"), "{{reason}}"),),
        ),
        Panel(
            title="Policy in force",
            kind="table",
            queries=(Query("count by (version, hash) (sluicegate_policy_info{$where} == 1)"),),
            about="Workers by policy; more than one line for a long time is skew.",
        ),
        Panel(
            title="Requests to the door",
            unit="reqps",
            queries=(Query(rate("sluicegate_door_requests_total", "status"), "{{status}}"),),
        ),
        Panel(
            title="From a request to its answer, at the door",
            unit="s",
            queries=percentiles("sluicegate_door_request_duration_seconds"),
        ),
        Panel(
            title="At the door: events under way, answers known",
            queries=(
                Query("sum(sluicegate_door_waiting{$where})", "under way"),
                Query("max(sluicegate_door_index_answers{$where})", "known"),
            ),
        ),
        Panel(
            title="At the door: streams",
            queries=(
                Query("sum(sluicegate_door_streams{$where})", "not whole yet"),
                Query(rate("sluicegate_door_streams_closed_total"), "closed a second"),
            ),
        ),
        Panel(
            title="Events cancelled because their clients had gone",
            unit="reqps",
            queries=(
                Query(rate("sluicegate_door_cancellations_total", "outcome"), "door: {{outcome}}"),
                Query(rate("sluicegate_cancellations_total", "outcome"), "workers: {{outcome}}"),
                Query(rate("sluicegate_actions_total", "reason", 'reason="client_gone"'), "ended early"),
                Query("sum(sluicegate_cancellations_known{$where})", "unfinished"),
            ),
        ),
        Panel(
            title="Actors",
            queries=(Query("sum by (role, state) (sluicegate_actors{$where})", "{{role}} {{state}}"),),
        ),
    ),
)

QUALITY: Final = Board(
    uid="sluicegate-guards",
    title="Sluicegate / Guard quality",
    about="What the guards say, compared with last week and by policy version.",
    panels=(
        Panel(
            title="Verdicts",
            unit="reqps",
            queries=(Query(rate("sluicegate_verdicts_total", "verdict"), "{{verdict}}"),),
        ),
        Panel(
            title="Verdicts other than publish, by category",
            unit="reqps",
            queries=(Query(rate("sluicegate_verdicts_total", "category", 'verdict!="publish"'), "{{category}}"),),
        ),
        Panel(
            title="Share of answers not published unchanged, now and a week ago",
            unit="percentunit",
            queries=(
                Query(
                    f"{rate('sluicegate_actions_total', only=_HELD_BACK)} / {rate('sluicegate_actions_total')}",
                    "now",
                ),
                Query(
                    'sum(rate(sluicegate_actions_total{action!="published",$where}[30m] offset 7d))'
                    " / sum(rate(sluicegate_actions_total{$where}[30m] offset 7d))",
                    "a week ago",
                ),
            ),
        ),
        Panel(
            title="Verdicts by policy version",
            unit="reqps",
            width=12,
            queries=(
                Query(rate("sluicegate_verdicts_total", "policy_version, verdict"), "{{policy_version}} {{verdict}}"),
            ),
            about="Before and after a roll-out.",
        ),
        Panel(
            title="How much of each request was answered",
            unit="reqps",
            width=12,
            queries=(Query(rate("sluicegate_safe_completion_total", "kind"), "{{kind}}"),),
        ),
        Panel(
            title="Shadow policies",
            unit="reqps",
            width=12,
            queries=(
                Query(
                    rate("sluicegate_shadow_decisions_total", "policy_version, outcome"),
                    "{{policy_version}} {{outcome}}",
                ),
            ),
            about="How candidate policies would have decided, compared with the live one.",
        ),
        Panel(
            title="Further drafts",
            unit="reqps",
            width=12,
            queries=(
                Query(rate("sluicegate_regenerations_total"), "after a verdict"),
                Query(rate("sluicegate_retries_total", "reason"), "retry {{reason}}"),
            ),
        ),
    ),
)

STAGES: Final = Board(
    uid="sluicegate-stages",
    title="Sluicegate / Stages and actors",
    about="Where an event's time is spent, and which part is slow.",
    panels=(
        Panel(
            title="Stage, 95th percentile",
            unit="s",
            queries=(quantile(0.95, "sluicegate_stage_duration_seconds", "stage"),),
        ),
        Panel(
            title="Waiting for a turn",
            queries=(Query("max by (part) (sluicegate_concurrency_waiting{$where})", "{{part}}"),),
        ),
        Panel(
            title="Begun at once, and the most that may be",
            queries=(
                Query("max by (part) (sluicegate_concurrency_begun{$where})", "{{part}}"),
                Query("min by (part) (sluicegate_concurrency_limit{$where})", "{{part}}, limit"),
            ),
            about="The limit adapts to the pace of each part; a low one says which part is slow.",
        ),
        Panel(
            title="Clock ahead of the records' times",
            unit="s",
            queries=(Query("max(sluicegate_clock_skew_seconds{$where})"),),
        ),
        Panel(
            title="Stage failures",
            unit="reqps",
            queries=(
                Query(rate("sluicegate_stage_errors_total", "stage, reason"), "{{stage}} {{reason}}"),
                Query(rate("sluicegate_stage_timeouts_total", "stage"), "{{stage}} late"),
                Query(rate("sluicegate_partly_read_total", "stage"), "{{stage}} partly read"),
            ),
        ),
        Panel(
            title="Time of one event in the worker",
            kind="heatmap",
            unit="s",
            width=12,
            queries=(Query(rate("sluicegate_processing_duration_seconds_bucket", "le"), "{{le}}"),),
        ),
        Panel(
            title="In flight",
            width=12,
            queries=(
                Query("sum(sluicegate_inflight_events{$where})", "events"),
                Query("max(sluicegate_backpressure_paused{$where})", "paused"),
            ),
        ),
        Panel(
            title="Requests to models, 95th percentile",
            unit="s",
            queries=(quantile(0.95, "sluicegate_llm_request_duration_seconds", "model"),),
        ),
        Panel(
            title="Failed requests to models, and circuit breakers",
            queries=(
                Query(rate("sluicegate_llm_errors_total", "model, reason"), "{{model}} {{reason}}"),
                Query("max by (model) (sluicegate_llm_circuit_state{$where})", "{{model}} breaker"),
            ),
        ),
        Panel(
            title="Tokens of a request, median by kind",
            queries=(quantile(0.5, "sluicegate_llm_request_tokens", "kind"),),
        ),
        Panel(
            title="Tokens",
            queries=(Query(rate("sluicegate_llm_tokens_total", "model, kind"), "{{model}} {{kind}}"),),
        ),
        Panel(
            title="First text of a streamed answer",
            unit="s",
            queries=percentiles("sluicegate_stream_first_text_seconds"),
        ),
        Panel(
            title="Held characters of streamed answers, median",
            queries=(quantile(0.5, "sluicegate_stream_held_characters"),),
        ),
        Panel(
            title="Streamed answers: stopped, tokens saved, faults in what had left",
            queries=(
                Query(rate("sluicegate_stream_aborts_total", "verdict"), "stopped: {{verdict}}"),
                Query(rate("sluicegate_stream_tokens_saved_total"), "tokens saved, at most"),
                Query("sum(increase(sluicegate_stream_released_over_total{$where}[1h]))", "released over"),
            ),
        ),
        Panel(
            title="Actors replaced",
            queries=(Query("sum by (role) (increase(sluicegate_actor_restarts_total{$where}[15m]))", "{{role}}"),),
        ),
        Panel(
            title="Records that cannot be read",
            queries=(Query("sum(increase(sluicegate_unreadable_records_total{$where}[1h]))", "records"),),
        ),
        Panel(
            title="Records removed before they were read",
            queries=(Query("sum(increase(sluicegate_records_lost_total{$where}[1h]))", "records"),),
        ),
        Panel(
            title="Records being processed in a crash",
            queries=(Query("sum(increase(sluicegate_suspects_total{$where}[1h]))", "suspects"),),
        ),
        Panel(
            title="Telemetry lost",
            queries=(Query(rate("sluicegate_telemetry_dropped_total", "signal"), "{{signal}}"),),
        ),
    ),
)

KAFKA: Final = Board(
    uid="sluicegate-kafka",
    title="Sluicegate / Kafka",
    about="Lag, membership, transactions.",
    panels=(
        Panel(
            title="Records not committed, by partition",
            queries=(Query("max by (topic, partition) (sluicegate_consumer_lag{$where})", "{{topic}} {{partition}}"),),
        ),
        Panel(
            title="Time that a partition has stood still",
            unit="s",
            queries=(
                Query(
                    "max by (topic, partition) (sluicegate_partition_standstill_seconds{$where})",
                    "{{topic}} {{partition}}",
                ),
            ),
        ),
        Panel(
            title="Window in use",
            unit="percentunit",
            red_from=1,
            queries=(Query("max by (topic, partition) (sluicegate_window_fill{$where})", "{{topic}} {{partition}}"),),
        ),
        Panel(
            title="Offset map",
            red_from=4096,
            queries=(
                Query("max by (topic, partition) (sluicegate_offset_map_chars{$where})", "{{topic}} {{partition}}"),
            ),
        ),
        Panel(
            title="Transaction",
            unit="s",
            queries=percentiles("sluicegate_commit_duration_seconds"),
        ),
        Panel(
            title="Transactions that did not commit",
            unit="reqps",
            queries=(
                Query(rate("sluicegate_tx_aborts_total", "reason"), "aborted {{reason}}"),
                Query(rate("sluicegate_commit_failures_total", "reason"), "failed {{reason}}"),
            ),
        ),
        Panel(
            title="Rebalances",
            queries=(
                Query("sum by (reason) (increase(sluicegate_rebalances_total{$where}[10m]))", "{{reason}}"),
                Query("sum(sluicegate_assigned_partitions{$where})", "assigned partitions"),
            ),
        ),
        Panel(
            title="Conversation state held",
            unit="bytes",
            queries=(
                Query("sum(sluicegate_state_bytes{$where})", "bytes"),
                Query("sum(sluicegate_state_conversations{$where})", "conversations"),
                Query(rate("sluicegate_state_evictions_total"), "evicted a second"),
            ),
        ),
        Panel(
            title="Conversation state being read back",
            queries=(
                Query("sum(sluicegate_state_restores_pending{$where})", "partitions that wait for it"),
                Query("sum(increase(sluicegate_state_restore_failures_total{$where}[10m]))", "failures"),
            ),
        ),
        Panel(
            title="Second copies of answered events",
            unit="reqps",
            queries=(Query(rate("sluicegate_duplicates_suppressed_total"), "duplicates"),),
        ),
        Panel(
            title="Stopped partitions that wait for repair",
            kind="stat",
            red_from=1,
            queries=(Query("sum(sluicegate_stopped_partitions{$where})"),),
        ),
        Panel(
            title="Streamed events: runs opened and given up, records written",
            unit="reqps",
            queries=(
                Query(rate("sluicegate_stream_runs_total", "outcome"), "run {{outcome}}"),
                Query(rate("sluicegate_stream_records_total", "outcome"), "record {{outcome}}"),
            ),
        ),
        Panel(
            title="Reading a stream back",
            unit="s",
            queries=percentiles("sluicegate_stream_read_back_seconds"),
        ),
        Panel(
            title="What workers keep of streams",
            unit="bytes",
            queries=(Query("sum(sluicegate_stream_kept_bytes{$where})", "kept"),),
        ),
        Panel(
            title="Topics that are followed: failures",
            unit="reqps",
            queries=(Query(rate("sluicegate_follow_failures_total", "topic"), "{{topic}}"),),
        ),
    ),
)

AUDIT: Final = Board(
    uid="sluicegate-audit",
    title="Sluicegate / Audit and compliance",
    about="Every answer has its record, and all workers judge by one policy.",
    panels=(
        Panel(
            title="Answers and audit records",
            unit="reqps",
            width=12,
            queries=(Query(rate("sluicegate_events_published_total", "topic"), "{{topic}}"),),
            about="Both are written in one transaction, so the two lines must coincide.",
        ),
        Panel(
            title="Workers by policy",
            width=12,
            queries=(Query("count by (version, hash) (sluicegate_policy_info{$where} == 1)", "{{version}} {{hash}}"),),
        ),
        Panel(
            title="Policies refused",
            queries=(
                Query("sum by (reason) (increase(sluicegate_policy_reload_failures_total{$where}[1h]))", "{{reason}}"),
            ),
        ),
        Panel(
            title="Grants",
            unit="reqps",
            queries=(Query(rate("sluicegate_grants_total", "status"), "{{status}}"),),
        ),
        Panel(
            title="Events by tenants' budgets",
            unit="reqps",
            queries=(Query(rate("sluicegate_tenant_events_total", "budget, outcome"), "{{budget}} {{outcome}}"),),
        ),
        Panel(
            title="Withheld answers by tenant",
            unit="reqps",
            queries=(
                Query(
                    rate("sluicegate_tenant_actions_total", "known_tenant, reason", 'action="withheld"'),
                    "{{known_tenant}} {{reason}}",
                ),
            ),
        ),
        Panel(
            title="Use of tenants in memory",
            queries=(
                Query("sum(sluicegate_tenants{$where})", "tenants"),
                Query("sum(sluicegate_usage_restores_pending{$where})", "partitions that wait for it"),
            ),
        ),
        Panel(
            title="Versions running",
            kind="table",
            queries=(Query("count by (version, role) (sluicegate_build_info{$where})"),),
        ),
    ),
)
