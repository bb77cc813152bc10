"""Dashboards of what Sluicegate depends on: vLLM, Ray, Kubernetes."""

from typing import Final

from helm.monitoring.panel import Board, Panel, Query
from helm.monitoring.queries import quantile, rate

VLLM: Final = Board(
    uid="sluicegate-vllm",
    title="Sluicegate / vLLM",
    about="The engine's own metrics, beside Sluicegate's metrics of the same requests.",
    panels=(
        Panel(
            title="Requests in the engine",
            queries=(
                Query("sum by (model_name) (vllm:num_requests_running{$where})", "{{model_name}} running"),
                Query(
                    "sum by (model_name, reason) (vllm:num_requests_waiting_by_reason{$where})",
                    "{{model_name}} waits: {{reason}}",
                ),
            ),
        ),
        Panel(
            title="KV cache",
            unit="percentunit",
            red_from=0.95,
            queries=(Query("max by (model_name) (vllm:kv_cache_usage_perc{$where})", "{{model_name}}"),),
        ),
        Panel(
            title="Prefix cache hits",
            unit="percentunit",
            queries=(
                Query(
                    f"{rate('vllm:prefix_cache_hits_total', 'model_name')}"
                    f" / {rate('vllm:prefix_cache_queries_total', 'model_name')}",
                    "{{model_name}}",
                ),
            ),
            about="The policy's part of a prompt comes first, so that the engine can reuse it.",
        ),
        Panel(
            title="First token",
            unit="s",
            queries=(quantile(0.95, "vllm:time_to_first_token_seconds", "model_name"),),
        ),
        Panel(
            title="Between tokens",
            unit="s",
            queries=(quantile(0.95, "vllm:inter_token_latency_seconds", "model_name"),),
        ),
        Panel(
            title="Whole request, and its time in the queue",
            unit="s",
            queries=(
                quantile(0.95, "vllm:e2e_request_latency_seconds", "model_name"),
                quantile(0.95, "vllm:request_queue_time_seconds", "model_name"),
            ),
        ),
        Panel(
            title="Tokens a second",
            queries=(
                Query(rate("vllm:prompt_tokens_total", "model_name"), "{{model_name}} prompt"),
                Query(rate("vllm:generation_tokens_total", "model_name"), "{{model_name}} generated"),
            ),
        ),
        Panel(
            title="How requests ended",
            unit="reqps",
            queries=(Query(rate("vllm:request_success_total", "finished_reason"), "{{finished_reason}}"),),
        ),
        Panel(
            title="Requests preempted and rejected",
            unit="reqps",
            queries=(
                Query(rate("vllm:num_preemptions_total", "model_name"), "{{model_name}} preempted"),
                Query(rate("vllm:admission_rejections_total", "reason"), "turned away: {{reason}}"),
            ),
        ),
    ),
)

PLATFORM: Final = Board(
    uid="sluicegate-platform",
    title="Sluicegate / Ray and Kubernetes",
    about="What the actors run on.",
    panels=(
        Panel(
            title="Ray actors",
            queries=(Query("sum by (State) (ray_actors{$where})", "{{State}}"),),
        ),
        Panel(
            title="Memory of Ray nodes",
            unit="bytes",
            queries=(
                Query("sum by (instance) (ray_node_mem_used_host{$where})", "host {{instance}}"),
                Query("sum by (instance) (ray_node_cgroup_mem_used{$where})", "pod {{instance}}"),
            ),
        ),
        Panel(
            title="Workers lost, and workers evicted for memory",
            queries=(
                Query(rate("ray_node_manager_unexpected_worker_failure_total"), "lost"),
                Query(rate("ray_memory_manager_worker_eviction_total"), "evicted"),
            ),
        ),
        Panel(
            title="GPUs",
            unit="percent",
            queries=(Query("avg by (instance) (ray_node_gpus_utilization{$where})", "{{instance}}"),),
        ),
        Panel(
            title="Object store",
            unit="bytes",
            queries=(Query("sum by (instance) (ray_object_store_memory{$where})", "{{instance}}"),),
        ),
        Panel(
            title="RayService",
            queries=(
                Query("min by (name) (kuberay_service_condition_ready{$where})", "{{name}} ready"),
                Query("max by (name) (kuberay_service_condition_upgrade_in_progress{$where})", "{{name}} upgrading"),
            ),
        ),
        Panel(
            title="Pods by phase",
            width=12,
            queries=(Query("sum by (phase) (kube_pod_status_phase{$where})", "{{phase}}"),),
        ),
        Panel(
            title="Container restarts",
            width=12,
            queries=(
                Query("sum by (pod) (increase(kube_pod_container_status_restarts_total{$where}[1h]))", "{{pod}}"),
            ),
        ),
    ),
)
