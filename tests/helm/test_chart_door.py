"""The door's objects: what is rendered, what its process then loads, and which Secrets it alone has."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.helm.cases import MINIMAL, STATEFULSET, examples
from tests.helm.engine import Document, Engine, Values, merged
from tests.helm.pods import Pod, pods
from workers.settings import Settings, load_settings

DOOR: Values = {"door": {"enabled": True, "keysSecret": {"name": "keys"}, "digestKeySecret": {"name": "digests"}}}
KINDS = {"Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}
BOTH = pytest.mark.parametrize("values", [MINIMAL, STATEFULSET], ids=["rayservice", "statefulset"])


def _objects(documents: list[Document]) -> dict[str, Document]:
    """The objects whose name ends in -door, by kind."""
    return {each["kind"]: each for each in documents if each["metadata"]["name"].endswith("-door")}


def _pod(documents: list[Document], component: str = "door") -> Pod:
    return next(pod for pod in pods(documents) if pod.labels["app.kubernetes.io/component"] == component)


def _loaded(documents: list[Document], directory: Path) -> Settings:
    """The settings as `sluicegate door` loads them in its pod; every key of a Secret says its own path."""
    pod = _pod(documents)
    container = pod.spec["containers"][0]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    text = next(each["data"]["settings.toml"] for each in documents if "settings.toml" in each.get("data", {}))
    for volume in pod.spec["volumes"]:
        sources = [each["secret"] for each in volume.get("projected", {}).get("sources", [])]
        for item in [item for source in [*sources, volume.get("secret", {})] for item in source.get("items", [])]:
            _write(f"{directory}{mounts[volume['name']]}/{item['path']}", item["path"])
    _write(f"{directory}/settings.toml", text.replace("/etc/sluicegate", f"{directory}/etc/sluicegate"))
    environment = {
        each["name"]: each["value"].replace("/etc/sluicegate", f"{directory}/etc/sluicegate")
        for each in container["env"]
        if each["name"].startswith("SLUICEGATE_")
    }
    return load_settings(directory / "settings.toml", environment)


def _write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


@BOTH
def test_there_is_no_door_unless_it_is_asked_for(engine: Engine, values: Values) -> None:
    assert _objects(engine.render(values)) == {}
    assert set(_objects(engine.render(merged(values, DOOR)))) == KINDS


@BOTH
def test_a_door_changes_no_pod_of_the_others_but_their_settings(engine: Engine, values: Values) -> None:
    """Workers have none of its Secrets, and a Ray cluster is not replaced."""
    before, after = (_pod(engine.render(each), "worker") for each in (values, merged(values, DOOR)))
    for pod in (before, after):
        pod.template["metadata"].pop("annotations", None)
    assert before == after


def test_the_process_that_is_run_finds_its_settings_and_keys(engine: Engine, tmp_path: Path) -> None:
    documents = engine.render(examples()["statefulset-keda"])
    container = _pod(documents).spec["containers"][0]
    assert (container["command"], container["args"][0]) == (["sluicegate"], "door")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8800, "metrics": 9465}
    settings = _loaded(documents, tmp_path)
    assert (settings.door.host, settings.door.port, settings.door.tls_certfile) == ("0.0.0.0", 8800, "")
    assert (settings.door.models, settings.door.replay_s) == (("instruct",), 900)
    assert settings.door.digest_key.reveal() == "digest-key"
    assert Path(settings.door.keys_file).read_text(encoding="utf-8") == "keys.toml"


def test_a_door_may_log_in_as_a_user_of_its_own(engine: Engine, tmp_path: Path) -> None:
    settings = _loaded(engine.render(examples()["statefulset-keda"]), tmp_path / "own")
    assert (settings.kafka.sasl_username, settings.kafka.sasl_password.reveal()) == ("sluicegate-door", "password")
    settings = _loaded(engine.render(merged(STATEFULSET, DOOR)), tmp_path / "shared")
    assert (settings.kafka.sasl_username, settings.kafka.sasl_password.reveal()) == ("sluicegate", "kafka/password")


def test_with_a_certificate_port_and_probes_speak_tls_and_the_metrics_port_does_not(
    engine: Engine, tmp_path: Path
) -> None:
    documents = engine.render(examples()["mutual-tls"])
    settings = _loaded(documents, tmp_path)
    assert Path(settings.door.tls_certfile).read_text(encoding="utf-8") == "tls.crt"
    assert Path(settings.door.tls_keyfile).read_text(encoding="utf-8") == "tls.key"
    assert {probe["scheme"] for probe in _probes(documents).values()} == {"HTTPS"}
    plain = engine.render(examples()["statefulset-keda"])
    assert {probe["scheme"] for probe in _probes(plain).values()} == {"HTTP"}
    for each in (documents, plain):
        (endpoint,) = _objects(each)["PodMonitor"]["spec"]["podMetricsEndpoints"]
        assert (endpoint["port"], "scheme" in endpoint) == ("metrics", False)


def _probes(documents: list[Document]) -> dict[str, Any]:
    container = _pod(documents).spec["containers"][0]
    return {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}


def test_probes_ask_what_the_door_answers(engine: Engine) -> None:
    paths = {name: probe["path"] for name, probe in _probes(engine.render(merged(STATEFULSET, DOOR))).items()}
    assert paths == {"startupProbe": "/livez", "readinessProbe": "/readyz", "livenessProbe": "/livez"}


def test_an_autoscaler_owns_the_number_of_doors(engine: Engine) -> None:
    fixed = _objects(engine.render(merged(STATEFULSET, DOOR, {"door": {"replicas": 5}})))
    assert fixed["Deployment"]["spec"]["replicas"] == 5
    scaled = _objects(engine.render(merged(STATEFULSET, DOOR, {"door": {"hpa": {"enabled": True}}})))
    assert set(scaled) == KINDS | {"HorizontalPodAutoscaler"}
    assert scaled["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "gate-sluicegate-door"
    assert "replicas" not in scaled["Deployment"]["spec"]


def test_the_service_is_as_the_values_say(engine: Engine) -> None:
    service = _objects(engine.render(examples()["mutual-tls"]))["Service"]["spec"]
    assert (service["type"], service["ports"][0]["port"]) == ("LoadBalancer", 443)


def test_a_door_that_ends_has_time_for_what_it_was_asked(engine: Engine, tmp_path: Path) -> None:
    documents = engine.render(merged(STATEFULSET, DOOR))
    spec = _pod(documents).spec
    sleep_s = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert sleep_s > _loaded(documents, tmp_path).door.deadline_s + 2
    assert spec["terminationGracePeriodSeconds"] == sleep_s + 20


def test_doors_are_spread_and_replaced_one_by_one(engine: Engine) -> None:
    documents = engine.render(merged(STATEFULSET, DOOR))
    keys = [each["topologyKey"] for each in _pod(documents).spec["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
    found = _objects(documents)
    assert found["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert found["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_new_settings_roll_the_doors(engine: Engine) -> None:
    first, second = (
        _pod(engine.render(merged(STATEFULSET, DOOR, {"settings": {"door": {"replay_s": seconds}}}))).template
        for seconds in (600, 700)
    )
    assert first["metadata"]["annotations"] != second["metadata"]["annotations"]


def test_the_file_that_workers_read_names_no_secret_of_the_door(engine: Engine) -> None:
    documents = engine.render(examples()["mutual-tls"])
    text = next(each["data"]["settings.toml"] for each in documents if "settings.toml" in each.get("data", {}))
    assert tomllib.loads(text)["door"] == {"host": "0.0.0.0", "port": 8800, "metrics_port": 9465}


def test_the_notes_warn_of_a_door_without_tls(engine: Engine) -> None:
    def notes(values: Values) -> str:
        return next(text for path, text in engine.render_files(values).items() if path.endswith("NOTES.txt"))

    assert "reach the door without TLS" in notes(merged(STATEFULSET, DOOR))
    assert "reach the door without TLS" not in notes(examples()["mutual-tls"])
