"""A generator that is down: the event rests between two tries, and not for ever."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest

from serving.fakes import FakeGenerator
from tests.topology.steps.pipeline_world import (
    Bench,
    Ended,
    candidate,
    event,
    finding,
    finds,
    record_of,
)
from topology.contract.errors import DeadLetterReason, RetryLater
from topology.contract.events import Action
from topology.contract.headers import last_header
from topology.contract.labels import Outcome
from topology.contract.names import Header
from topology.telemetry.metrics import Metric

T = TypeVar("T")


def test_a_generator_that_stays_down_is_asked_only_so_often() -> None:
    down = RetryLater(Outcome.UNREACHABLE, "generator", "x")
    bench = Bench(generator=FakeGenerator(faults=(down for _ in range(10**6))), attempts_max=4)
    ended = bench.answer()
    assert (ended.response.action, ended.response.reason_codes) == (Action.WITHHELD, ("generator_unreachable",))
    assert len(bench.generator.calls) == 4
    assert bench.metrics.value(Metric.RETRIES, reason="unreachable") == 3
    assert last_header(ended.letters[0].headers, Header.REASON) == DeadLetterReason.PROCESSING_FAILED.value
    assert ended.audit.request is not None


def test_between_two_tries_an_event_rests() -> None:
    bench = Bench(generator=FakeGenerator(lambda _: "At last.", faults=[RetryLater(Outcome.TIMEOUT, "g", "x")]))
    waiting = Waiting(bench)
    ended = Ended(asyncio.run(bench.pipeline.process(record_of(event()), waiting)))
    assert ended.text == "At last."
    assert waiting.rests == [0.001 * 0.75]
    assert waiting.calls_before_rest == [1]


def test_an_event_gives_its_permit_to_others_while_the_model_answers_and_only_then() -> None:
    bench = Bench(generator=FakeGenerator(lambda _: "At last.", faults=[RetryLater(Outcome.TIMEOUT, "g", "x")]))
    waiting = Waiting(bench)
    asyncio.run(bench.pipeline.process(record_of(event()), waiting))
    assert waiting.answers_count == 2
    upstream = Waiting(bench)
    asyncio.run(bench.pipeline.process(record_of(event(candidate=candidate("An answer."))), upstream))
    assert upstream.answers_count == 0


def test_an_event_rests_for_as_long_as_the_model_asks_and_the_answer_says_so_if_it_never_comes() -> None:
    busy = RetryLater(Outcome.OVERLOADED, "generator", "HTTP 429", 7.5)
    bench = Bench(generator=FakeGenerator(faults=[busy, busy]), attempts_max=2)
    waiting = Waiting(bench)
    ended = Ended(asyncio.run(bench.pipeline.process(record_of(event()), waiting)))
    assert waiting.rests == [7.5 + 0.001 * 0.75]
    assert (ended.response.action, ended.response.retry_after_ms) == (Action.WITHHELD, 7500)
    assert ended.audit.retry_after_ms == 7500


def test_an_answer_that_comes_at_last_tells_nobody_to_wait() -> None:
    busy = RetryLater(Outcome.OVERLOADED, "generator", "HTTP 429", 0.001)
    assert Bench(generator=FakeGenerator(faults=[busy])).answer().response.retry_after_ms == 0


def test_the_last_reason_is_in_the_letter_and_in_the_answer_if_the_deadline_passes() -> None:
    torn = RetryLater(Outcome.UNPARSABLE, "generator", "a chunk has another type than an answer's at $.choices")
    bench = Bench(generator=FakeGenerator(faults=(torn for _ in range(10**6))), deadline_s=0.2)
    ended = bench.answer()
    assert ended.response.reason_codes == ("deadline", "generator_unparsable")
    detail = last_header(ended.letters[0].headers, Header.DETAIL)
    assert detail is not None
    assert detail.endswith("generator: unparsable: a chunk has another type than an answer's at $.choices")


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "content_filter"])
def test_an_answer_without_a_text_is_asked_for_once_more_and_its_tokens_count(reason: str) -> None:
    bench = Bench(generator=FakeGenerator(lambda _: " \n", finish_reason=reason, output_tokens=40))
    ended = bench.answer()
    assert len(bench.generator.calls) == 2
    assert ended.response.action is Action.WITHHELD
    assert ended.response.reason_codes[0] in {"generator_unparsable", "generator_refused"}
    assert (ended.response.finish_reason, ended.response.usage.output_tokens) == (reason, 80)
    assert (ended.audit.finish_reason, ended.audit.usage.output_tokens) == (reason, 80)
    detail = last_header(ended.letters[0].headers, Header.DETAIL)
    assert detail is not None
    assert detail.endswith(f"ended by {reason}")


def test_an_answer_that_has_a_text_the_second_time_is_judged() -> None:
    texts = iter(["", "At last."])
    ended = Bench(generator=FakeGenerator(lambda _: next(texts), output_tokens=5)).answer()
    assert (ended.text, ended.response.usage.output_tokens, len(ended.audit.attempts)) == ("At last.", 10, 1)


def test_a_server_that_breaks_off_without_a_text_is_asked_again() -> None:
    bench = Bench(generator=FakeGenerator(lambda _: "", finish_reason="abort"), attempts_max=4)
    assert bench.answer().response.reason_codes == ("generator_unparsable",)
    assert len(bench.generator.calls) == 4


def test_an_answer_that_was_cut_off_is_said_to_be() -> None:
    ended = Bench(generator=FakeGenerator(lambda _: "Take two of the", finish_reason="length")).answer()
    assert (ended.response.action, ended.response.finish_reason) == (Action.PUBLISHED, "length")
    assert "truncated" in ended.response.reason_codes
    assert ended.audit.finish_reason == "length"
    whole = Bench(generator=FakeGenerator(lambda _: "Take two.")).answer()
    assert (whole.response.finish_reason, "truncated" in whole.response.reason_codes) == ("stop", False)


def test_a_fallback_is_whole_although_the_draft_before_it_was_not() -> None:
    bench = Bench(
        generator=FakeGenerator(lambda _: "Take two of the", finish_reason="length"),
        classification=finds(finding("weapons.cbrn", 4, 4)),
    )
    ended = bench.answer()
    assert ended.response.action is not Action.PUBLISHED
    assert ended.response.finish_reason == "length"
    assert "truncated" not in ended.response.reason_codes


class Waiting:
    """A `Rest` that does not wait."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.rests: list[float] = []
        self.calls_before_rest: list[int] = []
        self.answers_count = 0

    async def __call__(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.calls_before_rest.append(len(self._bench.generator.calls))

    async def during(self, work: Awaitable[T]) -> T:
        self.answers_count += 1
        return await work
