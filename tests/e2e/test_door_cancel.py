"""A client of the door that goes away: its event is cancelled, the model left alone, and nothing is remembered."""

import asyncio
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from msgspec.structs import replace

from tests.plugins.fake_endpoint import FakeEndpoint, hang
from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import client_of, door_settings, open_door
from tests.plugins.patience import PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings, responses, running_loop
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.names import DraftSource
from topology.ports import OnText
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.reader import read_topic
from workers.process.clock import SystemClock
from workers.settings import GenerationSettings, Settings
from workers.stages.language_models import ModelSet

pytestmark = pytest.mark.kafka

ASK: list[Any] = [{"role": "user", "content": "Name a colour."}]
ONCE = {"Idempotency-Key": "order-7"}
GRACE_S = 1.0


class SilentOnce:
    """A model that does not answer its first request until it is released; it notes when that request was closed."""

    def __init__(self) -> None:
        self.asked_count = 0
        self.closed_s: list[float] = []
        self.is_released = False

    async def generate(self, _request: GenerationRequest, _on_text: OnText | None = None) -> Draft:
        self.asked_count += 1
        try:
            while self.asked_count == 1 and not self.is_released:  # noqa: ASYNC110 - released on another thread
                await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            self.closed_s.append(time.monotonic())
            raise
        return Draft(text="Blue.", source=DraftSource.GENERATOR)


def with_door(kafka: Kafka, directory: Path) -> Settings:
    return replace(fresh_settings(kafka), door=door_settings(directory, disconnect_grace_s=GRACE_S))


def leave(client: openai.OpenAI, model: SilentOnce) -> float:
    """Ask, and go away once the model is asked; returns when."""
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=3).chat.completions.create(model="sluicegate", messages=ASK, extra_headers=ONCE)
    assert model.asked_count == 1
    return time.monotonic()


@contextmanager
def world(settings: Settings, model: SilentOnce, metrics: Instruments) -> Generator[openai.OpenAI]:
    with (
        running_loop(settings, generator=model, metrics=metrics, hears_doors=True),
        open_door(settings) as door,
    ):
        yield client_of(door)


def test_the_model_is_left_alone_after_the_grace_and_the_same_id_runs_anew(kafka: Kafka, tmp_path: Path) -> None:
    settings, model, metrics = with_door(kafka, tmp_path), SilentOnce(), Instruments.none()
    with world(settings, model, metrics) as client:
        left_s = leave(client, model)
        wait_until(lambda: len(responses(settings)) == 1)
        assert model.closed_s[0] - left_s > GRACE_S - 0.1
        (gone,) = responses(settings)
        assert (gone.action.value, gone.reason_codes) == ("withheld", ("client_gone",))
        assert read_topic(settings.kafka, settings.topics.dead_letters) == []
        found = client.chat.completions.create(model="sluicegate", messages=ASK, extra_headers=ONCE)
        assert found.choices[0].message.content == "Blue."
        wait_until(lambda: metrics.value(Metric.CANCELLATIONS_KNOWN) == 0)
    assert metrics.value(Metric.CANCELLATIONS, outcome="taken") == 1
    assert [each.duplicate_of for each in responses(settings)] == ["", ""]
    print(f"the model's request was closed {model.closed_s[0] - left_s - GRACE_S:.3f} s after the grace")


def test_a_client_that_comes_back_within_the_grace_gets_the_answer_of_the_same_record(
    kafka: Kafka, tmp_path: Path
) -> None:
    settings, model, metrics = with_door(kafka, tmp_path), SilentOnce(), Instruments.none()
    with world(settings, model, metrics) as client, ThreadPoolExecutor(1) as threads:
        leave(client, model)
        back = threads.submit(client.chat.completions.create, model="sluicegate", messages=ASK, extra_headers=ONCE)
        time.sleep(2 * GRACE_S)
        model.is_released = True
        assert back.result(PATIENCE_S).choices[0].message.content == "Blue."
    assert (model.asked_count, model.closed_s, len(responses(settings))) == (1, [], 1)


@contextmanager
def model_server() -> Generator[FakeEndpoint]:
    """A model server that never ends an answer, on a loop of its own. Its `busy_count` is what it works on."""
    endpoint, is_up, loop = FakeEndpoint(then=hang), threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with endpoint:
            is_up.set()
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert is_up.wait(PATIENCE_S)
        yield endpoint
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(PATIENCE_S)
        loop.close()


def test_a_model_server_sees_its_request_closed_after_the_grace(kafka: Kafka, tmp_path: Path) -> None:
    """Over HTTP, as a worker asks its model."""
    with model_server() as server:
        generation = GenerationSettings(base_url=server.base_url, model="hanging", turn_marks=("none",))
        settings = replace(with_door(kafka, tmp_path), generation=generation)
        models = ModelSet(settings, SystemClock(), Instruments.none())
        with (
            running_loop(settings, generator=models.generator, hears_doors=True),
            open_door(settings) as door,
            ThreadPoolExecutor(1) as threads,
        ):
            client = client_of(door).with_options(timeout=5)
            asked = threads.submit(client.chat.completions.create, model="sluicegate", messages=ASK)
            with pytest.raises(openai.APITimeoutError):
                asked.result(PATIENCE_S)
            left_s = time.monotonic()
            assert server.busy_count == 1
            wait_until(lambda: server.busy_count == 0)
            closed_s = time.monotonic()
            wait_until(lambda: len(responses(settings)) == 1)
    (gone,) = responses(settings)
    print(f"the server saw its request closed {closed_s - left_s - GRACE_S:.3f} s after the grace")
    assert gone.reason_codes == ("client_gone",)
    assert closed_s - left_s > GRACE_S - 0.1
