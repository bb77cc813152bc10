"""Against a real Kubernetes API server and its controllers: installed, changed, rolled back and removed by Helm.

The long form; the short one validates the same objects against schemas. Where Go is missing it is skipped.
"""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.cases import MINIMAL, STATEFULSET, examples
from tests.helm.control_plane import ApiError, ControlPlane
from tests.helm.engine import CHART, Document, Engine, Values, merged
from tests.helm.go_programs import built_programs
from tests.helm.pods import Pod, pods

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PODS_S = 120.0
CONTROLLED = {"StatefulSet": "apps/v1", "Deployment": "apps/v1", "Job": "batch/v1", "CronJob": "batch/v1"}
KINDS = {**CONTROLLED, "RayService": "ray.io/v1"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[ControlPlane]:
    with ControlPlane(built_programs(), tmp_path_factory.mktemp("cluster")) as started:
        started.create(
            {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1}
        )
        gvisor = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "gvisor"}}
        started.create({**gvisor, "handler": "runsc"})
        started.namespace("observability")
        yield started


class Release:
    """A release in a namespace of its own, which enforces the restricted level."""

    def __init__(self, cluster: ControlPlane, directory: Path, namespace: str, name: str = "gate") -> None:
        self._cluster = cluster
        self._values = directory / "values.yaml"
        self.name = name
        self.namespace = cluster.namespace(namespace)

    def put(self, values: Values) -> None:
        """Install, or upgrade to these values."""
        self._values.write_text(yaml.safe_dump(values), encoding="utf-8")
        self._helm("upgrade", "--install", self.name, str(CHART), "--values", str(self._values))

    def roll_back(self, revision: int) -> None:
        self._helm("rollback", self.name, str(revision))

    def remove(self) -> None:
        self._helm("uninstall", self.name)

    def status(self) -> str:
        return json.loads(self._helm("status", self.name, "--output", "json"))["info"]["status"]

    def live(self, kinds: dict[str, str] = KINDS) -> dict[tuple[str, str], Document]:
        """What the namespace holds of these kinds, by kind and name."""
        return {
            (kind, each["metadata"]["name"]): each
            for kind, version in kinds.items()
            for each in self._cluster.items(version, kind, self.namespace)
        }

    def _helm(self, *arguments: str) -> str:
        return self._cluster.helm(*arguments, "--namespace", self.namespace)


def _wait_for_pods(cluster: ControlPlane, release: Release) -> None:
    """Every controller has the pods that it wants, all admitted; a CronJob is run once, a suspended Job started."""
    for (kind, _), found in release.live().items():
        if kind == "CronJob":
            cluster.create(_run_of(found))
        if kind == "Job" and found["spec"].get("suspend"):
            cluster.patch({"apiVersion": "batch/v1", "kind": kind, **found}, {"spec": {"suspend": False}})
    cluster.wait(lambda: _refused(cluster, release) != [] or _wanted(release) == _made(cluster, release), PODS_S)
    assert _refused(cluster, release) == []


def _run_of(cron_job: Document) -> Document:
    """As `kubectl create job --from` makes it."""
    metadata = cron_job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": metadata["name"], "uid": metadata["uid"]}
    names = {"name": f"{metadata['name']}-once", "namespace": metadata["namespace"], "ownerReferences": [owner]}
    spec = cron_job["spec"]["jobTemplate"]["spec"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": names, "spec": spec}


def _wanted(release: Release) -> dict[str, int]:
    """Pods by the kind of their controller."""
    found = {"StatefulSet": 0, "Deployment": 0, "Job": 0}
    for (kind, _), each in release.live(CONTROLLED).items():
        if kind in found:
            found[kind] += each["spec"].get("replicas", 1)
    return found


def _made(cluster: ControlPlane, release: Release) -> dict[str, int]:
    found = {"StatefulSet": 0, "Deployment": 0, "Job": 0}
    for pod in cluster.items("v1", "Pod", release.namespace):
        owner = pod["metadata"]["ownerReferences"][0]["kind"]
        found["Deployment" if owner == "ReplicaSet" else owner] += 1
    return found


def _refused(cluster: ControlPlane, release: Release) -> list[str]:
    """What controllers were told when a pod was not admitted."""
    events = cluster.items("v1", "Event", release.namespace)
    return [each["message"] for each in events if "violates PodSecurity" in each["message"]]


def _submitted(cluster: ControlPlane, release: Release, pod: Pod, name: str) -> Document:
    template = pod.template
    metadata = {"name": name, "namespace": release.namespace, "labels": template["metadata"]["labels"]}
    document: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    return cluster.create(document, dry_run=True)


def _templates(found: dict[tuple[str, str], Document]) -> dict[tuple[str, str], tuple[object, object]]:
    """What would show that pods are replaced: the generation, and a StatefulSet's revision."""
    return {
        key: (each["metadata"]["generation"], each.get("status", {}).get("updateRevision"))
        for key, each in found.items()
    }


def test_a_pod_below_the_restricted_level_is_refused_here(cluster: ControlPlane) -> None:
    container = {"name": "a", "image": "a:1"}
    metadata = {"name": "a", "namespace": cluster.namespace("sanity")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        cluster.create(pod, dry_run=True)


@pytest.mark.parametrize("example", examples())
def test_an_example_is_installed_changed_rolled_back_and_removed(
    cluster: ControlPlane, engine: Engine, tmp_path: Path, example: str
) -> None:
    release, values = Release(cluster, tmp_path, example), examples()[example]
    release.put(values)
    _wait_for_pods(cluster, release)
    rendered = engine.render(values, release.name, release.namespace)
    others = [pod for pod in pods(rendered) if pod.owner.startswith(("RayService/", "Pod/"))]
    for index, pod in enumerate(others):
        assert _submitted(cluster, release, pod, f"pod-{index}")["spec"]["containers"], pod.owner
    first = release.live()
    changed = {"settings": {"limits": {"in_flight_max": 32}}}
    release.put(merged(values, changed))
    assert release.status() == "deployed"
    assert _templates(release.live()) != _templates(first)
    release.roll_back(1)
    for key, each in release.live(KINDS).items():
        if key in first and key[0] != "Job":
            assert each["spec"] == first[key]["spec"], key
    release.remove()
    cluster.wait(lambda: not any(key in release.live() for key in first), PODS_S)


@pytest.mark.parametrize("values", [MINIMAL, STATEFULSET], ids=["rayservice", "statefulset"])
def test_a_change_of_policy_alone_replaces_no_pod(cluster: ControlPlane, tmp_path: Path, values: Values) -> None:
    release = Release(cluster, tmp_path, f"policy-{values.get('mode', 'rayservice')}")
    both = merged(values, {"generation": {"mode": "deployment", "baseUrl": "", "server": {"source": "model"}}})
    release.put(merged(both, {"policy": {"inline": "a: 1", "overlays": {"inline": {"bank": "b: 1"}}}}))
    _wait_for_pods(cluster, release)
    before = _templates(release.live())
    pods_before = {pod["metadata"]["uid"] for pod in cluster.items("v1", "Pod", release.namespace)}
    release.put(merged(both, {"policy": {"inline": "a: 2", "overlays": {"inline": {"bank": "b: 2"}}}}))
    texts = [each.get("data", {}) for each in cluster.items("v1", "ConfigMap", release.namespace)]
    assert {"bundle.yaml": "a: 2"} in texts
    assert _templates(release.live()) == before
    assert {pod["metadata"]["uid"] for pod in cluster.items("v1", "Pod", release.namespace)} == pods_before


@pytest.mark.parametrize("mode", ["rayservice", "statefulset"])
@pytest.mark.parametrize("name", ["y", "1e3", "gate-" + "x" * 48])
def test_names_that_yaml_could_misread_work(
    cluster: ControlPlane, engine: Engine, tmp_path: Path, mode: str, name: str
) -> None:
    """Helm itself refuses a release's name of more than 53 characters; a `fullnameOverride` may have 60."""
    release = Release(cluster, tmp_path, f"name-{mode}-{name[:3]}", name)
    values = {**MINIMAL, "mode": mode, **({"fullnameOverride": name + "y" * 7} if len(name) > 40 else {})}
    release.put(values)
    _wait_for_pods(cluster, release)
    for index, pod in enumerate(pods(engine.render(values, name, release.namespace))):
        assert _submitted(cluster, release, pod, f"pod-{index}")["spec"]["containers"], pod.owner
    release.remove()
