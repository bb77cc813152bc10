"""A generator that is down: the event rests between two tries, and not for ever."""

import asyncio

from serving.fakes import FakeGenerator
from tests.topology.steps.pipeline_world import (
    Bench,
    Ended,
    event,
    record_of,
)
from topology.contract.errors import DeadLetterReason, RetryLater
from topology.contract.events import Action
from topology.contract.headers import last_header
from topology.contract.labels import Outcome
from topology.contract.names import Header
from topology.telemetry.metrics import Metric


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
    rests = list[float]()

    async def rest(seconds: float) -> None:
        assert len(bench.generator.calls) == 1
        rests.append(seconds)

    ended = Ended(asyncio.run(bench.pipeline.process(record_of(event()), rest)))
    assert ended.text == "At last."
    assert rests == [0.001 * 0.75]
