"""Alerts on what surrounds the workers: the door, models, Ray, Kubernetes."""

from typing import Final

from helm.monitoring.alert import VOLUME_FLOOR, Alert

_DOOR_ASKED: Final = 'sum(rate(sluicegate_door_requests_total{route=~"/v1/.*",$where}[5m]))'
_DOOR_FAILED: Final = 'sum(rate(sluicegate_door_requests_total{route=~"/v1/.*",status=~"5..",$where}[5m]))'
_CANCELS_SENT: Final = 'sum(increase(sluicegate_door_cancellations_total{outcome="sent",$where}[15m]))'
_CANCELS_TAKEN: Final = 'sum(increase(sluicegate_cancellations_total{outcome="taken",$where}[15m]))'

DOOR: Final = (
    Alert(
        name="SluicegateDoorDown",
        group="door",
        expr='max by (deployment) (kube_deployment_status_replicas_available{deployment=~".*-door",$where}) == 0',
        hold="2m",
        severity="page",
        summary="No door is ready: whoever asks over HTTP is refused.",
        first="`kubectl logs` of a door says why; without brokers no door becomes ready.",
    ),
    Alert(
        name="SluicegateDoorErrors",
        group="door",
        expr=(
            f"{_DOOR_FAILED} / clamp_min({_DOOR_ASKED}, {VOLUME_FLOOR}) > $threshold and {_DOOR_ASKED} > {VOLUME_FLOOR}"
        ),
        hold="5m",
        severity="warning",
        summary="More than one request in twenty at the door is answered 5xx.",
        first="Look at the status: 503 is brokers or too much under way, 504 a guard, a model or the deadline.",
        threshold=0.05,
    ),
    Alert(
        name="SluicegateCancelsUnheard",
        group="door",
        expr=f"{_CANCELS_SENT} > $threshold and ({_CANCELS_TAKEN} or vector(0)) == 0",
        hold="10m",
        severity="warning",
        summary="Doors cancel events of clients that have gone, and no worker hears of it: models answer nobody.",
        first="`sluicegate check` says whether workers may read `topics.cancel`, and whether it exists.",
        threshold=5,
    ),
)

MODELS: Final = (
    Alert(
        name="SluicegateModelDown",
        group="models",
        expr="max by (model) (sluicegate_llm_circuit_state{$where}) == 2",
        hold="2m",
        severity="page",
        summary="A model's circuit breaker has been open for two minutes.",
        first="Bring the model back: without a generator events wait; without a judge their drafts are withheld.",
    ),
    Alert(
        name="SluicegateModelErrors",
        group="models",
        expr=(
            "sum by (model) (rate(sluicegate_llm_errors_total{$where}[10m]))"
            " / clamp_min(sum by (model) (rate(sluicegate_llm_request_duration_seconds_count{$where}[10m])), 0.1)"
            " > $threshold"
        ),
        hold="10m",
        severity="warning",
        summary="More than one request in twenty to a model fails.",
        first="Look at the reason: refused means credentials, overloaded means capacity.",
        threshold=0.05,
    ),
    Alert(
        name="VLLMQueueHigh",
        group="models",
        expr="sum by (model_name) (vllm:num_requests_waiting{$where}) > $threshold",
        hold="5m",
        severity="warning",
        summary="Requests wait in the engine's queue.",
        first="Add a replica, or lower `limits.in_flight_max`.",
        threshold=64,
    ),
    Alert(
        name="VLLMCacheFull",
        group="models",
        expr="max by (model_name) (vllm:kv_cache_usage_perc{$where}) > $threshold",
        hold="10m",
        severity="warning",
        summary="The engine's KV cache is full.",
        first="Use shorter contexts, fewer sequences, or more memory.",
        threshold=0.95,
    ),
    Alert(
        name="VLLMPreemptions",
        group="models",
        expr="sum by (model_name) (rate(vllm:num_preemptions_total{$where}[10m])) > $threshold",
        hold="10m",
        severity="warning",
        summary="The engine preempts running requests to make room.",
        first="Act as for VLLMCacheFull.",
        threshold=0.1,
    ),
    Alert(
        name="VLLMFirstTokenSlow",
        group="models",
        expr=(
            "histogram_quantile(0.95, sum by (le, model_name)"
            " (rate(vllm:time_to_first_token_seconds_bucket{$where}[10m]))) > $threshold"
        ),
        hold="10m",
        severity="warning",
        summary="The first token takes too long.",
        first="Compare queue time and prefill time on the vLLM dashboard.",
        threshold=5,
    ),
    Alert(
        name="VLLMAdmissionRejections",
        group="models",
        expr="sum by (model_name) (rate(vllm:admission_rejections_total{$where}[5m])) > 0",
        hold="5m",
        severity="warning",
        summary="The engine rejects requests.",
        first="It is at its limit: scale it.",
    ),
)

PLATFORM: Final = (
    Alert(
        name="RayHeadDown",
        group="platform",
        expr="min by (name) (kuberay_cluster_condition_provisioned{$where}) == 0",
        hold="5m",
        severity="page",
        summary="A Ray cluster is not provisioned.",
        first="Look at the head's pod: its events, its memory.",
    ),
    Alert(
        name="RayWorkersLost",
        group="platform",
        expr="sum(rate(ray_node_manager_unexpected_worker_failure_total{$where}[10m])) > 0",
        hold="10m",
        severity="warning",
        summary="Ray loses worker processes.",
        first="Out of memory is the usual cause.",
    ),
    Alert(
        name="RayServiceUpgradeStuck",
        group="platform",
        expr="max by (name) (kuberay_service_condition_upgrade_in_progress{$where}) == 1",
        hold="30m",
        severity="warning",
        summary="An upgrade of a RayService has not finished for half an hour.",
        first="Look at the new cluster's pods: pending, crash loop, or not ready?",
    ),
    Alert(
        name="DisruptionBudgetBlocked",
        group="platform",
        expr="min by (poddisruptionbudget) (kube_poddisruptionbudget_status_pod_disruptions_allowed{$where}) == 0",
        hold="15m",
        severity="warning",
        summary="A disruption budget allows no eviction, so node drains wait.",
        first="Find the pod that is not ready.",
    ),
    Alert(
        name="PodsPending",
        group="platform",
        expr='sum(kube_pod_status_phase{phase="Pending",$where}) > 0',
        hold="15m",
        severity="warning",
        summary="Pods are pending.",
        first="`kubectl describe pod` says why: usually GPUs or quota.",
    ),
)
