"""A guard is killed in a real run; the recording of its metrics, replayed by Prometheus' tool, raises the alarms.

Real Kafka, real guards, the classification stage in a Ray actor of its own. The metrics page is read once a second, and
each second is replayed as a minute: alerts look minutes back.
"""

import shutil
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import pytest
import ray
import yaml
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from helm.monitoring.alerts import rules
from serving.guards.labeler import EmbeddedLabeler
from serving.guards.linear import LinearModel
from serving.guards.per_policy import PolicyLabeler
from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from tests.plugins.running_worker import fresh_settings, question, running_loop, wait_committed
from topology.contract.events import Candidate, TextPart
from topology.contract.names import StageName
from workers.commands.canary import CASES, canary_event
from workers.kafka.sender import EventSender
from workers.policy.signing import new_private_key, private_key, public_half
from workers.settings import CanarySettings, Settings, StageSettings, StagesSettings, TelemetrySettings
from workers.stages.building import build_checks
from workers.supervision.actors import StageActor
from workers.telemetry.openmetrics import page
from workers.telemetry.setup import Telemetry, start_telemetry

PROMTOOL = shutil.which("promtool") or ""
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.ray,
    pytest.mark.usefixtures("local_ray"),
    pytest.mark.skipif(not PROMTOOL, reason="promtool (Debian package prometheus) is not installed"),
]

HEALTHY_S, KILLED_S = 10, 30
"""Drafts wait for a stage without any replica for twelve times its limit, here 12 s, before they are held."""
EVENTS_A_SECOND = 20
ALARMS = ("SluicegateNoTraffic",)
"""A stage without any replica holds few drafts and makes the worker pause: its partitions stand still, which pages."""


@pytest.fixture
def guard() -> Generator[Any]:
    """The classification stage in a process of its own."""
    actor = StageActor.options(num_cpus=0.1).remote(Settings(), StageName.CLASSIFICATION.value)
    ray.get(actor.health.remote(), timeout=PATIENCE_S)
    yield actor
    ray.kill(actor, no_restart=True)


class Recording:
    """The metrics page of a worker, second by second."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._series: dict[str, dict[int, float]] = defaultdict(dict)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(1.0):
            body, _ = page(self._telemetry.families(), "text/plain")
            for family in text_string_to_metric_families(body.decode()):
                for sample in family.samples:
                    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                    self._series[f"{sample.name}{{{labels}}}"][self.seconds] = sample.value
            self.seconds += 1

    def input_series(self) -> list[dict[str, str]]:
        """What was recorded as promtool's input; what was not there is a gap."""
        return [
            {"series": name, "values": " ".join(f"{at[n]:g}" if n in at else "_" for n in range(self.seconds))}
            for name, at in self._series.items()
        ]


def _traffic(settings: Settings, seconds: float, pem: bytes, prefix: str) -> int:
    """Steady events with an answer that may leave, and every four seconds the probes. How many were sent."""
    sender = EventSender(settings.kafka, settings.topics.events)
    candidate = Candidate(parts=(TextPart(text="The library opens at nine and closes at five."),))
    count, began_s = 0, time.monotonic()
    try:
        while time.monotonic() - began_s < seconds:
            if count % (4 * EVENTS_A_SECOND) == 0:
                now_ms = int(time.time() * 1000)
                for case in CASES:
                    sender.send_event(canary_event(case, "k1", private_key(pem), now_ms))
            sender.send_event(
                question(count, f"{prefix}{count % 50}", candidate=candidate, event_id=f"{prefix}-{count}")
            )
            count += 1
            time.sleep(1 / EVENTS_A_SECOND)
    finally:
        sender.close()
    return count


def _replayed(recording: Recording, healthy_minute: int, tmp_path: Path) -> None:
    """Prometheus' own word: silent while the guard lived, firing at the end."""
    listed = [rule for group in rules()["groups"] for rule in group["rules"] if rule["alert"] in ALARMS]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "alarms", "rules": listed}]}))
    checks: list[dict[str, Any]] = []
    for rule in listed:
        expected = {"exp_labels": rule["labels"], "exp_annotations": rule["annotations"]}
        last = f"{recording.seconds - 1}m"
        checks.append({"eval_time": f"{healthy_minute}m", "alertname": rule["alert"], "exp_alerts": []})
        checks.append({"eval_time": last, "alertname": rule["alert"], "exp_alerts": [expected]})
    test = {"interval": "1m", "input_series": recording.input_series(), "alert_rule_test": checks}
    suite = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "replay.yaml").write_text(yaml.safe_dump(suite))
    command = [PROMTOOL, "test", "rules", "replay.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_killed_guard_raises_the_alarms(kafka: Kafka, guard: Any, tmp_path: Path) -> None:
    pem = new_private_key()
    settings = structs.replace(
        fresh_settings(kafka),
        canary=CanarySettings(keys={"k1": public_half(pem)}),
        stages=StagesSettings(classification=StageSettings(placement="actor", timeout_s=1)),
    )
    telemetry = start_telemetry(TelemetrySettings(), "ingress", 0)
    model = LinearModel.load()
    labeler = PolicyLabeler(lambda policy: EmbeddedLabeler(model, policy.categories))
    checks = build_checks(settings, {StageName.CLASSIFICATION.value: [guard]}, [], telemetry.instruments)
    with running_loop(settings, labeler=labeler, checks=checks, metrics=telemetry.instruments) as loop:
        wait_committed(loop, _traffic(settings, 2, pem, "warm") + 2)
        with Recording(telemetry) as recording:
            _traffic(settings, HEALTHY_S, pem, "well")
            healthy_minute = recording.seconds - 1
            ray.kill(guard, no_restart=True)
            _traffic(settings, KILLED_S, pem, "killed")
    _replayed(recording, healthy_minute, tmp_path)
