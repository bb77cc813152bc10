"""Metrics of other exporters that alerts and dashboards read. A test checks every expression against these names.

vLLM's names were read from its `/metrics` (0.32.0), Ray's from its agent (2.60), KubeRay's from its operator (1.7);
those of kube-state-metrics are its documented stable ones.
"""

from typing import Final

VLLM: Final = frozenset(
    {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:num_requests_waiting_by_reason",
        "vllm:kv_cache_usage_perc",
        "vllm:request_success_total",
        "vllm:admission_rejections_total",
        "vllm:num_preemptions_total",
        "vllm:prompt_tokens_total",
        "vllm:generation_tokens_total",
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total",
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:inter_token_latency_seconds_bucket",
        "vllm:e2e_request_latency_seconds_bucket",
        "vllm:request_queue_time_seconds_bucket",
    }
)
RAY: Final = frozenset(
    {
        "ray_actors",
        "ray_tasks",
        "ray_node_mem_used_host",
        "ray_node_cgroup_mem_used",
        "ray_object_store_memory",
        "ray_node_gpus_utilization",
        "ray_memory_manager_worker_eviction_total",
        "ray_node_manager_unexpected_worker_failure_total",
    }
)
KUBERAY: Final = frozenset(
    {
        "kuberay_cluster_condition_provisioned",
        "kuberay_service_condition_ready",
        "kuberay_service_condition_upgrade_in_progress",
    }
)
KUBERNETES: Final = frozenset(
    {
        "kube_deployment_status_replicas_available",
        "kube_pod_status_phase",
        "kube_poddisruptionbudget_status_pod_disruptions_allowed",
        "kube_pod_container_resource_limits",
        "kube_pod_container_status_restarts_total",
    }
)
FOREIGN: Final = VLLM | RAY | KUBERAY | KUBERNETES
