"""`sluicegate run` as an operator starts it: a process, a settings file, and a signal."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import ENVIRONMENT, PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings, question, responses, send
from tests.plugins.topic_fields import TOPIC_FIELDS
from topology.contract.events import Action, Candidate, TextPart
from workers.commands.demo.parts import free_port
from workers.settings import Settings
from workers.supervision.node_client import node_status

pytestmark = [pytest.mark.kafka, pytest.mark.ray]


def settings_file(path: Path, settings: Settings, agent_port: int) -> Path:
    """The settings that differ from the defaults, as an operator would write them."""
    topics = "\n".join(f'{name} = "{getattr(settings.topics, name)}"' for name in TOPIC_FIELDS)
    kafka = settings.kafka
    path.write_text(
        f"""
[kafka]
bootstrap_servers = ["{kafka.bootstrap_servers[0]}"]
group_id = "{kafka.group_id}"
session_timeout_ms = {kafka.session_timeout_ms}
heartbeat_interval_ms = {kafka.heartbeat_interval_ms}
max_poll_interval_ms = {kafka.max_poll_interval_ms}
rejoin_timeout_s = {kafka.rejoin_timeout_s}
[topics]
{topics}
[stages.bias]
placement = "actor"
[redaction]
digest_key = "a key for tests"
[ray]
health_interval_s = 0.5
[agent]
port = {agent_port}
"""
    )
    return path


@contextmanager
def running(config: Path, log: Path, ray_address: str = "") -> Generator["subprocess.Popen[bytes]"]:
    """Run the command as a process, its output in `log`; it ends with the block whatever happens.

    Without `ray_address` it starts a Ray of its own.
    """
    command = [sys.executable, "-m", "workers.cli", "run", "--config", str(config)]
    environment = {**os.environ, **ENVIRONMENT, "SLUICEGATE_RAY__ADDRESS": ray_address}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            yield process
        except AssertionError as exc:
            exc.add_note(f"exit code {process.poll()}; the end of its log:\n{log.read_text(errors='replace')[-2000:]}")
            raise
        finally:
            process.kill() if process.poll() is None else None
            process.wait(10)


def ingress_pid(log: Path) -> int | None:
    """The process that says it joined the group, from its log line; None until it has."""
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and json.loads(line).get("message") == "worker started":
            return int(json.loads(line)["pid"])
    return None


def test_a_worker_answers_survives_kill_9_and_drains_on_sigterm(kafka: Kafka, tmp_path: Path) -> None:
    settings = fresh_settings(kafka)
    log = tmp_path / "run.log"
    candidate = Candidate(parts=(TextPart(text="It opens at nine."),))
    events = [question(number, conversation=f"c{number % 5}", candidate=candidate) for number in range(200)]
    port = free_port()
    with running(settings_file(tmp_path / "sluicegate.toml", settings, port), log) as process:
        send(settings, events[:100])
        wait_until(lambda: len(responses(settings)) >= 50)
        pid = ingress_pid(log)
        assert pid is not None, log.read_text(errors="replace")[-2000:]
        os.kill(pid, signal.SIGKILL)
        send(settings, events[100:])
        wait_until(lambda: len(responses(settings)) >= len(events))
        wait_until(lambda: node_status(f"http://127.0.0.1:{port}").ready)
        status = node_status(f"http://127.0.0.1:{port}")
        assert status.live
        assert {actor.name for actor in status.actors} == {"ingress-0", "stage-bias-0"}
        assert status.totals.published > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text(errors="replace")[-2000:]
    answered = responses(settings)
    assert sorted(response.event_id for response in answered) == sorted(event.event_id for event in events)
    assert {response.action for response in answered} <= {Action.PUBLISHED, Action.SAFE_COMPLETED}
    lines = log.read_text(errors="replace").splitlines()
    assert all(json.loads(line)["level"] for line in lines if line.startswith("{"))
    assert not any("It opens at nine" in line for line in lines)


def test_a_wrong_setting_ends_the_command_with_one_clear_line(tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text('[kafka]\nsecurity_protocol = "NONE"\n')
    command = [sys.executable, "-m", "workers.cli", "run", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 2
    assert "kafka.security_protocol" in ended.stderr
    assert "SASL_SSL" in ended.stderr
    assert "Traceback" not in ended.stderr
