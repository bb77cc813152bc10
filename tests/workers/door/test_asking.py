"""One request, from its event to its answer: its own record's, or the one that this names, and no other."""

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from serving.fakes import ManualClock
from tests.plugins.open_door import MemoryLink, answered
from tests.plugins.patience import PATIENCE_S
from topology.contract.codec import encode
from topology.contract.events import Action, AuditedResponse, ConversationEvent, Message, Role, TextPart
from topology.contract.names import Header
from topology.telemetry.instruments import Instruments
from workers.door.asking import AskBounds, Asking, Question, Threads
from workers.door.index import AnswerIndex
from workers.door.refusals import Refusal

ASK = (Message(role=Role.USER, parts=(TextPart(text="?"),)),)


def question(event_id: str = "e", digest: str = "d", conversation: str = "c", tenant: str = "t") -> Question:
    event = ConversationEvent(event_id=event_id, conversation_id=conversation, tenant_id=tenant, messages=ASK)
    return Question(
        event=(tenant, event_id),
        conversation_id=conversation,
        digest=digest,
        value=lambda _: encode(event),
        headers=((Header.REQUEST_DIGEST.value, digest.encode()),),
    )


class World:
    """One door's requests over topics in memory. `deadline_s` of -2 is over at once."""

    def __init__(
        self,
        link: MemoryLink,
        workers: ThreadPoolExecutor,
        deadline_s: float = 60,
        most: int = 10,
        *,
        grace_s: float = 0,
    ) -> None:
        self.link = link
        self.clock = ManualClock()
        loop = asyncio.get_running_loop()
        bounds = AskBounds(deadline_s=deadline_s, grace_s=grace_s, waiting_max=most)
        index = AnswerIndex(100, 10**15)
        self.asking = Asking(link, index, bounds, self.clock, Threads(workers, workers), Instruments.none())
        link.start(lambda read: loop.call_soon_threadsafe(self.asking.take, read) and None, None)

    async def text(self, asked: Question) -> str:
        placed = await self.asking.ask(asked)
        (part,) = placed.answered.parts
        assert isinstance(part, TextPart)
        return part.text


@contextmanager
def threads() -> Generator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as workers:
        yield workers


def run(scenario: Callable[[ThreadPoolExecutor], Any]) -> None:
    with threads() as workers:
        asyncio.run(scenario(workers))


def said(text: str, **changes: Any) -> Callable[[ConversationEvent, str], AuditedResponse]:
    return lambda event, own_id: answered(event, own_id, parts=(TextPart(text=text),), **changes)


async def refused(asked: Question, world: World) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await world.asking.ask(asked)
    return caught.value


def test_a_request_is_answered_by_the_response_to_its_record() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(said("blue")), workers)
        assert await world.text(question()) == "blue"
        await asyncio.sleep(0)
        assert world.asking.under_way_count == 0

    run(scenario)


def test_a_response_to_another_record_of_the_same_id_is_not_its_answer() -> None:
    """Others may write events too, under ids that they have seen."""

    async def scenario(workers: ThreadPoolExecutor) -> None:
        link = MemoryLink()

        def answer(event: ConversationEvent, own_id: str) -> AuditedResponse:
            link.publish(answered(event, "of-another-record", action=Action.WITHHELD, reason_codes=("deadline",)), "d")
            return said("blue")(event, own_id)

        link.answer = answer
        assert await World(link, workers).text(question()) == "blue"

    run(scenario)


def test_without_an_acknowledgement_event_conversation_and_tenant_must_match() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        link = MemoryLink()
        link.loses_acknowledgements = True

        def answer(event: ConversationEvent, own_id: str) -> AuditedResponse:
            failed: dict[str, Any] = {"action": Action.WITHHELD, "reason_codes": ("deadline",)}
            link.publish(answered(event, "1", conversation_id="other", **failed), "d")
            link.publish(answered(event, "2", tenant_id="other", **failed), "d")
            return said("blue")(event, own_id)

        link.answer = answer
        assert await World(link, workers).text(question()) == "blue"

    run(scenario)


def test_the_same_request_again_gets_the_same_answer_without_a_second_event() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(said("blue")), workers)
        first = await world.asking.ask(question())
        world.link.answer = said("red")
        assert await world.asking.ask(question()) == first
        assert len(world.link.events) == 1

    run(scenario)


def test_two_that_ask_at_once_share_one_event() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(said("blue")), workers)
        assert await asyncio.gather(world.text(question()), world.text(question())) == ["blue", "blue"]
        assert len(world.link.events) == 1

    run(scenario)


def test_another_request_under_the_same_id_is_refused() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(), workers)
        await world.asking.ask(question())
        found = await refused(question(digest="other"), world)
        assert (found.status, found.code) == (409, "idempotency_conflict")
        world.link.answer = lambda *_: None
        waiting = asyncio.ensure_future(world.asking.ask(question("e2")))
        await asyncio.sleep(0)
        assert (await refused(question("e2", digest="other"), world)).status == 409
        waiting.cancel()

    run(scenario)


def test_a_second_copy_is_answered_by_the_answer_to_the_first() -> None:
    """Two doors sent the same: each record has a response, and the second names the first."""

    async def scenario(workers: ThreadPoolExecutor) -> None:
        link = MemoryLink()
        own_ids: list[str] = []

        def answer(event: ConversationEvent, own_id: str) -> AuditedResponse:
            own_ids.append(own_id)
            if len(own_ids) == 1:
                link.publish(said("blue")(event, "of-the-other-door"), "d")
            return said(
                "", action=Action.WITHHELD, reason_codes=("duplicate_event",), duplicate_of="of-the-other-door"
            )(event, own_id)

        link.answer = answer
        world = World(link, workers)
        assert await world.text(question()) == "blue"
        assert own_ids

    run(scenario)


def test_a_second_copy_whose_first_answer_is_gone_says_where_to_look() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        copy: dict[str, Any] = {"reason_codes": ("duplicate_event",), "duplicate_of": "long-ago"}
        found = await refused(question(), World(MemoryLink(said("", action=Action.WITHHELD, **copy)), workers))
        assert (found.status, found.code, found.headers["x-should-retry"]) == (409, "already_answered", "false")
        assert "long-ago" in found.message

    run(scenario)


@pytest.mark.parametrize("code", ["deadline", "overloaded", "generator_timeout", "V01", "rate_limited"])
def test_a_failure_is_no_answer_to_the_next_request(code: str) -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(said("", action=Action.WITHHELD, reason_codes=(code,))), workers)
        assert (await world.asking.ask(question())).answered.reason_codes == (code,)
        world.link.answer = said("blue")
        assert await world.text(question()) == "blue"
        assert len(world.link.events) == 2

    run(scenario)


def test_an_event_that_nobody_waited_for_is_sent_again() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        link = MemoryLink()
        gone = said("", action=Action.WITHHELD, reason_codes=("client_gone",))

        def answer(event: ConversationEvent, own_id: str) -> AuditedResponse:
            return (gone if len(link.events) == 1 else said("blue"))(event, own_id)

        link.answer = answer
        assert await World(link, workers).text(question()) == "blue"
        always = World(MemoryLink(gone), workers)
        assert (await refused(question(), always)).status == 503
        assert len(always.link.events) == 3

    run(scenario)


def test_what_was_not_sent_may_be_tried_again() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(), workers)
        world.link.is_away = True
        found = await refused(question(), world)
        assert (found.status, found.headers["Retry-After"]) == (503, "1")
        assert "x-should-retry" not in found.headers

    run(scenario)


def test_a_request_ends_by_its_own_clock() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(lambda *_: None), workers, deadline_s=-2)
        with pytest.raises(TimeoutError):
            await world.asking.ask(question())

    run(scenario)


def test_only_so_many_events_are_under_way() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(lambda *_: None), workers, most=1)
        waiting = asyncio.ensure_future(world.asking.ask(question("a")))
        await asyncio.sleep(0)
        assert (await refused(question("b"), world)).code == "door_full"
        waiting.cancel()

    run(scenario)


def unanswered() -> MemoryLink:
    return MemoryLink(lambda _event, _own_id: None)


async def gone(world: World, asked: Question) -> None:
    """A client that goes away once its event is on its way."""
    waiting = asyncio.create_task(world.asking.ask(asked))
    await come_true(lambda: bool(world.link.events))
    await asyncio.sleep(0.01)  # the acknowledgement
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def come_true(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - it comes true on other threads
            await asyncio.sleep(0.001)


def test_the_record_of_a_client_that_has_gone_is_cancelled() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(unanswered(), workers)
        await gone(world, question())
        await come_true(lambda: world.link.cancelled == [(0, "e")])

    run(scenario)


def test_a_record_is_not_cancelled_while_another_client_waits_for_it() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(unanswered(), workers)
        other = asyncio.create_task(world.asking.ask(question()))
        await gone(world, question())
        await asyncio.sleep(0.05)
        assert world.link.cancelled == []
        other.cancel()
        await come_true(lambda: world.link.cancelled == [(0, "e")])

    run(scenario)


def test_a_client_that_comes_back_within_the_grace_keeps_the_record() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(unanswered(), workers, grace_s=0.2)
        await gone(world, question())
        back = asyncio.create_task(world.asking.ask(question()))
        await asyncio.sleep(0.4)
        assert world.link.cancelled == []
        back.cancel()

    run(scenario)


def test_a_record_without_an_acknowledgement_is_not_cancelled() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        link = unanswered()
        link.loses_acknowledgements = True
        world = World(link, workers)
        await gone(world, question())
        await asyncio.sleep(0.05)
        assert link.cancelled == []

    run(scenario)


def test_an_answered_record_is_not_cancelled() -> None:
    async def scenario(workers: ThreadPoolExecutor) -> None:
        world = World(MemoryLink(said("blue")), workers)
        await world.text(question())
        await asyncio.sleep(0.05)
        assert world.link.cancelled == []

    run(scenario)
