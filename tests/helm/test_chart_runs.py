"""What is rendered runs: the worker's command, files and environment as a pod has them, on real Kafka."""

import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.helm.engine import ROOT, Engine, Values
from tests.helm.local_pod import LocalPod, SecretTexts
from tests.helm.pods import pods
from tests.plugins.kafka_broker import Kafka, wait_until
from tests.plugins.running_worker import audits, fresh_settings, question, responses, send
from topology.events import Action, Candidate, TextPart
from workers.demo.parts import free_port
from workers.settings import Settings

pytestmark = [pytest.mark.kafka, pytest.mark.ray, pytest.mark.timeout(240)]

POLICY = ROOT / "topology" / "policies" / "safe-completion-core.yaml"
OVERLAY = ROOT / "workers" / "demo" / "overlays" / "harbour-bank.yaml"
SECRETS: SecretTexts = {"agent": {"token": "let me"}, "digests": {"digest-key": "a key for tests"}}
ANSWERED_S = 90.0


def chart_values(settings: Settings, port: int) -> Values:
    """The chart's values that come to `settings`; the agent's port is free on this machine, and on loopback."""
    topics = settings.topics
    names = ("events", "audited", "audit", "review", "state", "canary", "policy")
    own = {"SLUICEGATE_AGENT__HOST": "127.0.0.1", "SLUICEGATE_AGENT__PORT": str(port)}
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
        "policy": {
            "inline": POLICY.read_text(encoding="utf-8"),
            "overlays": {"inline": {"harbour-bank": OVERLAY.read_text(encoding="utf-8")}},
        },
        "agent": {"tokenSecret": {"name": "agent"}},
        "redaction": {"digestKeySecret": {"name": "digests"}},
        "worker": {"extraEnv": [{"name": name, "value": value} for name, value in own.items()]},
    }


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def test_the_rendered_worker_becomes_ready_answers_and_drains(engine: Engine, kafka: Kafka, tmp_path: Path) -> None:
    settings, port = fresh_settings(kafka), free_port()
    documents = engine.render({"mode": "statefulset", **chart_values(settings, port)})
    worker = next(pod for pod in pods(documents) if pod.owner.startswith("StatefulSet/"))
    fields = {
        "metadata.name": "gate-sluicegate-0",
        "metadata.namespace": "chat",
        "metadata.labels['apps.kubernetes.io/pod-index']": "0",
        "spec.nodeName": "node",
    }
    pod = LocalPod(worker, documents, secrets=SECRETS, fields=fields, directory=tmp_path / "pod")
    probes = {
        kind: f"http://127.0.0.1:{port}{pod.container[kind]['httpGet']['path']}"
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    startup = pod.container["startupProbe"]
    startup_s = startup["periodSeconds"] * startup["failureThreshold"]
    log = tmp_path / "worker.log"
    with pod.running(log) as process:
        wait_until(lambda: process.poll() is not None or _answers(probes["startupProbe"]), startup_s)
        wait_until(lambda: process.poll() is not None or _answers(probes["readinessProbe"]), startup_s)
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        assert _answers(probes["livenessProbe"])
        candidate = Candidate(parts=(TextPart(text="It opens at nine."),))
        send(settings, [question(number, candidate=candidate, tenant_id="harbour-bank") for number in range(5)])
        wait_until(lambda: len(responses(settings)) == 5, ANSWERED_S)
        asked_s = time.monotonic()
        hook = subprocess.run(pod.pre_stop, env=pod.environment, capture_output=True, timeout=pod.grace_s, check=False)
        assert hook.returncode == 0, hook.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(pod.grace_s - (time.monotonic() - asked_s)) == 0, log.read_text(errors="replace")[-2000:]
    assert {response.action for response in responses(settings)} <= {Action.PUBLISHED, Action.SAFE_COMPLETED}
    assert {audit.overlay_ref is not None for audit in audits(settings)} == {True}
    assert "It opens at nine" not in log.read_text(errors="replace")
