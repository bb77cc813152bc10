"""Who may talk to whom under the chart's network policies, by the rules of `networking.k8s.io/v1`."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from msgspec import Struct

from tests.helm.cases import MINIMAL, examples
from tests.helm.engine import Document, Engine, merged
from tests.helm.pods import pods
from tests.helm.references import matches

NAMESPACE = "kubernetes.io/metadata.name"
DNS = 53


class Peer(Struct, frozen=True, kw_only=True):
    """Another pod, by its labels and its namespace's; or, with neither, an address outside."""

    labels: dict[str, str] = {}
    namespace: str = ""
    address: str = ""


KAFKA = Peer(labels={"app": "kafka"}, namespace="messaging")
STRANGER = Peer(labels={"app": "other"}, namespace="elsewhere")
PROMETHEUS = Peer(labels={"app": "prometheus"}, namespace="observability")
OPERATOR = Peer(labels={"app": "kuberay"}, namespace="kuberay")
INTERNET = Peer(address="198.51.100.7")
API_SERVER = Peer(address="10.0.0.1")


class Network:
    """The policies of one release in the namespace `chat`."""

    def __init__(self, documents: list[Document]) -> None:
        self._policies = [each["spec"] for each in documents if each["kind"] == "NetworkPolicy"]
        self._labels = {pod.labels["app.kubernetes.io/component"]: pod.labels for pod in pods(documents)}

    def pod(self, component: str) -> Peer:
        return Peer(labels=self._labels[component], namespace="chat")

    def may_reach(self, component: str, peer: Peer, port: int) -> bool:
        """Whether a pod of the release may open a connection to `peer`."""
        return self._is_allowed("Egress", "egress", "to", component, peer, port)

    def may_be_reached(self, component: str, peer: Peer, port: int) -> bool:
        """Whether `peer` may open a connection to a pod of the release."""
        return self._is_allowed("Ingress", "ingress", "from", component, peer, port)

    def _is_allowed(self, kind: str, rules: str, side: str, component: str, peer: Peer, port: int) -> bool:
        labels = self._labels[component]
        selecting = [
            policy
            for policy in self._policies
            if kind in policy["policyTypes"] and matches(policy["podSelector"], labels)
        ]
        assert selecting, f"nothing keeps anyone away from {component}"
        return any(
            _has_port(rule, port) and (not rule.get(side) or any(_is_peer(each, peer) for each in rule[side]))
            for policy in selecting
            for rule in policy.get(rules, [])
        )


def _has_port(rule: dict[str, Any], port: int) -> bool:
    return not rule.get("ports") or any(each["port"] == port for each in rule["ports"])


def _is_peer(given: dict[str, Any], peer: Peer) -> bool:
    if "ipBlock" in given:
        return bool(peer.address) and ip_address(peer.address) in ip_network(given["ipBlock"]["cidr"])
    if not peer.namespace:
        return False
    namespace = {NAMESPACE: peer.namespace}
    in_namespace = (
        matches(given["namespaceSelector"], namespace) if "namespaceSelector" in given else peer.namespace == "chat"
    )
    return in_namespace and matches(given.get("podSelector", {}), peer.labels)


def test_a_worker_reaches_what_its_values_name_and_nothing_else(engine: Engine) -> None:
    network = Network(engine.render(examples()["statefulset-keda"]))
    assert network.may_reach("worker", KAFKA, 9093)
    assert network.may_reach("worker", STRANGER, DNS)
    assert network.may_reach("worker", Peer(address="192.0.2.9"), 443)
    assert network.may_reach("worker", Peer(labels={}, namespace="observability"), 4318)
    assert not network.may_reach("worker", STRANGER, 9093)
    assert not network.may_reach("worker", KAFKA, 2181)
    assert not network.may_reach("worker", INTERNET, 443)
    assert not network.may_reach("worker", API_SERVER, 6443)
    for component in ("test", "canary"):
        assert network.may_reach(component, KAFKA, 9093)


def test_a_worker_is_reached_by_prometheus_on_its_port_alone(engine: Engine) -> None:
    network = Network(engine.render(examples()["statefulset-keda"]))
    assert network.may_be_reached("worker", PROMETHEUS, 9464)
    assert not network.may_be_reached("worker", PROMETHEUS, 22)
    assert not network.may_be_reached("worker", STRANGER, 9464)


def test_a_ray_cluster_is_open_to_itself_and_its_operator(engine: Engine) -> None:
    network = Network(engine.render(examples()["rayserve"]))
    for port in (6379, 8000, 8265, 10001, 34567):
        assert network.may_be_reached("head", network.pod("worker"), port)
        assert network.may_reach("worker", network.pod("head"), port)
        assert not network.may_be_reached("head", STRANGER, port)
    for port in (8265, 52365, 8000):
        assert network.may_be_reached("head", OPERATOR, port)
    assert not network.may_be_reached("head", OPERATOR, 6379)
    assert not network.may_be_reached("head", PROMETHEUS, 8265)


def test_only_a_head_that_scales_reaches_the_api_server(engine: Engine) -> None:
    network = Network(engine.render(examples()["rayserve"]))
    assert network.may_reach("head", API_SERVER, 443)
    assert not network.may_reach("head", INTERNET, 443)
    assert not network.may_reach("worker", API_SERVER, 443)
    assert not Network(engine.render(MINIMAL)).may_reach("head", API_SERVER, 443)


def test_only_a_model_that_is_not_offline_reaches_its_hub(engine: Engine) -> None:
    values = examples()["mutual-tls"]
    assert Network(engine.render(values)).may_reach("generation", INTERNET, 443)
    offline = merged(values, {"generation": {"server": {"offline": True}}})
    assert not Network(engine.render(offline)).may_reach("generation", INTERNET, 443)
    assert not Network(engine.render(values)).may_reach("generation", INTERNET, 80)


def test_a_model_of_the_chart_is_for_its_workers_alone(engine: Engine) -> None:
    network = Network(
        engine.render(
            merged(
                examples()["mutual-tls"], {"networkPolicy": {"prometheusNamespaceLabels": {NAMESPACE: "observability"}}}
            )
        )
    )
    assert network.may_be_reached("generation", network.pod("worker"), 8000)
    assert network.may_be_reached("generation", PROMETHEUS, 8000)
    assert not network.may_be_reached("generation", STRANGER, 8000)


def test_redis_is_reached_where_the_cluster_keeps_its_state_there(engine: Engine) -> None:
    redis = Peer(labels={}, namespace="infrastructure")
    assert Network(engine.render(examples()["rayserve"])).may_reach("head", redis, 6379)
    assert not Network(engine.render(MINIMAL)).may_reach("head", redis, 6379)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://a.example/v1", 443),
        ("http://a.example/v1", 80),
        ("http://a:8123/v1", 8123),
        ("http://[::1]:81/v1", 81),
    ],
)
def test_a_model_is_reached_on_the_port_of_its_address(engine: Engine, url: str, port: int) -> None:
    network = Network(engine.render(merged(MINIMAL, {"generation": {"baseUrl": url}})))
    assert network.may_reach("worker", INTERNET, port)
    assert not network.may_reach("worker", INTERNET, port + 1)


def test_a_door_reaches_brokers_and_collector_and_neither_models_nor_workers(engine: Engine) -> None:
    network = Network(engine.render(examples()["statefulset-keda"]))
    assert network.may_reach("door", KAFKA, 9093)
    assert network.may_reach("door", STRANGER, DNS)
    assert network.may_reach("door", Peer(labels={}, namespace="observability"), 4318)
    assert not network.may_reach("door", Peer(address="192.0.2.9"), 443)
    assert not network.may_reach("door", network.pod("worker"), 9464)
    assert not network.may_reach("door", API_SERVER, 6443)


def test_a_door_is_reached_on_its_port_by_its_peers_and_prometheus(engine: Engine) -> None:
    values = examples()["statefulset-keda"]
    network, shop = Network(engine.render(values)), Peer(labels={"app": "shop"}, namespace="shops")
    assert network.may_be_reached("door", shop, 8800)
    assert network.may_be_reached("door", PROMETHEUS, 9465)
    assert not network.may_be_reached("door", shop, 9465)
    assert not network.may_be_reached("door", PROMETHEUS, 8800)
    assert not network.may_be_reached("door", STRANGER, 8800)
    assert not network.may_be_reached("worker", shop, 8800)
    unnamed = merged(values, {"networkPolicy": {"prometheusNamespaceLabels": None}})
    assert not Network(engine.render(unnamed)).may_be_reached("door", STRANGER, 8800)
    anyone = Network(engine.render(merged(values, {"networkPolicy": {"doorPeers": []}})))
    assert anyone.may_be_reached("door", INTERNET, 8800)


def test_a_policy_that_is_switched_off_is_not_rendered(engine: Engine) -> None:
    documents = engine.render(merged(MINIMAL, {"networkPolicy": {"enabled": False}}))
    assert "NetworkPolicy" not in {each["kind"] for each in documents}
