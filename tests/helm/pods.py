"""Every pod that the objects of a release lead to, those of the Ray operator included; what Pod Security demands."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from msgspec import Struct

from tests.helm.engine import Document

Template = dict[str, Any]

VOLUME_KINDS = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
RAY_METRICS_PORT = {"name": "metrics", "containerPort": 8080, "protocol": "TCP"}


class Pod(Struct, frozen=True, kw_only=True):
    """`owner` says what makes it; `template` has `metadata` and `spec`."""

    owner: str
    template: Template

    @property
    def spec(self) -> Template:
        return self.template["spec"]

    @property
    def labels(self) -> dict[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def containers(self) -> list[Template]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def is_gpu(self) -> bool:
        limits = (container.get("resources", {}).get("limits", {}) for container in self.containers)
        return any("gpu" in resource for each in limits for resource in each)


def pods(documents: list[Document]) -> list[Pod]:
    """All pods of a release."""
    return [pod for document in documents for pod in _pods(document)]


def _pods(document: Document) -> Iterator[Pod]:
    owner = f"{document['kind']}/{document['metadata']['name']}"
    spec = document.get("spec", {})
    match document["kind"]:
        case "Pod":
            yield Pod(owner=owner, template={"metadata": document["metadata"], "spec": spec})
        case "CronJob":
            yield Pod(owner=owner, template=spec["jobTemplate"]["spec"]["template"])
        case "Deployment" | "StatefulSet" | "Job" | "DaemonSet":
            yield Pod(owner=owner, template=spec["template"])
        case "RayService":
            yield from _ray_pods(owner, spec["rayClusterConfig"])
        case _:
            return


def _ray_pods(owner: str, cluster: Template) -> Iterator[Pod]:
    """As KubeRay makes them: a metrics port each, an autoscaler beside the head, a wait before every worker."""
    head = deepcopy(cluster["headGroupSpec"]["template"])
    _operator_labels(head, "head", "headgroup")
    if cluster.get("enableInTreeAutoscaling"):
        options = cluster["autoscalerOptions"]
        image = head["spec"]["containers"][0]["image"]
        scaler = {
            "name": "autoscaler",
            "image": image,
            "command": ["/bin/bash", "-c"],
            "args": ["ray kuberay-autoscaler"],
        }
        head["spec"]["containers"].append(
            scaler | {"resources": options["resources"], "securityContext": options["securityContext"]}
        )
        head["spec"]["restartPolicy"] = "Never"
    yield Pod(owner=f"{owner} head", template=head)
    for group in cluster["workerGroupSpecs"]:
        worker = deepcopy(group["template"])
        _operator_labels(worker, "worker", group["groupName"])
        main = worker["spec"]["containers"][0]
        wait = {
            "name": "wait-gcs-ready",
            "image": main["image"],
            "command": ["/bin/bash", "-c"],
            "args": ["until ray health-check; do sleep 5; done"],
        }
        small = {"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}}
        copied = {key: main[key] for key in ("env", "securityContext", "volumeMounts") if key in main}
        worker["spec"].setdefault("initContainers", []).append(wait | copied | {"resources": small})
        yield Pod(owner=f"{owner} {group['groupName']}", template=worker)


def _operator_labels(template: Template, kind: str, group: str) -> None:
    template["metadata"]["labels"] |= {
        "app.kubernetes.io/name": "kuberay",
        "ray.io/cluster": "cluster",
        "ray.io/node-type": kind,
        "ray.io/group": group,
    }
    template["spec"]["containers"][0].setdefault("ports", []).append(RAY_METRICS_PORT)


def restricted_problems(pod: Pod) -> list[str]:
    """What Pod Security "restricted" refuses, and what we ask beyond it: a read-only root but on GPUs, no API token."""
    spec = pod.spec
    context = spec.get("securityContext", {})
    problems = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if context.get("sysctls"):
        problems.append("sysctls")
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= VOLUME_KINDS:
            problems.append(f"volume {volume['name']}: {sorted(kinds - VOLUME_KINDS)}")
    for container in [*pod.containers, *spec.get("ephemeralContainers", [])]:
        problems += [
            f"{container['name']}: {what}" for what in _container_problems(container, context, is_gpu=pod.is_gpu)
        ]
    if spec.get("automountServiceAccountToken") is not False and not any(
        container["name"] == "autoscaler" for container in pod.containers
    ):
        problems.append("the API token is mounted")
    return [f"{pod.owner}: {problem}" for problem in problems]


def _container_problems(container: Template, pod_context: dict[str, Any], *, is_gpu: bool) -> Iterator[str]:
    own = container.get("securityContext", {})
    both = {**pod_context, **own}
    rules = {
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities are not all dropped": "ALL" in own.get("capabilities", {}).get("drop", []),
        "capabilities added": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
        "may run as root": both.get("runAsNonRoot") is True and both.get("runAsUser") != 0,
        "no seccomp profile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
        "procMount": own.get("procMount", "Default") == "Default",
        "SELinux": both.get("seLinuxOptions", {}).get("type", "") in {"", "container_t", "container_init_t"},
        "host port": not any("hostPort" in port for port in container.get("ports", [])),
        "host of a probe": not any(
            "host" in container.get(probe, {}).get("httpGet", {})
            for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        ),
        "root is writable": own.get("readOnlyRootFilesystem") is True or is_gpu,
    }
    yield from (what for what, holds in rules.items() if not holds)
