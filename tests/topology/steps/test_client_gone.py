"""An event whose answer nobody waits for any more ends early, leaves no letter, and runs anew when asked again."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from msgspec.structs import replace

from serving.fakes import FakeConversationStates, FakeGenerator
from tests.topology.steps.pipeline_world import Bench, Ended, event, record_of
from topology.contract.drafts import Draft, GenerationRequest
from topology.contract.events import Action
from topology.contract.names import ActionReason, DraftSource
from topology.contract.records import Record
from topology.ports import OnText
from topology.steps.time_limit import ClientGone, TimeLimit, UntilGone
from topology.telemetry.metrics import Metric

LONG_S = 30.0


class Clients:
    """Departures that a test makes happen."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.is_gone = is_gone
        self.watched: list[tuple[int, str]] = []
        self.leaves: list[Callable[[], None]] = []
        self.unwatched_count = 0

    def watch(self, record: Record, event_id: str, leave: Callable[[], None]) -> Callable[[], None]:
        self.watched.append((record.offset, event_id))
        self.leaves.append(leave)
        if self.is_gone:
            leave()
        return self._unwatch

    def _unwatch(self) -> None:
        self.unwatched_count += 1

    def leave(self) -> None:
        self.leaves[-1]()


class EndlessGenerator(FakeGenerator):
    """A model that never answers; its client leaves as soon as it is asked. It notes whether its request was closed."""

    def __init__(self, clients: Clients) -> None:
        super().__init__(lambda _: "never")
        self._clients = clients
        self.closed_count = 0

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        self._clients.leave()
        try:
            await asyncio.sleep(LONG_S)
        except asyncio.CancelledError:
            self.closed_count += 1
            raise
        return Draft(text="late", source=DraftSource.GENERATOR)


def test_the_models_request_is_closed_and_the_event_is_withheld_without_a_letter() -> None:
    clients = Clients()
    generator = EndlessGenerator(clients)
    bench = Bench(generator=generator, departures=clients)
    ended = bench.answer()
    assert (ended.response.action, ended.response.reason_codes) == (Action.WITHHELD, ("client_gone",))
    assert (ended.letters, ended.review, generator.closed_count) == ([], [], 1)
    assert ended.audit.request is not None
    assert bench.metrics.value(Metric.ACTIONS, action="withheld", reason=ActionReason.CLIENT_GONE) == 1
    assert (clients.watched, clients.unwatched_count) == ([(17, "e1")], 1)


def test_an_event_that_was_cancelled_before_it_began_asks_no_model() -> None:
    bench = Bench(departures=Clients(is_gone=True))
    assert bench.answer().response.reason_codes == ("client_gone",)
    assert bench.generator.calls == []


def test_after_the_verdict_it_is_too_late() -> None:
    clients = Clients()
    bench = Bench(departures=clients)
    assert bench.answer().response.action is Action.PUBLISHED
    clients.leave()
    assert bench.answer(event_id="e2").response.action is Action.PUBLISHED


def test_the_same_id_asked_again_runs_anew() -> None:
    states, clients = FakeConversationStates(), Clients()
    gone = Ended(Bench(generator=EndlessGenerator(clients), states=states, departures=clients).process(_at(1)))
    again = Ended(Bench(states=states).process(_at(2)))
    assert gone.response.reason_codes == ("client_gone",)
    assert (again.response.action, again.response.duplicate_of) == (Action.PUBLISHED, "")


def _at(offset: int) -> Record:
    return replace(record_of(event()), offset=offset)


async def _watched(clients: Clients, wait_s: float = LONG_S) -> None:
    with UntilGone(clients, record_of(event()), "e1"):
        await asyncio.sleep(wait_s)


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(whole())


def test_a_cancellation_from_elsewhere_stays_one() -> None:
    async def scenario() -> None:
        waiting = asyncio.create_task(_watched(Clients()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    _run(scenario)


def test_both_at_once_are_a_cancellation() -> None:
    async def scenario() -> None:
        clients = Clients()
        waiting = asyncio.create_task(_watched(clients))
        await asyncio.sleep(0)
        clients.leave()
        waiting.cancel()
        await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await waiting

    _run(scenario)


def test_a_deadline_inside_that_passes_as_well_changes_nothing() -> None:
    async def scenario() -> None:
        clients = Clients(is_gone=True)
        with pytest.raises(ClientGone), UntilGone(clients, record_of(event()), "e1"), TimeLimit(0.0):
            await asyncio.sleep(LONG_S)

    _run(scenario)


def test_a_client_that_leaves_once_it_is_over_cancels_nothing() -> None:
    async def scenario() -> None:
        clients = Clients()
        await _watched(clients, 0)
        clients.leave()
        await asyncio.sleep(0.01)

    _run(scenario)


def test_without_departures_somebody_always_waits() -> None:
    async def scenario() -> None:
        with UntilGone(None, record_of(event()), "e1"):
            await asyncio.sleep(0)

    _run(scenario)
