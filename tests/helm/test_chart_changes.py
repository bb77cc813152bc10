"""What a change of values or of the chart does to what runs: a policy restarts nothing, an upgrade is taken."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.cases import MINIMAL, STATEFULSET, examples
from tests.helm.engine import CHART, DATA, Document, Engine, Values, merged
from tests.helm.golden import GOLDEN, golden_text
from tests.helm.pods import pods

RELEASED = sorted((DATA / "released").iterdir())
BOTH = pytest.mark.parametrize("values", [MINIMAL, STATEFULSET], ids=["rayservice", "statefulset"])

Keyed = dict[tuple[str, str], Document]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_render_is_as_it_was_reviewed(engine: Engine, name: str) -> None:
    golden = (DATA / "golden" / f"{name}.yaml").read_text(encoding="utf-8")
    assert golden_text(engine, name) == golden, "look at the difference, then: python -m tests.helm.golden"


def _keyed(documents: list[Document]) -> Keyed:
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


def _immutable(document: Document) -> dict[str, Any]:
    """The fields that the API server lets nobody change."""
    spec = document.get("spec", {})
    fields: dict[str, tuple[str, ...]] = {
        "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
        "Deployment": ("selector",),
        "Service": ("clusterIP",),
        "PersistentVolumeClaim": ("accessModes", "storageClassName"),
    }
    return {field: spec.get(field) for field in fields.get(document["kind"], ())}


@pytest.mark.parametrize("path", RELEASED, ids=[path.name for path in RELEASED])
def test_an_upgrade_from_what_was_released_changes_nothing_immutable(engine: Engine, path: Path) -> None:
    """Golden renders of every released version; the same examples rendered now."""
    for file in sorted(path.glob("*.yaml")):
        before = _keyed([each for each in yaml.load_all(file.read_text(encoding="utf-8"), yaml.CSafeLoader) if each])
        now = _keyed(engine.render(examples()[file.stem]))
        stateful = {key for key in before if key[0] in {"StatefulSet", "RayService", "PersistentVolumeClaim"}}
        assert stateful <= set(now), "what holds state or slots keeps its name"
        for key in before.keys() & now.keys():
            assert _immutable(now[key]) == _immutable(before[key]), key


def _changed(engine: Engine, before: Values, after: Values) -> set[tuple[str, str]]:
    first, second = _keyed(engine.render(before)), _keyed(engine.render(after))
    return {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}


@BOTH
def test_a_change_of_policy_restarts_nothing(engine: Engine, values: Values) -> None:
    before = merged(values, {"policy": {"inline": "a: 1", "overlays": {"inline": {"bank": "b: 1"}}}})
    after = merged(values, {"policy": {"inline": "a: 2", "overlays": {"inline": {"bank": "b: 2", "school": "c: 3"}}}})
    assert _changed(engine, before, after) == {
        ("ConfigMap", "gate-sluicegate-policy"),
        ("ConfigMap", "gate-sluicegate-overlays"),
    }


def test_a_change_of_settings_rolls_the_pods_of_a_statefulset(engine: Engine) -> None:
    after = merged(STATEFULSET, {"settings": {"limits": {"in_flight_max": 32}}})
    assert _changed(engine, STATEFULSET, after) == {
        ("ConfigMap", "gate-sluicegate-settings"),
        ("StatefulSet", "gate-sluicegate"),
    }


def test_a_change_of_settings_makes_no_new_ray_cluster(engine: Engine) -> None:
    after = merged(MINIMAL, {"settings": {"limits": {"in_flight_max": 32}}})
    key = ("RayService", "gate-sluicegate")
    assert _changed(engine, MINIMAL, after) == {("ConfigMap", "gate-sluicegate-settings"), key}
    first, second = _keyed(engine.render(MINIMAL))[key], _keyed(engine.render(after))[key]
    assert first["spec"]["rayClusterConfig"] == second["spec"]["rayClusterConfig"]
    configs = [yaml.safe_load(each["spec"]["serveConfigV2"]) for each in (first, second)]
    hashes = [config["applications"][0]["deployments"][0].pop("user_config") for config in configs]
    assert configs[0] == configs[1]
    assert hashes[0] != hashes[1]


@pytest.mark.parametrize("name", examples())
def test_a_new_version_of_the_chart_alone_replaces_no_pod(engine: Engine, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(CHART, tmp_path / "sluicegate")
    text = (copy / "Chart.yaml").read_text(encoding="utf-8")
    (copy / "Chart.yaml").write_text(text.replace("version: 0.1.0", "version: 0.1.1+build.7"), encoding="utf-8")
    with Engine(copy) as newer:
        after = newer.render(examples()[name])
    templates = [
        [pod.template for pod in pods(documents) if not pod.owner.startswith("Pod/")]
        for documents in (engine.render(examples()[name]), after)
    ]
    assert templates[0] == templates[1]
    selectors = json.dumps([each["spec"].get("selector") for each in after if "spec" in each])
    assert "0.1" not in selectors


def test_the_packaged_chart_renders_the_same(engine: Engine, tmp_path: Path) -> None:
    values = examples()["production"]
    with Engine(engine.package(tmp_path)) as packaged:
        assert packaged.render_files(values) == engine.render_files(values)


def test_jobs_have_a_new_name_for_another_command(engine: Engine) -> None:
    first = merged(MINIMAL, {"jobs": {"replay": {"enabled": True, "args": ["dlq", "redrive"]}}})
    second = merged(MINIMAL, {"jobs": {"replay": {"enabled": True, "args": ["dlq", "redrive", "--yes"]}}})
    assert len(_changed(engine, first, second)) == 2


@BOTH
def test_an_upgrade_renders_what_an_installation_does(engine: Engine, values: Values) -> None:
    assert engine.render_files(values, is_upgrade=True) == engine.render_files(values)


def test_gpu_clusters_are_not_doubled(engine: Engine) -> None:
    def strategy(values: Values) -> str:
        return _keyed(engine.render(values))["RayService", "gate-sluicegate"]["spec"]["upgradeStrategy"]["type"]

    gpu_group = {"workerGroups": {"gpu": {"max": 1, "resources": {"limits": {"nvidia.com/gpu": 1}}}}}
    assert strategy(MINIMAL) == "NewCluster"
    assert strategy(examples()["rayserve"]) == "None"
    assert strategy(merged(MINIMAL, gpu_group)) == "None"
    assert strategy(merged(examples()["rayserve"], {"ray": {"upgrade": "NewCluster"}})) == "NewCluster"


def test_nothing_that_needs_a_cpu_alone_lands_on_a_gpu_node(engine: Engine) -> None:
    cluster = _keyed(engine.render(examples()["rayserve"]))["RayService", "gate-sluicegate"]["spec"]["rayClusterConfig"]
    cpus = {group["groupName"]: group["rayStartParams"].get("num-cpus") for group in cluster["workerGroupSpecs"]}
    assert cpus == {"consumer": None, "spot": None, "generation": "0", "judge": "0"}
