"""The Generator port over HTTP, in the same suite as its fake, and on real vLLM."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
import pytest

from serving.endpoint.client import ChatClient, Endpoint
from serving.endpoint.completion import encode_body
from serving.engine.child_server import VllmServer
from serving.fakes import FakeGenerator
from serving.generation.generator import GenerationDefaults, OpenAiGenerator, generation_body
from tests.contracts.generator import GeneratorCase, GeneratorContract
from tests.contracts.samples import PARAMETERS, generation_request
from tests.plugins import fake_endpoint as wire
from tests.plugins.fake_endpoint import FakeEndpoint, Play
from tests.plugins.vllm_server import TINY_MODEL
from topology.contract.drafts import Draft
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.events import GenerationParameters
from topology.contract.labels import Outcome
from workers.process.clock import SystemClock

DEFAULTS = GenerationDefaults(model=TINY_MODEL, max_tokens=32)


@asynccontextmanager
async def over_http(
    base_url: str, defaults: GenerationDefaults = DEFAULTS, parameters: GenerationParameters = PARAMETERS
) -> AsyncGenerator[GeneratorCase]:
    clock = SystemClock()
    endpoint = Endpoint(name="generator", base_url=base_url, backoff_initial_s=0.01, backoff_max_s=0.02)
    generator = OpenAiGenerator(ChatClient(endpoint, clock=clock), defaults)
    try:
        yield GeneratorCase(generator=generator, clock=clock, parameters=parameters)
    finally:
        await generator.aclose()


@asynccontextmanager
async def playing(play: Play) -> AsyncGenerator[GeneratorCase]:
    async with FakeEndpoint(then=play) as endpoint, over_http(endpoint.base_url) as case:
        yield case


@asynccontextmanager
async def faked(generator: FakeGenerator) -> AsyncGenerator[GeneratorCase]:
    yield GeneratorCase(generator=generator, clock=SystemClock())


class TestOpenAiGenerator(GeneratorContract):
    def answering(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return playing(wire.answer("Water", " lifts", " it."))

    def unavailable(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return playing(wire.status(503))

    def refusing(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return playing(wire.status(400))

    def slow(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return playing(wire.hang)


class TestFakeGenerator(GeneratorContract):
    def answering(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return faked(FakeGenerator())

    def unavailable(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return faked(FakeGenerator(faults=[RetryLater(Outcome.UNREACHABLE, "generator", "down")]))

    def refusing(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return faked(FakeGenerator(faults=[CheckFailed(Outcome.REFUSED, "generator", "too long")]))

    def slow(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return faked(FakeGenerator(delay_s=300.0, clock=SystemClock()))


@pytest.mark.vllm
@pytest.mark.timeout(300)
class TestRealVllm(GeneratorContract):
    @pytest.fixture(autouse=True)
    def _on(self, vllm_server: VllmServer) -> None:
        self.server = vllm_server

    def answering(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return over_http(self.server.base_url)

    def unavailable(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return over_http("http://127.0.0.1:9/v1")

    def refusing(self) -> AbstractAsyncContextManager[GeneratorCase]:
        return over_http(self.server.base_url, msgspec.structs.replace(DEFAULTS, temperature=0.7, max_tokens=0))

    def slow(self) -> AbstractAsyncContextManager[GeneratorCase]:
        long = GenerationParameters(max_tokens=4000, ignore_eos=True)
        return over_http(self.server.base_url, msgspec.structs.replace(DEFAULTS, max_tokens=4000), long)

    def test_a_prompt_that_is_longer_than_the_model_is_refused_for_good(self) -> None:
        async def run() -> None:
            async with over_http(self.server.base_url) as case:
                request = generation_request(case.clock.monotonic_s() + 30.0, "word " * 8000)
                with pytest.raises(CheckFailed) as caught:
                    await case.generator.generate(request)
                assert caught.value.outcome is Outcome.REFUSED

        asyncio.run(run())

    def test_the_same_seed_gives_the_same_answer_and_the_id_is_ours(self) -> None:
        async def run() -> tuple[Draft, Draft]:
            async with over_http(self.server.base_url) as case:
                return await case.ask(), await case.ask()

        first, second = asyncio.run(run())
        assert first.text == second.text
        assert "evt-1.generator.1" in first.response_id


async def _error_of(play: Play) -> RetryLater | CheckFailed:
    async with playing(play) as case:
        with pytest.raises((RetryLater, CheckFailed)) as caught:
            await case.ask()
    return caught.value


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_an_answer_without_a_text_says_why_it_ended_and_what_it_cost(reason: str) -> None:
    draft = asyncio.run(_draft_of(wire.answer("", " \n", finish_reason=reason)))
    assert (draft.text.strip(), draft.finish_reason, draft.usage.output_tokens) == ("", reason, 2)


def test_a_refusal_in_a_field_of_its_own_is_a_draft() -> None:
    pieces = [wire.event({"choices": [{"delta": {"refusal": word}}]}) for word in ("I cannot", " do that.")]
    draft = asyncio.run(_draft_of(wire.stream([*pieces, wire.chunk(finish_reason="stop")])))
    assert draft.text == "I cannot do that."


async def _draft_of(play: Play) -> Draft:
    async with playing(play) as case:
        return await case.ask()


def test_an_answer_that_the_endpoints_own_filter_ended_is_refused_for_good() -> None:
    error = asyncio.run(_error_of(wire.answer("Half of", finish_reason="content_filter")))
    assert isinstance(error, CheckFailed)
    assert error.outcome is Outcome.REFUSED
    assert "Half" not in str(error)


def test_an_event_cannot_ask_for_more_tokens_than_allowed_and_unset_fields_are_not_sent() -> None:
    request = generation_request(0.0)
    body = generation_body(request.messages, GenerationParameters(max_tokens=9999), DEFAULTS)
    sent = msgspec.json.decode(encode_body(body))
    assert sent["max_tokens"] == 32
    assert sent["temperature"] == DEFAULTS.temperature
    assert not {"top_p", "seed", "stop", "ignore_eos"} & set(sent)


def test_what_an_event_asks_for_is_sent() -> None:
    asked = GenerationParameters(temperature=0.0, top_p=0.5, max_tokens=8, seed=3, stop=("\n",), ignore_eos=True)
    seeded = msgspec.structs.replace(DEFAULTS, forward_seed=True)
    sent = msgspec.json.decode(encode_body(generation_body((), asked, seeded)))
    assert (sent["temperature"], sent["top_p"], sent["max_tokens"], sent["seed"]) == (0.0, 0.5, 8, 3)
    assert (sent["stop"], sent["ignore_eos"]) == (["\n"], True)


def test_an_answer_that_goes_on_is_asked_for_in_a_turn_or_by_a_server_that_can_go_on_itself() -> None:
    messages = tuple(generation_request(0.0).messages) * 3
    asked = generation_body(messages, PARAMETERS, DEFAULTS, continues=True)
    able = generation_body(
        messages, PARAMETERS, msgspec.structs.replace(DEFAULTS, continue_final_message=True), continues=True
    )
    assert len(asked.messages) - len(able.messages) == 1
    assert not {"continue_final_message", "add_generation_prompt"} & set(msgspec.json.decode(encode_body(asked)))
    sent = msgspec.json.decode(encode_body(able))
    assert (sent["continue_final_message"], sent["add_generation_prompt"]) == (True, False)


def test_reasoning_that_cannot_be_told_apart_while_it_is_told_is_refused() -> None:
    async def ignore(_piece: str) -> None:
        return None

    async def run() -> RetryLater | CheckFailed:
        pieces = [
            wire.chunk("Hidden."),
            wire.chunk(" More."),
            wire.chunk("</think>Said."),
            wire.chunk(finish_reason="stop"),
        ]
        async with playing(wire.stream(pieces, pause_s=0.02)) as case:
            with pytest.raises((RetryLater, CheckFailed)) as caught:
                await case.ask(on_text=ignore)
        return caught.value

    assert asyncio.run(run()).outcome is Outcome.UNPARSABLE


def test_a_seed_is_not_sent_on_unless_settings_say_so() -> None:
    asked = GenerationParameters(seed=3)
    assert "seed" not in msgspec.json.decode(encode_body(generation_body((), asked, DEFAULTS)))
