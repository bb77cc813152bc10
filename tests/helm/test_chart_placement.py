"""Values that platforms ask for: names, addresses, certificates, annotations, pull secrets, and what null does."""

import json
import tomllib
from typing import Any

import pytest

from tests.helm.cases import MINIMAL, STATEFULSET, examples
from tests.helm.engine import CHART, ROOT, Document, Engine, RenderRefused, Values, load_values, merged
from tests.helm.pods import pods

VALUES = load_values(CHART / "values.yaml")
BOTH = pytest.mark.parametrize("values", [MINIMAL, STATEFULSET], ids=["rayservice", "statefulset"])
CLEAN = {key: value for key, value in MINIMAL.items() if key != "mode"}
MODEL = {"generation": {"mode": "deployment", "baseUrl": "", "server": {"source": "organisation/instruct"}}}


def _settings(documents: list[Document]) -> dict[str, Any]:
    return tomllib.loads(
        next(each["data"]["settings.toml"] for each in documents if "settings.toml" in each.get("data", {}))
    )


def test_the_default_mode_is_the_one_that_the_guide_recommends(engine: Engine) -> None:
    kinds = {each["kind"] for each in engine.render(CLEAN)}
    assert "StatefulSet" in kinds
    assert "RayService" not in kinds
    guide = (ROOT / "docs" / "operators.md").read_text(encoding="utf-8")
    assert f"Take `{VALUES['mode']}` unless" in guide
    assert f"| `{VALUES['mode']}` (default) |" in (CHART / "README.md").read_text(encoding="utf-8")


@BOTH
def test_names_and_resolvers_of_a_platform_reach_workers_and_their_jobs(engine: Engine, values: Values) -> None:
    hosts = [{"ip": "10.0.0.9", "hostnames": ["kafka.internal"]}]
    dns = {"options": [{"name": "ndots", "value": "2"}]}
    given = {"hostAliases": hosts, "dnsConfig": dns, "dnsPolicy": "None"}
    jobs = {"jobs": {"topics": {"enabled": True}}}
    found = 0
    for pod in pods(engine.render(merged(values, {"worker": given}, jobs))):
        if pod.labels["app.kubernetes.io/component"] != "head":
            found += 1
            assert {key: pod.spec[key] for key in given} == given
    assert found >= 3


@pytest.mark.parametrize("place", ["ray.head", "generation.server"])
def test_head_and_models_have_names_and_resolvers_of_their_own(engine: Engine, place: str) -> None:
    block, name = place.split(".")
    hosts = [{"ip": "10.0.0.9", "hostnames": ["hub.internal"]}]
    documents = engine.render(merged(MINIMAL, MODEL, {block: {name: {"hostAliases": hosts}}}))
    component = {"ray.head": "head", "generation.server": "generation"}[place]
    assert {pod.labels["app.kubernetes.io/component"] for pod in pods(documents) if "hostAliases" in pod.spec} == {
        component
    }


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_pods_listen_on_the_family_that_they_are_told(engine: Engine, host: str) -> None:
    documents = engine.render(merged(STATEFULSET, MODEL, {"agent": {"host": host}}))
    assert _settings(documents)["agent"]["host"] == host
    model = next(pod for pod in pods(documents) if pod.owner.startswith("Deployment"))
    arguments = model.spec["containers"][0]["args"]
    assert arguments[arguments.index("--host") + 1] == host


@pytest.mark.parametrize("name", ["everything", "statefulset-keda", "mutual-tls", "production"])
def test_common_annotations_are_on_every_object_and_on_no_pod(engine: Engine, name: str) -> None:
    mark = {"example.com/owner": "safety"}
    documents = engine.render(merged(examples()[name], {"commonAnnotations": mark}))
    lost = [
        f"{each['kind']}/{each['metadata']['name']}"
        for each in documents
        if not mark.items() <= each["metadata"].get("annotations", {}).items()
    ]
    assert lost == [each for each in lost if each.endswith("/gate-extra")]  # an object of the user's own
    templates = [pod.template for pod in pods(documents) if not pod.owner.startswith("Pod")]
    assert templates
    assert not [each for each in templates if mark.items() <= each["metadata"].get("annotations", {}).items()]


@BOTH
def test_a_private_ca_is_mounted_and_named_for_models_and_collector(engine: Engine, values: Values) -> None:
    documents = engine.render(merged(values, {"caSecret": {"name": "corporate", "key": "root.pem"}}))
    checked = 0
    for pod in pods(documents):
        environment = {each["name"]: each.get("value") for each in pod.containers[0]["env"]}
        (volume,) = [each for each in pod.spec["volumes"] if each["name"] == "ca"]
        assert volume["secret"]["items"] == [{"key": "root.pem", "path": "ca.crt"}]
        (mount,) = [each for each in pod.containers[0]["volumeMounts"] if each["name"] == "ca"]
        path = f"{mount['mountPath']}/ca.crt"
        assert environment["SSL_CERT_FILE"] == environment["OTEL_EXPORTER_OTLP_CERTIFICATE"] == path
        checked += 1
    assert checked >= 2
    assert "SSL_CERT_FILE" not in json.dumps(engine.render(values))


def test_a_parent_chart_may_switch_it_on_by_condition(engine: Engine) -> None:
    assert engine.render(merged(MINIMAL, {"enabled": True})) == engine.render(MINIMAL)
    with pytest.raises(RenderRefused, match="condition of the dependency"):
        engine.render(merged(MINIMAL, {"enabled": False}))


@pytest.mark.parametrize("place", ["imagePullSecrets", "global"])
def test_pull_secrets_are_names_or_maps(engine: Engine, place: str) -> None:
    secrets = ["registry-a", {"name": "registry-b"}]
    given = {place: secrets if place == "imagePullSecrets" else {"imagePullSecrets": secrets}}
    for pod in pods(engine.render(merged(STATEFULSET, given))):
        assert pod.spec["imagePullSecrets"] == [{"name": "registry-a"}, {"name": "registry-b"}]


def test_a_token_may_come_from_a_file_that_something_keeps_fresh(engine: Engine) -> None:
    security = {
        "mechanism": "OAUTHBEARER",
        "username": "",
        "existingSecret": {"name": ""},
        "tokenFile": "/var/run/token/kafka",
    }
    kafka = _settings(engine.render(merged(MINIMAL, {"kafka": {"security": security}})))["kafka"]
    assert kafka["sasl_password_file"] == "/var/run/token/kafka"
    assert kafka["sasl_mechanism"] == "OAUTHBEARER"


@pytest.mark.parametrize("block", ["networkPolicy", "worker", "kafka", "otel", "preset", "mode", "metrics"])
def test_null_for_what_is_needed_is_refused_with_its_name(engine: Engine, block: str) -> None:
    with pytest.raises(RenderRefused, match=f"missing propert.*'{block}'"):
        engine.render(merged(MINIMAL, {block: None}))


@pytest.mark.parametrize(
    "value", ["nameOverride", "fullnameOverride", "imagePullSecrets", "commonLabels", "extraObjects", "settings"]
)
def test_null_for_what_is_empty_is_the_default(engine: Engine, value: str) -> None:
    assert engine.render(merged(STATEFULSET, {value: None})) == engine.render(STATEFULSET)


@pytest.mark.parametrize(
    "values",
    [
        {"global": {"imagePullSecrets": ["regcred"]}},
        {"global": {"storageClass": "fast"}},
        {"kafka": {"bootstrapServers": ["[2001:db8::1]:9093"]}},
        {"fullnameOverride": "b" * 63},
    ],
    ids=["pull secret", "foreign global", "IPv6", "long name"],
)
def test_values_that_other_charts_bring_along_are_taken(engine: Engine, values: Values) -> None:
    documents = engine.render(merged(STATEFULSET, values))
    assert all(len(each["metadata"]["name"]) <= 63 for each in documents)


def test_a_service_begins_with_a_letter(engine: Engine) -> None:
    services = [each for each in engine.render(STATEFULSET, name="1gate") if each["kind"] == "Service"]
    assert all(each["metadata"]["name"][0].isalpha() for each in services)
