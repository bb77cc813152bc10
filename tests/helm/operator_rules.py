"""What KubeRay 1.7 checks in Go, after the schema: broken, the operator marks the resource invalid and does nothing.

Source: ray-project/kuberay v1.7.0, `ray-operator/controllers/ray/utils/validation.go`.
"""

import re
from collections.abc import Iterator

import yaml

from tests.helm.engine import Document

RAYSERVICE_NAME_MAX = 47
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
TOKEN_SINCE = (2, 52)
SELECTED = ("app.kubernetes.io/name", "app.kubernetes.io/created-by")
"""Labels of pods that a template can overwrite and the operator's Services select by (`common/service.go`)."""
GATED = ("networkPolicy", "tlsOptions", "historyServerOptions")
"""Alpha in 1.7: set while their gate is off, the resource is invalid."""


def rayservice_problems(documents: list[Document]) -> list[str]:
    """Broken rules over all RayServices."""
    return [problem for document in documents if document["kind"] == "RayService" for problem in _problems(document)]


def _problems(service: Document) -> Iterator[str]:
    name, spec = service["metadata"]["name"], service["spec"]
    cluster = spec["rayClusterConfig"]
    if len(name) > RAYSERVICE_NAME_MAX or not DNS_1035.fullmatch(name):
        yield f"name {name!r}"
    if spec["upgradeStrategy"]["type"] not in {"NewCluster", "None"}:
        yield f"upgrade strategy {spec['upgradeStrategy']}"
    if not isinstance(yaml.safe_load(spec["serveConfigV2"]), dict):
        yield "serveConfigV2 is no document"
    yield from (f"{field} is behind a gate" for field in GATED if field in cluster)
    if cluster["authOptions"]["mode"] == "token" and _version(cluster["rayVersion"]) < TOKEN_SINCE:
        yield "token authentication with an old Ray"
    yield from _group_problems(cluster)
    yield from _scaling_problems(cluster)
    yield from _storage_problems(cluster)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def _group_problems(cluster: Document) -> Iterator[str]:
    groups = cluster["workerGroupSpecs"]
    names = [group["groupName"] for group in groups]
    if len(set(names)) < len(names):
        yield f"groups {names}"
    for group in groups:
        if not 0 <= group["minReplicas"] <= group["maxReplicas"]:
            yield f"{group['groupName']}: min {group['minReplicas']}, max {group['maxReplicas']}"
        if not group["template"]["spec"]["containers"]:
            yield f"{group['groupName']}: no container"
        if any(not isinstance(value, str) for value in group["rayStartParams"].values()):
            yield f"{group['groupName']}: rayStartParams are strings"
        if "readinessProbe" not in group["template"]["spec"]["containers"][0]:
            yield f"{group['groupName']}: the injected readiness probe would wait for a Serve replica"
    for template in _templates(cluster):
        yield from (
            f"label {label} hides the pod from the operator's Services"
            for label in SELECTED
            if label in template["metadata"]["labels"]
        )
    if cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] != "0":
        yield "work may land on the head"


def _templates(cluster: Document) -> list[Document]:
    return [cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]


def _storage_problems(cluster: Document) -> Iterator[str]:
    options = cluster.get("gcsFaultToleranceOptions", {})
    if options.get("backend") == "rocksdb" and options.keys() & {"redisAddress", "redisUsername", "redisPassword"}:
        yield "Redis with rocksdb"
    if options.get("backend") == "redis" and "storage" in options:
        yield "storage with Redis"
    environment = {
        variable["name"] for variable in cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    }
    if environment & {"RAY_REDIS_ADDRESS", "REDIS_PASSWORD", "REDIS_USERNAME", "RAY_enable_autoscaler_v2"}:
        yield "the operator sets these itself"


def _scaling_problems(cluster: Document) -> Iterator[str]:
    is_scaled = cluster["enableInTreeAutoscaling"]
    templates = _templates(cluster)
    if (
        is_scaled
        and cluster["autoscalerOptions"]["version"] == "v2"
        and any("restartPolicy" in each["spec"] for each in templates)
    ):
        yield "autoscaler v2 sets restartPolicy itself"
    for group in cluster["workerGroupSpecs"]:
        if is_scaled == ("replicas" in group):
            yield f"{group['groupName']}: replicas belong to the autoscaler exactly where there is one"
        if "idleTimeoutSeconds" in group and not is_scaled:
            yield f"{group['groupName']}: idleTimeoutSeconds needs the autoscaler"
    if is_scaled and cluster["headGroupSpec"]["template"]["spec"]["automountServiceAccountToken"] is not True:
        yield "the autoscaler needs an API token"
