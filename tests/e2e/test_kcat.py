"""Any Kafka client will do: kcat sends an event and reads the audited response."""

import json
import shutil
import subprocess

import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import PATIENCE_S
from tests.plugins.running_worker import fresh_settings, running_loop, wait_committed

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(shutil.which("kcat") is None, reason="kcat is missing: Debian's package of that name"),
]

EVENT = {
    "event_id": "by-hand",
    "conversation_id": "c1",
    "tenant_id": "t1",
    "messages": [{"role": "user", "parts": [{"type": "text", "text": "Hello"}]}],
}


def kcat(*arguments: str, given: str = "") -> str:
    command = ["kcat", *arguments]
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_kcat_sends_an_event_and_reads_the_audited_response(kafka: Kafka) -> None:
    settings = fresh_settings(kafka)
    broker = settings.kafka.bootstrap_servers[0]
    with running_loop(settings) as loop:
        kcat("-P", "-b", broker, "-t", settings.topics.events, "-k", "c1", given=json.dumps(EVENT))
        wait_committed(loop, 1)
        read = ["-C", "-b", broker, "-t", settings.topics.audited, "-X", "isolation.level=read_committed"]
        out = kcat(*read, "-o", "beginning", "-e", "-q", "-f", "%k %h %s\n")
    key, headers, value = out.strip().split(" ", 2)
    response = json.loads(value)
    assert key == "c1"
    assert "sluicegate-schema=audited-response/1" in headers
    assert (response["event_id"], response["action"]) == ("by-hand", "published")
