"""What is rendered runs, on real Kafka: the worker as a pod has it, and what Ray Serve is told, on a local Ray."""

import hashlib
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.engine.options import TINY_ENGINE
from serving.engine.tiny_checkpoint import build_tiny_checkpoint
from tests.helm.engine import ROOT, Engine, Values, merged
from tests.helm.local_pod import LocalPod, SecretTexts
from tests.helm.pods import pods
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import ENVIRONMENT, PATIENCE_S, wait_until
from tests.plugins.running_worker import audits, fresh_settings, question, responses, send
from topology.contract.events import Action, Candidate, TextPart
from workers.commands.demo.parts import OVERLAYS, free_port
from workers.settings import Settings
from workers.supervision.node_client import node_status

pytestmark = [pytest.mark.kafka, pytest.mark.ray]

POLICY = ROOT / "topology" / "policies" / "safe-completion-core.yaml"
OVERLAY = OVERLAYS / "harbour-bank.yaml"
SECRETS: SecretTexts = {"agent": {"token": "let me"}, "digests": {"digest-key": "a key for tests"}}
MODEL_S = 800.0
FIELDS = {
    "metadata.name": "gate-sluicegate-0",
    "metadata.namespace": "chat",
    "metadata.labels['apps.kubernetes.io/pod-index']": "0",
    "metadata.labels['ray.io/cluster']": "gate-sluicegate-a1b2c",
    "spec.nodeName": "node",
}
PLAIN = Candidate(parts=(TextPart(text="It opens at nine."),))


def chart_values(settings: Settings, port: int) -> Values:
    """The chart's values that come to `settings`; the agent's port is free on this machine, and on loopback."""
    topics = settings.topics
    names = ("events", "audited", "audit", "review", "state", "canary", "policy")
    own = {"SLUICEGATE_AGENT__HOST": "127.0.0.1", "SLUICEGATE_AGENT__PORT": str(port), **ENVIRONMENT}
    return {
        "preset": "nano",
        "kafka": {
            "bootstrapServers": list(settings.kafka.bootstrap_servers),
            "groupId": settings.kafka.group_id,
            "security": {"protocol": "PLAINTEXT"},
            "topics": {
                **{name: getattr(topics, name) for name in names},
                "deadLetters": topics.dead_letters,
                "partitions": topics.partitions,
            },
        },
        "generation": {"baseUrl": "http://127.0.0.1:9/v1", "model": "none"},
        "settings": {"generation": {"turn_marks": ["none"]}},
        "policy": {
            "inline": POLICY.read_text(encoding="utf-8"),
            "overlays": {"inline": {"harbour-bank": OVERLAY.read_text(encoding="utf-8")}},
        },
        "agent": {"tokenSecret": {"name": "agent"}},
        "redaction": {"digestKeySecret": {"name": "digests"}},
        "worker": {"extraEnv": [{"name": name, "value": value} for name, value in own.items()]},
    }


def is_answered(url: str) -> bool:
    """Whether there is an answer, and it is 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def test_the_rendered_worker_becomes_ready_answers_and_drains(engine: Engine, kafka: Kafka, tmp_path: Path) -> None:
    settings, port = fresh_settings(kafka), free_port()
    documents = engine.render({"mode": "statefulset", **chart_values(settings, port)})
    worker = next(pod for pod in pods(documents) if pod.owner.startswith("StatefulSet/"))
    pod = LocalPod(worker, documents, secrets=SECRETS, fields=FIELDS, directory=tmp_path / "pod")
    probes = {
        kind: f"http://127.0.0.1:{port}{pod.container[kind]['httpGet']['path']}"
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    log = tmp_path / "worker.log"
    with pod.running(log) as process:
        wait_until(lambda: process.poll() is not None or is_answered(probes["startupProbe"]))
        wait_until(lambda: process.poll() is not None or is_answered(probes["readinessProbe"]))
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert is_answered(probes["livenessProbe"])
        send(settings, [question(number, candidate=PLAIN, tenant_id="harbour-bank") for number in range(5)])
        wait_until(lambda: len(responses(settings)) == 5)
        hook = subprocess.run(pod.pre_stop, env=pod.environment, capture_output=True, timeout=PATIENCE_S, check=False)
        assert hook.returncode == 0, hook.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text(errors="replace")[-2000:]
    assert {response.action for response in responses(settings)} <= {Action.PUBLISHED, Action.SAFE_COMPLETED}
    assert {audit.overlay_ref is not None for audit in audits(settings)} == {True}
    assert "It opens at nine" not in log.read_text(errors="replace")


@pytest.fixture
def serve_port(local_ray: None) -> Generator[int]:
    """Ray Serve on loopback; its proxy's port."""
    from ray import serve

    del local_ray
    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    yield port
    serve.shutdown()


def serve_config(engine: Engine, values: Values, directory: Path) -> dict[str, Any]:
    """`serveConfigV2` of the RayService for this machine: paths moved, and a worker pod's environment for all."""
    documents = engine.render({**values, "mode": "rayservice"})
    group = next(pod for pod in pods(documents) if pod.owner.endswith(" consumer"))
    pod = LocalPod(group, documents, secrets=SECRETS, fields=FIELDS, directory=directory)
    service = next(each for each in documents if each["kind"] == "RayService")
    config = yaml.safe_load(pod.moved(service["spec"]["serveConfigV2"]))
    file = Path(config["applications"][0]["args"]["config"])
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    config["applications"][0]["deployments"][0]["user_config"]["settings_sha256"] = digest
    own = {name: value for name, value in pod.environment.items() if name.startswith("SLUICEGATE_")}
    for application in config["applications"]:
        application["runtime_env"] = {"env_vars": own}
    return config


def deploy(config: dict[str, Any]) -> None:
    """As the Ray operator does it."""
    from ray import serve
    from ray.serve.schema import ServeDeploySchema

    client: Any = serve.context._get_global_client()  # pyright: ignore[reportAttributeAccessIssue] - not public
    client.deploy_apps(ServeDeploySchema.model_validate(config))


def test_the_rendered_serve_configuration_puts_workers_to_work(
    engine: Engine, kafka: Kafka, serve_port: int, tmp_path: Path
) -> None:
    from ray import serve

    settings, port = fresh_settings(kafka), free_port()
    values = merged(chart_values(settings, port), {"worker": {"replicas": 2}})
    config = serve_config(engine, values, tmp_path / "pod")
    deploy(config)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: is_answered(f"{url}/readyz"))
    send(settings, [question(number, conversation=f"c{number}", candidate=PLAIN) for number in range(8)])
    wait_until(lambda: len(responses(settings)) == 8)
    wait_until(lambda: {actor.name for actor in node_status(url).actors} == {"ingress-0", "ingress-1"})
    serve.delete(config["applications"][0]["name"])
    wait_until(lambda: not is_answered(f"{url}/livez"))


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_the_rendered_model_application_answers_on_the_cpu(
    engine: Engine, kafka: Kafka, serve_port: int, tmp_path: Path
) -> None:
    """`generation.mode: rayserve` with the tiny checkpoint: an event is answered by the model that Serve runs."""
    settings, port = fresh_settings(kafka), free_port()
    server = {"source": str(build_tiny_checkpoint(tmp_path / "tiny")), "device": "cpu", "engine": TINY_ENGINE}
    values = chart_values(settings, port)
    values["generation"] = {"mode": "rayserve", "model": "tiny", "server": server}
    url = {"name": "SLUICEGATE_GENERATION__BASE_URL", "value": f"http://127.0.0.1:{serve_port}/v1"}
    values["worker"]["extraEnv"].append(url)
    config = serve_config(engine, values, tmp_path / "pod")
    assert [each["name"] for each in config["applications"]] == ["sluicegate", "sluicegate-generation"]
    deploy(config)
    wait_until(lambda: is_answered(f"http://127.0.0.1:{serve_port}/v1/models"), MODEL_S)
    send(settings, [question(1)])
    wait_until(lambda: len(responses(settings)) == 1, MODEL_S)
    (response,) = responses(settings)
    assert response.usage is not None
    assert response.usage.output_tokens > 0
