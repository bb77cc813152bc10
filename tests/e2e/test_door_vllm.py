"""A client of the door that goes away, seen on a real model server by its own metrics."""

import json
import re
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec.structs import replace

from serving.engine.child_server import VllmServer
from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import API_KEY, client_of, door_settings, open_door
from tests.plugins.patience import wait_until
from tests.plugins.running_worker import fresh_settings, responses, running_loop
from tests.plugins.vllm_server import TINY_MODEL
from topology.contract.drafts import Draft, GenerationRequest
from topology.ports import Generator, OnText
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.process.clock import SystemClock
from workers.settings import GenerationSettings
from workers.stages.language_models import ModelSet

pytestmark = [pytest.mark.kafka, pytest.mark.vllm]

GRACE_S: Final = 1.0
TOKENS: Final = 6_000
SETTLED_S: Final = 5.0


class Endless:
    """A generator whose model does not end by itself for long, unless the request says when."""

    def __init__(self, inner: Generator) -> None:
        self._inner = inner

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        if request.parameters.max_tokens is None:
            parameters = replace(request.parameters, ignore_eos=True, max_tokens=TOKENS)
            request = replace(request, parameters=parameters)
        return await self._inner.generate(request, on_text)


def request() -> bytes:
    """One request of a client, as it is on the wire."""
    body = json.dumps({"model": "sluicegate", "messages": [{"role": "user", "content": "Go on."}]})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: door\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {API_KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def running_count(base_url: str) -> int:
    """How many requests the server works on."""
    url = base_url.removesuffix("/v1") + "/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        page = answer.read().decode()
    found = re.findall(r"^vllm:num_requests_running\{[^}]*\} ([0-9.e+]+)", page, re.MULTILINE)
    return round(sum(map(float, found)))


def test_the_model_server_stops_after_the_grace(kafka: Kafka, vllm_server: VllmServer, tmp_path: Path) -> None:
    generation = GenerationSettings(base_url=vllm_server.base_url, model=TINY_MODEL, max_tokens=TOKENS)
    settings = replace(fresh_settings(kafka), generation=generation)
    settings = replace(settings, door=door_settings(tmp_path, disconnect_grace_s=GRACE_S))
    models = ModelSet(settings, SystemClock(), Instruments.none())
    metrics = Instruments.none()
    with (
        running_loop(settings, generator=Endless(models.generator), metrics=metrics, hears_doors=True),
        open_door(settings) as door,
    ):
        hello: list[Any] = [{"role": "user", "content": "Hello"}]
        client_of(door).chat.completions.create(model="sluicegate", messages=hello, max_tokens=1)
        time.sleep(SETTLED_S)  # whoever follows the cancel topic has begun by now
        asked = socket.create_connection(("127.0.0.1", door.port), 60)
        asked.sendall(request())
        wait_until(lambda: running_count(vllm_server.base_url) == 1)
        asked.close()
        left_s = time.monotonic()
        wait_until(lambda: not running_count(vllm_server.base_url))
        stopped_s = time.monotonic()
        wait_until(lambda: len(responses(settings)) == 2)
    gone = next(each for each in responses(settings) if each.action.value == "withheld")
    heard = metrics.value(Metric.CANCELLATIONS, outcome="taken")
    print(f"{gone.reason_codes}, cancellations heard: {heard:g}")
    print(f"the server stopped {stopped_s - left_s - GRACE_S:.3f} s after the grace of {GRACE_S:g} s")
    assert gone.reason_codes == ("client_gone",)
    assert stopped_s - left_s > GRACE_S - 0.1
