"""What every Generator does. A real one and its fake subclass this suite and say how to be made."""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import msgspec
import pytest

from tests.contracts.samples import PARAMETERS, generation_request
from topology.contract.drafts import Draft
from topology.contract.errors import CheckFailed, RetryLater
from topology.contract.events import GenerationParameters
from topology.contract.labels import Outcome
from topology.contract.names import DraftSource
from topology.ports import Clock, Generator, OnText


@dataclass(frozen=True)
class GeneratorCase:
    """A generator and the clock that its deadlines are on."""

    generator: Generator
    clock: Clock
    parameters: GenerationParameters = PARAMETERS

    async def ask(self, *, within_s: float = 30.0, on_text: OnText | None = None) -> Draft:
        return await self.generator.generate(
            generation_request(self.clock.monotonic_s() + within_s, parameters=self.parameters), on_text
        )


class GeneratorContract:
    """`answering` must answer; `unavailable` must be down; `refusing` must reject the request; `slow` takes minutes."""

    def answering(self) -> AbstractAsyncContextManager[GeneratorCase]:
        raise NotImplementedError

    def unavailable(self) -> AbstractAsyncContextManager[GeneratorCase]:
        raise NotImplementedError

    def refusing(self) -> AbstractAsyncContextManager[GeneratorCase]:
        raise NotImplementedError

    def slow(self) -> AbstractAsyncContextManager[GeneratorCase]:
        raise NotImplementedError

    def test_a_draft_names_its_source_model_and_usage(self) -> None:
        async def run() -> Draft:
            async with self.answering() as case:
                return await case.ask()

        draft = asyncio.run(run())
        assert draft.source is DraftSource.GENERATOR
        assert draft.model
        assert draft.response_id
        assert draft.finish_reason in {"stop", "length"}
        assert draft.usage.input_tokens > 0
        assert draft.usage.output_tokens > 0

    def test_a_draft_can_cross_a_process(self) -> None:
        async def run() -> Draft:
            async with self.answering() as case:
                return await case.ask()

        draft = asyncio.run(run())
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(draft), type=Draft) == draft

    def test_many_requests_run_side_by_side(self) -> None:
        async def run() -> list[Draft]:
            async with self.answering() as case:
                return await asyncio.gather(*(case.ask() for _ in range(8)))

        assert len(asyncio.run(run())) == 8

    def test_the_pieces_that_are_told_are_the_text(self) -> None:
        pieces: list[str] = []

        async def note(piece: str) -> None:
            pieces.append(piece)

        async def run() -> Draft:
            async with self.answering() as case:
                return await case.ask(on_text=note)

        draft = asyncio.run(run())
        assert "".join(pieces) == draft.text
        assert all(pieces)

    def test_an_error_of_the_receiver_is_raised_and_ends_the_request(self) -> None:
        pieces: list[str] = []

        async def stop(piece: str) -> None:
            pieces.append(piece)
            raise TimeoutError("enough")

        async def run() -> None:
            async with self.answering() as case:
                with pytest.raises(TimeoutError, match="enough"):
                    await case.ask(on_text=stop)

        asyncio.run(run())
        assert len(pieces) == 1

    def test_a_generator_that_is_down_says_retry_later(self) -> None:
        async def run() -> RetryLater:
            async with self.unavailable() as case:
                with pytest.raises(RetryLater) as caught:
                    await case.ask()
                return caught.value

        assert asyncio.run(run()).outcome is not Outcome.OK

    def test_a_request_that_is_refused_for_good_says_check_failed(self) -> None:
        async def run() -> CheckFailed:
            async with self.refusing() as case:
                with pytest.raises(CheckFailed) as caught:
                    await case.ask()
                return caught.value

        assert asyncio.run(run()).outcome in {Outcome.REFUSED, Outcome.UNPARSABLE}

    def test_cancelling_ends_the_request_at_once(self) -> None:
        async def run() -> None:
            async with self.slow() as case:
                task = asyncio.ensure_future(case.ask())
                await asyncio.sleep(0.05)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.wait_for(task, timeout=60.0)

        asyncio.run(run())
