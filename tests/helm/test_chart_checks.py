"""The checks notice: each takes objects that are well and one that was broken on purpose."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.helm.cases import examples
from tests.helm.engine import Document, Engine
from tests.helm.operator_rules import rayservice_problems
from tests.helm.pods import pods, restricted_problems
from tests.helm.references import reference_problems

Break = Callable[[dict[str, Any]], object]


def _restricted(documents: list[Document]) -> list[str]:
    return [problem for pod in pods(documents) for problem in restricted_problems(pod)]


POD_BREAKS: dict[str, Break] = {
    "host network": lambda spec: spec.update(hostNetwork=True),
    "host path": lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "API token": lambda spec: spec.pop("automountServiceAccountToken"),
    "root": lambda spec: spec["securityContext"].update(runAsUser=0),
    "capabilities": lambda spec: spec["containers"][0]["securityContext"].pop("capabilities"),
    "escalation": lambda spec: spec["containers"][0]["securityContext"].update(allowPrivilegeEscalation=True),
    "privileged": lambda spec: spec["containers"][0]["securityContext"].update(privileged=True),
    "writable root": lambda spec: spec["containers"][0]["securityContext"].update(readOnlyRootFilesystem=False),
    "host port": lambda spec: spec["containers"][0]["ports"].append({"name": "h", "containerPort": 1, "hostPort": 1}),
    "no seccomp": lambda spec: (
        spec["securityContext"].pop("seccompProfile"),
        spec["containers"][0]["securityContext"].pop("seccompProfile"),
    ),
    "careless sidecar": lambda spec: spec["containers"].append({"name": "side", "image": "a:1"}),
}
REFERENCE_BREAKS: dict[str, Break] = {
    "service account": lambda spec: spec.update(serviceAccountName="nobody"),
    "config map": lambda spec: spec["volumes"].append({"name": "a", "configMap": {"name": "gate-a"}}),
    "mount": lambda spec: spec["containers"][0]["volumeMounts"].append({"name": "missing", "mountPath": "/a"}),
    "subPath": lambda spec: spec["containers"][0]["volumeMounts"][0].update(subPath="a"),
    "probe's port": lambda spec: spec["containers"][0].pop("ports"),
    "probe": lambda spec: spec["containers"][0].pop("startupProbe"),
    "image": lambda spec: spec["containers"][0].update(image="sluicegate:latest"),
    "requests": lambda spec: spec["containers"][0]["resources"]["requests"].pop("memory"),
    "grace": lambda spec: spec.update(terminationGracePeriodSeconds=30),
}
RAY_BREAKS: dict[str, Break] = {
    "gated field": lambda spec: spec["rayClusterConfig"].update(networkPolicy={"mode": "DenyAll"}),
    "old Ray": lambda spec: spec["rayClusterConfig"].update(rayVersion="2.51.0"),
    "upside down": lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(minReplicas=50),
    "restart policy": lambda spec: spec["rayClusterConfig"]["headGroupSpec"]["template"]["spec"].update(
        restartPolicy="Always"
    ),
    "replicas of the autoscaler": lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][0].update(replicas=1),
    "same group twice": lambda spec: spec["rayClusterConfig"]["workerGroupSpecs"][1].update(groupName="consumer"),
    "label of the operator": lambda spec: spec["rayClusterConfig"]["headGroupSpec"]["template"]["metadata"][
        "labels"
    ].update({"app.kubernetes.io/name": "sluicegate"}),
    "storage": lambda spec: spec["rayClusterConfig"]["gcsFaultToleranceOptions"].update(storage={}),
    "strategy": lambda spec: spec["upgradeStrategy"].update(type="Rolling"),
}


def _broken(documents: list[Document], kind: str, where: Callable[[Document], Any], change: Break) -> list[Document]:
    copied = deepcopy(documents)
    change(where(next(each for each in copied if each["kind"] == kind)))
    return copied


@pytest.mark.parametrize("name", POD_BREAKS)
def test_a_pod_below_the_restricted_level_is_noticed(engine: Engine, name: str) -> None:
    documents = engine.render(examples()["statefulset-keda"])
    assert _restricted(documents) == []
    broken = _broken(documents, "StatefulSet", lambda each: each["spec"]["template"]["spec"], POD_BREAKS[name])
    assert _restricted(broken) != []


def test_a_careless_autoscaler_is_noticed(engine: Engine) -> None:
    documents = engine.render(examples()["rayserve"])
    options = _broken(
        documents,
        "RayService",
        lambda each: each["spec"]["rayClusterConfig"]["autoscalerOptions"],
        lambda spec: spec.update(securityContext={}),
    )
    assert (_restricted(documents), len(_restricted(options)) > 0) == ([], True)


@pytest.mark.parametrize("name", REFERENCE_BREAKS)
def test_a_reference_to_nothing_is_noticed(engine: Engine, name: str) -> None:
    documents = engine.render(examples()["statefulset-keda"])
    assert reference_problems(documents) == []
    broken = _broken(documents, "StatefulSet", lambda each: each["spec"]["template"]["spec"], REFERENCE_BREAKS[name])
    assert reference_problems(broken) != []


@pytest.mark.parametrize("name", RAY_BREAKS)
def test_a_broken_rule_of_the_ray_operator_is_noticed(engine: Engine, name: str) -> None:
    documents = engine.render(examples()["rayserve"])
    assert rayservice_problems(documents) == []
    assert rayservice_problems(_broken(documents, "RayService", lambda each: each["spec"], RAY_BREAKS[name])) != []


@pytest.mark.parametrize("kind", ["PodMonitor", "PodDisruptionBudget"])
def test_a_selector_without_a_pod_is_noticed(engine: Engine, kind: str) -> None:
    documents = engine.render(examples()["statefulset-keda"])
    broken = _broken(documents, kind, lambda each: each["spec"]["selector"], lambda it: it["matchLabels"].update(a="b"))
    assert any("selects no pod" in problem for problem in reference_problems(broken))
