"""Streams at the door over a real broker: text reaches the official client while the model still writes."""

import asyncio
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import openai
import pytest
from msgspec.structs import replace

from tests.plugins.kafka_broker import Kafka
from tests.plugins.open_door import API_KEY, client_of, door_settings, open_door
from tests.plugins.patience import LIMITS, PATIENCE_S, wait_until
from tests.plugins.running_worker import fresh_settings, responses, running_loop
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.names import DraftSource
from topology.ports import OnText
from workers.settings import Settings, StreamingSettings

pytestmark = pytest.mark.kafka

ASK: Final[list[Any]] = [{"role": "user", "content": "Tell me of colours."}]
SENTENCES: Final = (
    "Blue is the colour of the sky on a clear day. ",
    "Green is what most leaves are in the summer. ",
    "Red is seen from far away by most people. ",
    "Yellow is a colour that bees like very much.",
)
STREAMS: Final = 50
EACH_S: Final = 2.5
"""With this time between two sentences, all streams together release twenty a second."""


class Slow:
    """A model that writes a sentence at a time. It notes whether its request was closed."""

    def __init__(self, each_s: float) -> None:
        self._each_s = each_s
        self.closed_count = 0

    async def generate(self, _request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        try:
            for sentence in SENTENCES:
                await asyncio.sleep(self._each_s)
                if on_text is not None:
                    await on_text(sentence)
        except asyncio.CancelledError:
            self.closed_count += 1
            raise
        return Draft(text="".join(SENTENCES), source=DraftSource.GENERATOR, finish_reason="stop")


def with_streams(kafka: Kafka, directory: Path, **door: Any) -> Settings:
    limits = replace(LIMITS, in_flight_max=STREAMS, awaiting_answer_max=2 * STREAMS)
    settings = replace(fresh_settings(kafka, limits=limits), streaming=StreamingSettings(enabled=True))
    return replace(settings, door=door_settings(directory, streams=True, **door))


async def streamed(client: openai.AsyncOpenAI) -> tuple[list[tuple[float, str]], Any]:
    """Pieces of text, each with the seconds since the request, and the last chunk."""
    began_s, pieces, last = time.monotonic(), [], None
    stream = await client.chat.completions.create(model="sluicegate", messages=ASK, stream=True)
    async for chunk in stream:
        if chunk.choices:
            last = chunk.choices[0], chunk
            text = chunk.choices[0].delta.content
            pieces += [(time.monotonic() - began_s, text)] if text else []
    return pieces, last


def test_fifty_streams_at_once_carry_text_while_it_is_written(kafka: Kafka, tmp_path: Path) -> None:
    settings = with_streams(kafka, tmp_path)
    with running_loop(settings, generator=Slow(EACH_S)), open_door(settings) as door:

        async def scenario() -> list[tuple[list[tuple[float, str]], Any]]:
            url = f"http://127.0.0.1:{door.port}/v1"
            async with openai.AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0, timeout=PATIENCE_S) as client:
                return await asyncio.gather(*[streamed(client) for _ in range(STREAMS)])

        found = asyncio.run(scenario())
    for pieces, (choice, chunk) in found:
        assert "".join(text for _, text in pieces) == "".join(SENTENCES)
        assert (choice.finish_reason, chunk.sluicegate["action"]) == ("stop", "published")
        assert len(pieces) > 1, "it came in one piece"
    first = sorted(pieces[0][0] for pieces, _ in found)
    whole = sorted(pieces[-1][0] for pieces, _ in found)
    print(
        f"{STREAMS} streams: first text p50 {median(first):.2f} s, last {first[-1]:.2f} s; whole {median(whole):.2f} s"
    )
    assert median(first) < median(whole) - EACH_S / 2
    assert sorted(response.replaced for response in responses(settings)) == [False] * STREAMS


def test_a_client_that_goes_away_in_mid_stream_stops_the_model(kafka: Kafka, tmp_path: Path) -> None:
    settings, model = with_streams(kafka, tmp_path, disconnect_grace_s=0.2), Slow(1.0)
    with running_loop(settings, generator=model, hears_doors=True), open_door(settings) as door:
        stream = client_of(door).chat.completions.create(model="sluicegate", messages=ASK, stream=True)
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
        stream.close()
        wait_until(lambda: len(responses(settings)) == 1)
    (gone,) = responses(settings)
    print(
        f"ended {gone.action.value} {gone.reason_codes}, replaced: {gone.replaced}, model closed: {model.closed_count}"
    )
    assert gone.reason_codes in {("client_gone",), ("V99",)}, "the verdict may have come first"
