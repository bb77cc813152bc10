"""The chart's values and the worker's settings cannot drift: what is rendered loads, and every setting can be given."""

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis.strategies import characters, text

from serving.engine.application import LlmServing
from tests.effort import LONG_FORM
from tests.helm.cases import MINIMAL, examples, tried
from tests.helm.engine import ROOT, Document, Engine, Values, merged
from tests.helm.pods import pods
from workers.commands.demo.parts import OVERLAYS
from workers.settings import Settings, load_settings
from workers.settings.keys import leaves

MOUNTED = "/etc/sluicegate"
KEYS = {leaf.key: leaf for leaf in leaves(Settings)}

PUBLIC_KEY = "A" * 43 + "="
GIVEN: dict[str, tuple[object, object]] = {
    "kafka.bootstrapServers": (["a:1", "b:2"], ("a:1", "b:2")),
    "kafka.groupId": ("group", "group"),
    "kafka.security.mechanism": ("SCRAM-SHA-256", "SCRAM-SHA-256"),
    "kafka.security.username": ("somebody", "somebody"),
    **{
        f"kafka.topics.{name}": (f"t.{name}", f"t.{name}")
        for name in (
            *("events", "audited", "audit", "review", "state", "canary", "policy"),
            *("usage", "stream", "cancel", "deadLetters"),
        )
    },
    "kafka.topics.partitions": (24, 24),
    "kafka.topics.replicationFactor": (5, 5),
    "kafka.topics.minInsyncReplicas": (3, 3),
    "generation.baseUrl": ("https://g/v1", "https://g/v1"),
    "generation.model": ("g", "g"),
    "generation.timeoutSeconds": (12.5, 12.5),
    "generation.maxConcurrency": (7, 7),
    "judge.baseUrl": ("https://j/v1", "https://j/v1"),
    "judge.model": ("j", "j"),
    "judge.timeoutSeconds": (3, 3),
    "judge.maxConcurrency": (5, 5),
    "judge.enabled": (True, "llm"),
    "redaction.digestKeyId": ("key-2", "key-2"),
    "otel.endpoint": ("http://c:4317", "http://c:4317"),
    "otel.protocol": ("grpc", "grpc"),
    "otel.tracing": ("full", "full"),
    "otel.ratio": (0.25, 0.25),
    "otel.captureContent": ("SPANS", True),
    "otel.consumeRelationship": ("link", "link"),
    "otel.environment": ("staging", "staging"),
    "canary.publicKeys": ({"key.1": PUBLIC_KEY}, {"key.1": PUBLIC_KEY}),
    "worker.drainTimeoutSeconds": (21, 21),
}
"""A value of the chart, what it is set to, and what the setting must then be."""

BY_SECRET = {
    "kafka.security.existingSecret": "kafka.sasl_password",
    "generation.apiKeySecret": "generation.api_key",
    "judge.apiKeySecret": "guard.judge_api_key",
    "redaction.digestKeySecret": "redaction.digest_key",
    "otel.headersSecret": "telemetry.headers",
    "agent.tokenSecret": "agent.token",
}
BY_THE_CHART = {
    "agent.host",
    "agent.port",
    "door.digest_key",
    "door.host",
    "door.keys_file",
    "door.metrics_port",
    "door.port",
    "door.tls_certfile",
    "door.tls_keyfile",
    "guard.labeler",
    "kafka.cluster_name",
    "kafka.security_protocol",
    "kafka.ssl_cafile",
    "kafka.ssl_certfile",
    "kafka.ssl_keyfile",
    "kafka.ssl_password",
    "limits.crash_journal_directory",
    "policy.bundle",
    "policy.budgets",
    "policy.overlays",
    "policy.shadows",
    "ray.address",
    "ray.slot_start",
    "ray.slots",
    *(f"stages.{stage}.failure_mode" for stage in ("classification", "bias", "logging")),
}
"""Settings that follow from several values, or from the mode; the tests below look at each."""


def _at(path: str, value: object) -> Values:
    head, _, rest = path.partition(".")
    return {head: _at(rest, value) if rest else value}


def _owned() -> dict[str, str]:
    """Setting to value, as the template that refuses doubles has it."""
    text = (ROOT / "helm" / "sluicegate" / "templates" / "_validate.tpl").read_text(encoding="utf-8")
    table = text.partition('{{- define "sluicegate.ownedSettings" -}}')[2].partition("{{- end -}}")[0]
    return yaml.safe_load(table)


def _settings_text(documents: list[Document]) -> str:
    return next(each["data"]["settings.toml"] for each in documents if "settings.toml" in each.get("data", {}))


def _loaded(documents: list[Document], directory: Path) -> Settings:
    """The settings as a worker of these objects loads them; every Secret's file says its own path."""
    return load_settings(_mounted(documents, directory), _environment(documents))


def _mounted(documents: list[Document], directory: Path) -> Path:
    """The files of a pod below `directory`: settings, policy, overlays, and a text for every key of a Secret."""
    worker = next(pod for pod in pods(documents) if pod.labels["app.kubernetes.io/component"] == "worker")
    maps = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
    mounts = {mount["name"]: mount["mountPath"] for mount in worker.spec["containers"][0]["volumeMounts"]}
    for volume in worker.spec["volumes"]:
        place = directory / mounts[volume["name"]].removeprefix("/")
        for source in volume.get("projected", {}).get("sources", []):
            for item in source["secret"]["items"]:
                _write(place / item["path"], item["path"])
        for name, content in maps.get(volume.get("configMap", {}).get("name", ""), {}).items():
            _write(place / name, content.replace(MOUNTED, f"{directory}{MOUNTED}"))
    return directory / "etc/sluicegate/settings/settings.toml"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _environment(documents: list[Document]) -> dict[str, str]:
    """What Kubernetes puts into a worker's environment, for the settings among it."""
    fields = {"metadata.labels['ray.io/cluster']": "gate-a1b2c", "metadata.labels['apps.kubernetes.io/pod-index']": "3"}
    worker = next(pod for pod in pods(documents) if pod.labels["app.kubernetes.io/component"] == "worker")
    found: dict[str, str] = {}
    for variable in worker.spec["containers"][0]["env"]:
        path = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        if variable["name"].startswith("SLUICEGATE_"):
            found[variable["name"]] = fields[path]
    return found


def _value(settings: Settings, key: str) -> Any:
    value: Any = settings
    for name in key.split("."):
        value = getattr(value, name)
    return value


def test_each_value_reaches_the_setting_it_stands_for(engine: Engine, tmp_path: Path) -> None:
    values = merged(MINIMAL, *(_at(path, given) for path, (given, _) in GIVEN.items()))
    settings = _loaded(engine.render(values), tmp_path)
    keys = {value: key for key, value in _owned().items()}
    assert {path: _value(settings, keys[path]) for path in GIVEN} == {
        path: wanted for path, (_, wanted) in GIVEN.items()
    }


def test_each_secret_reaches_the_setting_it_stands_for(engine: Engine, tmp_path: Path) -> None:
    named = [_at(f"{path}.name", path.lower().replace(".", "-")) for path in BY_SECRET]
    values = merged(MINIMAL, {"judge": {"enabled": True, "baseUrl": "http://j/v1", "model": "j"}}, *named)
    settings = _loaded(engine.render(values), tmp_path)
    owned = _owned()
    for path, key in BY_SECRET.items():
        assert owned[key] == path
        assert _value(settings, key).reveal(), key


def test_every_setting_of_the_chart_is_one_of_the_workers_and_is_looked_at_here() -> None:
    owned = set(_owned()) | {f"stages.{stage}.failure_mode" for stage in ("classification", "bias", "logging")}
    assert owned <= set(KEYS)
    values = {value: key for key, value in _owned().items()}
    assert owned == {values[path] for path in GIVEN} | set(BY_SECRET.values()) | BY_THE_CHART


def test_what_the_chart_writes_by_itself_is_what_it_refuses_in_settings(engine: Engine) -> None:
    owned = set(_owned()) | {f"stages.{stage}.failure_mode" for stage in ("classification", "bias", "logging")}
    for values in examples().values():
        written = _flat(tomllib.loads(_settings_text(engine.render({**values, "settings": {}}))))
        settings_written = {key.removesuffix("_file") for key in written if not key.startswith("canary.keys.")}
        assert settings_written <= owned


def _flat(table: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        key
        for name, value in table.items()
        for key in (_flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [prefix + name])
    ]


def test_every_other_setting_can_be_given(engine: Engine, tmp_path: Path) -> None:
    """With its default, which must come back through Helm, TOML and the loader unchanged: numbers, lists, tables."""
    owned = set(_owned())
    given: Values = {}
    for key, leaf in KEYS.items():
        if key in owned or key.endswith(".failure_mode") or leaf.is_secret or leaf.default is None:
            continue
        given = merged(given, _at(key, list(leaf.default) if isinstance(leaf.default, tuple) else leaf.default))
    settings = _loaded(engine.render({**MINIMAL, "settings": given}), tmp_path)
    for key in sorted(set(KEYS) - owned):
        assert _value(settings, key) == KEYS[key].default, key


def test_a_number_keeps_every_digit(engine: Engine, tmp_path: Path) -> None:
    given = {"kafka": {"batch_bytes": 123456789}, "limits": {"checks_timeout_s": 5.125}}
    settings = _loaded(engine.render({**MINIMAL, "settings": given}), tmp_path)
    assert (settings.kafka.batch_bytes, settings.limits.checks_timeout_s) == (123456789, 5.125)


@settings(
    max_examples=60 if LONG_FORM else 15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=text(alphabet=characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t\x7f\x85"), max_size=40))
@example(text="yes")
@example(text="1e3")
@example(text='"\n[kafka]\ngroup_id = "other"')
@example(text="\x7f\x85\u2028{{ .Release.Name }}<&>")
def test_any_text_reaches_its_setting_unchanged(engine: Engine, tmp_path: Path, text: str) -> None:
    values = merged(MINIMAL, {"otel": {"environment": text}})
    assert _loaded(engine.render(values), tmp_path).telemetry.environment == text


@pytest.mark.parametrize("name", examples())
def test_the_settings_of_an_example_load(engine: Engine, tmp_path: Path, name: str) -> None:
    values = examples()[name]
    settings = _loaded(engine.render(values), tmp_path)
    assert settings.agent.host == "0.0.0.0"
    assert settings.limits.crash_journal_directory == "/var/lib/sluicegate"
    assert {settings.stages.bias.failure_mode, settings.stages.classification.failure_mode} == {"closed"}
    assert settings.kafka.security_protocol == values["kafka"]["security"]["protocol"]
    if values.get("mode") == "statefulset":
        assert (settings.kafka.cluster_name, settings.ray.address) == ("gate-sluicegate", "")
        assert (settings.ray.slots, settings.ray.slot_start) == (1, 3)
    else:
        assert (settings.kafka.cluster_name, settings.ray.address) == ("gate-a1b2c", "auto")
        assert settings.ray.slots == values.get("worker", {}).get("replicas") or settings.ray.slots >= 1


def test_the_settings_of_every_combination_load(rendered: dict[str, list[Document]], tmp_path: Path) -> None:
    distinct = {_settings_text(rendered[name]): rendered[name] for name in tried()}
    assert len(distinct) > 6
    for index, documents in enumerate(distinct.values()):
        _loaded(documents, tmp_path / str(index))


def test_client_certificates_are_named(engine: Engine, tmp_path: Path) -> None:
    settings = _loaded(engine.render(examples()["mutual-tls"]), tmp_path)
    for path in (settings.kafka.ssl_cafile, settings.kafka.ssl_certfile, settings.kafka.ssl_keyfile):
        assert Path(path).is_file()


def test_a_served_model_is_described_as_its_application_wants_it(engine: Engine) -> None:
    service = next(each for each in engine.render(examples()["rayserve"]) if each["kind"] == "RayService")
    applications = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    served = {
        each["name"]: msgspec.convert(each["args"], LlmServing) for each in applications if "model" in each["args"]
    }
    assert {name: (each.served_name, each.replicas) for name, each in served.items()} == {
        "sluicegate-generation": ("instruct", 2),
        "sluicegate-judge": ("guard", 1),
    }
    assert served["sluicegate-generation"].engine == {"revision": "0123456789abcdef", "tensor_parallel_size": 4}
    assert {each["import_path"] for each in applications} == {
        "workers.serve_supervisor:build",
        "serving.app:build_from_arguments",
    }
    assert len({each["route_prefix"] for each in applications}) == len(applications)


def test_jobs_log_in_as_the_operator_and_workers_do_not(engine: Engine) -> None:
    found = {pod.labels["app.kubernetes.io/component"]: pod for pod in pods(engine.render(examples()["everything"]))}
    replay, worker = (found[component].spec for component in ("replay", "worker"))
    given = {each["name"]: each.get("value") for each in replay["containers"][0]["env"]}
    assert given["SLUICEGATE_KAFKA__SASL_USERNAME"] == "operator"
    mounted = {each["mountPath"]: each["name"] for each in replay["containers"][0]["volumeMounts"]}
    volume = next(each for each in replay["volumes"] if each["name"] == mounted["/etc/sluicegate/operator"])
    assert volume["secret"]["secretName"] == "operator-kafka"
    assert given["SLUICEGATE_KAFKA__SASL_PASSWORD_FILE"] == "/etc/sluicegate/operator/password"
    assert "operator-kafka" not in str(worker)


def test_ray_serve_takes_what_it_is_given_to_run(rendered: dict[str, list[Document]]) -> None:
    from ray.serve.schema import ServeDeploySchema

    texts = {
        document["spec"]["serveConfigV2"]
        for documents in rendered.values()
        for document in documents
        if document["kind"] == "RayService"
    }
    configs = [ServeDeploySchema(**yaml.safe_load(text)) for text in sorted(texts)]
    assert {str(config.proxy_location.value) for config in configs} == {"EveryNode"}
    assert {len(config.applications) for config in configs} == {1, 3}


def test_the_supervisor_is_told_the_digest_of_the_file_that_it_reads(engine: Engine) -> None:
    documents = engine.render(examples()["minimal"])
    service = next(each for each in documents if each["kind"] == "RayService")
    supervisor = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["deployments"][0]
    digest = hashlib.sha256(_settings_text(documents).encode()).hexdigest()
    assert supervisor["user_config"] == {"settings_sha256": digest}


def test_check_accepts_what_is_rendered(engine: Engine, tmp_path: Path) -> None:
    bundle = (ROOT / "topology" / "policies" / "safe-completion-core.yaml").read_text(encoding="utf-8")
    overlay = (OVERLAYS / "harbour-bank.yaml").read_text(encoding="utf-8")
    budget = "tenant_id: harbour-bank\nversion: 1.0.0\nlimits: [{window: minute, events: 600}]\n"
    policy = {
        "inline": bundle,
        "overlays": {"inline": {"harbour-bank": overlay}},
        "budgets": {"inline": {"harbour-bank": budget}},
    }
    tenants = {"settings": {"tenants": {"enabled": True}}}
    documents = engine.render(merged(examples()["statefulset-keda"], {"policy": policy}, tenants))
    path = _mounted(documents, tmp_path)
    checked = subprocess.run(
        [sys.executable, "-m", "workers.cli", "check", "--offline", "--config", str(path)],
        env={**os.environ, **_environment(documents)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "overlays: 1" in checked.stdout
