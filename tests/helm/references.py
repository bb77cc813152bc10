"""What objects say of each other: names, selectors, ports, times."""

from collections.abc import Iterator
from typing import Any

from tests.helm.engine import Document
from tests.helm.pods import Pod, Template, pods

PROVIDED = frozenset({"default"})
PRESTOP_MAX_S = 15
RAY_DRAIN_S = 60


def reference_problems(documents: list[Document]) -> list[str]:
    """Everything that names what is not there."""
    all_pods = pods(documents)
    return [
        *_identity_problems(documents),
        *(f"{pod.owner}: {problem}" for pod in all_pods for problem in _pod_problems(pod, documents)),
        *_selector_problems(documents, all_pods),
        *_scaling_problems(documents),
    ]


def _identity_problems(documents: list[Document]) -> Iterator[str]:
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents]
    yield from (f"twice: {name}" for name in names if names.count(name) > 1)
    for document in documents:
        kind, metadata = document["kind"], document["metadata"]
        longest = {"CronJob": 52, "StatefulSet": 52, "RayService": 47}.get(kind, 63)
        if len(metadata["name"]) > longest:
            yield f"{kind} {metadata['name']}: longer than {longest}"
        for label, value in metadata.get("labels", {}).items():
            if not isinstance(value, str) or len(value) > 63:
                yield f"{kind} {metadata['name']}: label {label}={value!r}"


def _named(documents: list[Document], kind: str) -> set[str]:
    return {document["metadata"]["name"] for document in documents if document["kind"] == kind}


def _pod_problems(pod: Pod, documents: list[Document]) -> Iterator[str]:
    spec = pod.spec
    if spec["serviceAccountName"] not in _named(documents, "ServiceAccount") | PROVIDED:
        yield f"service account {spec['serviceAccountName']}"
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for volume in volumes.values():
        yield from _volume_problems(volume, documents)
    for container in pod.containers:
        name = container["name"]
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{name}: mounts {mount['name']}, which is no volume"
            if "subPath" in mount:
                yield f"{name}: {mount['name']} by subPath would never change"
        requests = container["resources"]["requests"]
        if not {"cpu", "memory"} <= set(requests) or "memory" not in container["resources"]["limits"]:
            yield f"{name}: requests {requests}"
        if container["image"].endswith(":latest") or not ({":", "@"} & set(container["image"].rpartition("/")[2])):
            yield f"{name}: image {container['image']}"
        yield from (f"{name}: {problem}" for problem in _probe_problems(container))
    yield from _time_problems(pod)


def _volume_problems(volume: Template, documents: list[Document]) -> Iterator[str]:
    """ConfigMaps of ours are rendered; Secrets never are, and claims of ours are."""
    release = next(
        each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in documents if each["kind"] != "Pod"
    )
    config_map = volume.get("configMap", {}).get("name", "")
    if release in config_map and config_map not in _named(documents, "ConfigMap"):
        yield f"ConfigMap {config_map} is not rendered"
    claim = volume.get("persistentVolumeClaim", {}).get("claimName", "")
    if release in claim and claim not in _named(documents, "PersistentVolumeClaim"):
        yield f"claim {claim} is not rendered"


def _probe_problems(container: Template) -> Iterator[str]:
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        port = container.get(probe, {}).get("httpGet", {}).get("port", 0)
        if isinstance(port, str) and port not in ports:
            yield f"{probe} asks port {port!r}, which is not there"
    if container["name"] == "worker" and not {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container):
        yield "a probe is missing"


def _time_problems(pod: Pod) -> Iterator[str]:
    main = pod.spec["containers"][0]
    grace_s = pod.spec["terminationGracePeriodSeconds"]
    sleep_s = main.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    arguments = main.get("args", [])
    if "--shutdown-timeout" in arguments:
        shutdown_s = int(arguments[arguments.index("--shutdown-timeout") + 1])
        if grace_s < sleep_s + shutdown_s + PRESTOP_MAX_S:
            yield f"grace {grace_s} s is shorter than preStop and shutdown"
    if main["name"] == "worker" and grace_s < RAY_DRAIN_S + 10:
        yield f"grace {grace_s} s is shorter than Ray's drain"


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    plain = selector.get("matchLabels", {}).items() <= labels.items()
    return plain and all(
        (labels.get(each["key"]) in each["values"]) == (each["operator"] == "In")
        for each in selector.get("matchExpressions", [])
    )


def _selector_problems(documents: list[Document], all_pods: list[Pod]) -> Iterator[str]:
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        what = f"{kind} {document['metadata']['name']}"
        match kind:
            case "Service":
                selected = [pod for pod in all_pods if spec["selector"].items() <= pod.labels.items()]
                ports = {port["targetPort"] for port in spec["ports"]}
            case "PodDisruptionBudget" | "NetworkPolicy" | "StatefulSet" | "Deployment":
                selector = spec["podSelector"] if kind == "NetworkPolicy" else spec["selector"]
                selected = [pod for pod in all_pods if matches(selector, pod.labels)]
                ports = set()
            case "PodMonitor":
                selected = [pod for pod in all_pods if matches(spec["selector"], pod.labels)]
                ports = {endpoint["port"] for endpoint in spec["podMetricsEndpoints"]}
            case "ServiceMonitor":
                services = [each for each in documents if each["kind"] == "Service"]
                found = [each for each in services if matches(spec["selector"], each["metadata"]["labels"])]
                selected, ports = (all_pods if found else []), set()
            case _:
                continue
        if not selected:
            yield f"{what} selects no pod"
        for pod in selected if kind != "NetworkPolicy" else []:
            known = {port["name"] for container in pod.containers for port in container.get("ports", [])}
            if not ports <= known:
                yield f"{what}: {pod.owner} has no port {sorted(ports - known)}"


def _scaling_problems(documents: list[Document]) -> Iterator[str]:
    """What an autoscaler owns has no number of replicas of its own."""
    for document in documents:
        if document["kind"] not in {"ScaledObject", "HorizontalPodAutoscaler"}:
            continue
        target = document["spec"]["scaleTargetRef"]
        found = [
            each for each in documents if (each["kind"], each["metadata"]["name"]) == (target["kind"], target["name"])
        ]
        if not found:
            yield f"{document['kind']} scales {target['name']}, which is not there"
        yield from (
            f"{target['name']} has replicas although it is scaled" for each in found if "replicas" in each["spec"]
        )
        reference = document["spec"].get("triggers", [{}])[0].get("authenticationRef")
        if reference and reference["name"] not in _named(documents, "TriggerAuthentication"):
            yield f"trigger authentication {reference['name']}"
