"""One request, from its event to its answer: known already, under way already, or sent and read back.

A request is answered by the response to its own record, or by the one that this names as the event's first answer.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NamedTuple, Protocol

from msgspec import Struct

from topology.contract.events import Position
from topology.contract.records import Headers
from topology.contract.streams import StreamRecord
from topology.ports import Clock
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.door.flights import Flight, Placed
from workers.door.index import AnswerIndex, Entry, Event
from workers.door.outcomes import already_answered
from workers.door.reasons import End, end_of
from workers.door.refusals import FAILED, INVALID, NEVER_AGAIN, Refusal, retry_after
from workers.door.segments.live import Live
from workers.door.segments.shown import ShownTexts

SENT_MAX: Final = 3
"""How often one request may be sent: again only after its event ended because nobody waited for it any more."""
LATE_S: Final = 2.0
"""The time after an event's deadline for which its answer is awaited."""
RETRY_S: Final = 1.0
"""The wait that a client is told where nothing is known of how long it will take."""


class LogAway(Exception):
    """The brokers cannot be reached: nothing was sent, or nothing could be read."""


class Question(Struct, frozen=True, kw_only=True):
    """An event to be sent, and by what a repeated request is recognised. `value` is made for a deadline."""

    event: Event
    conversation_id: str
    digest: str
    value: Callable[[int], bytes]
    headers: Headers


class Log(Protocol):
    """The topics, as the door uses them. All calls may block, and come from threads of their own."""

    def send(self, key: bytes, value: bytes, headers: Headers, acknowledged: Callable[[Position | None], None]) -> None:
        """Send an event. `acknowledged` is called on any thread; with None if it is not known what became of it.

        Raises LogAway if nothing was sent.
        """
        ...

    def cancel(self, position: Position, event_id: str, sent: Callable[[bool], None]) -> None:
        """Say that nobody waits for the answer to a record. `sent` is called on any thread: whether it is written."""
        ...

    def fetch(self, partition: int, offset: int) -> Placed | None:
        """Return a response that was read before; None if it is not there any more."""
        ...


class Link(Log, Protocol):
    """A log, and whoever follows its responses."""

    def start(
        self, deliver: Callable[[list[Placed]], None], stream: Callable[[list[StreamRecord]], None] | None
    ) -> None:
        """Begin to hand over responses to events of doors, in the order of their topic, on a thread of its own.

        And to hand over the records of streams, on another; None: they are not read.
        """
        ...

    def not_ready(self) -> tuple[str, ...]:
        """Return why not every response of the last time is known; empty if it is. Returns at once."""
        ...

    def close(self) -> None:
        """End it, and release the connections. May block."""
        ...


class AskBounds(Struct, frozen=True, kw_only=True):
    """How long an event may take, and how many may be under way.

    `grace_s` after the last one who waited for an event has left, the event is cancelled.
    """

    deadline_s: float
    grace_s: float
    waiting_max: int


class Threads(NamedTuple):
    """What blocks: sending, which must not wait for answers that are read again; and everything else."""

    sending: Executor
    reading: Executor


class Asking:
    """The requests of one door. All calls are on its loop; `threads` run what blocks."""

    def __init__(
        self,
        log: Log,
        index: AnswerIndex,
        bounds: AskBounds,
        clock: Clock,
        threads: Threads,
        metrics: Instruments,
        shown: ShownTexts | None = None,
    ) -> None:
        self._log = log
        self._index = index
        self._bounds = bounds
        self._clock = clock
        self._threads = threads
        self._metrics = metrics
        self._shown = shown
        self._flights: dict[Event, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def under_way_count(self) -> int:
        """Return how many events are under way."""
        return len(self._flights)

    def take(self, read: Iterable[Placed]) -> None:
        """Take in responses, in the order of their topic."""
        now_ms = self._clock.now_ms()
        for placed in read:
            answered = placed.answered
            if end_of(answered).is_final:
                place = (placed.digest, placed.partition, placed.offset, placed.appended_ms)
                self._index.add(Entry(answered.audit_id, placed.event, *place))
            flight = self._flights.get(placed.event)
            if flight is not None:
                flight.offer(placed)
            if self._shown is not None:
                self._shown.end(answered.audit_id)
        self._index.forget(now_ms)
        self._metrics.gauge_set(Metric.DOOR_INDEX, len(self._index))

    def take_stream(self, read: Iterable[StreamRecord]) -> None:
        """Take in records of streams, in the order of their topic."""
        if self._shown is not None:
            self._shown.take(read, self._clock.now_ms())
            self._metrics.gauge_set(Metric.DOOR_STREAMS, len(self._shown))

    async def ask(self, question: Question, live: Live | None = None) -> Placed:
        """Return the response. Raises Refusal, and TimeoutError 2 s after the event's deadline.

        `live` gets what is shown of the answer while it is made.
        """
        until_s = self._clock.monotonic_s() + self._bounds.deadline_s + LATE_S
        for _ in range(SENT_MAX):
            known = self._index.of_event(question.event, self._clock.now_ms())
            if known is not None:
                return await self._kept(known, question)
            flight = self._flights.get(question.event)
            if flight is None or flight.settled.done():
                flight = self._begin(question)
            if flight.digest != question.digest:
                raise _conflict(question)
            with self._showing(flight, live):
                placed = await self._wait(flight, until_s)
            end = end_of(placed.answered)
            if end is End.REPEATED:
                first = placed.answered.duplicate_of
                known = self._index.of_audit_id(first, self._clock.now_ms())
                if known is None:
                    raise already_answered(placed.answered.event_id, first)
                return await self._kept(known, question)
            if end is not End.GONE:
                return placed
        raise Refusal(503, "client_gone", "other requests with this id went away", None, FAILED, retry_after(RETRY_S))

    async def _kept(self, known: Entry, question: Question) -> Placed:
        """Return an answer that was given before, read again. Raises Refusal (409) if it is another request's."""
        if known.digest != question.digest:
            raise _conflict(question)
        fetch = partial(self._log.fetch, known.partition, known.offset)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._threads.reading, fetch)
        except LogAway:
            away = "the answer that was given before cannot be read now"
            raise Refusal(503, "not_read", away, None, FAILED, retry_after(RETRY_S)) from None
        if found is None or found.answered.audit_id != known.audit_id:
            raise already_answered(question.event[1], known.audit_id)
        return found

    @contextmanager
    def _showing(self, flight: Flight, live: Live | None) -> Generator[None]:
        shown, listened = self._shown, list[str]()
        if live is None or shown is None:
            yield
            return

        def placed(audit_id: str) -> None:
            listened.append(audit_id)
            live.begin(audit_id, shown.listen(audit_id, live.add, self._clock.now_ms()))

        flight.when_placed(placed)
        try:
            yield
        finally:
            flight.tell_no_more(placed)
            for audit_id in listened:
                shown.unlisten(audit_id, live.add)

    async def _wait(self, flight: Flight, until_s: float) -> Placed:
        flight.join()
        try:
            async with asyncio.timeout(max(0.0, until_s - self._clock.monotonic_s())):
                return await asyncio.shield(flight.settled)
        finally:
            if flight.leave():
                asyncio.get_running_loop().call_later(self._bounds.grace_s, self._cancel, flight, flight.joined_count)

    def _cancel(self, flight: Flight, joined_count: int) -> None:
        """Cancel an event for which nobody has waited since its last waiter left, if it is known where it stands."""
        is_over = flight.settled.done() or self._flights.get(flight.event) is not flight
        if is_over or flight.joined_count != joined_count:
            return
        position = flight.position
        if position is None:
            self._note_cancel("unplaced")
            return
        loop = asyncio.get_running_loop()

        def sent(is_written: bool) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._note_cancel, "sent" if is_written else "failed")

        self._keep(_in_thread(self._threads.reading, partial(self._log.cancel, position, flight.event[1], sent)))

    def _note_cancel(self, outcome: str) -> None:
        self._metrics.count(Metric.DOOR_CANCELLATIONS, outcome=outcome)

    def _begin(self, question: Question) -> Flight:
        if len(self._flights) >= self._bounds.waiting_max:
            full = "too many requests wait here"
            raise Refusal(503, "door_full", full, None, FAILED, retry_after(RETRY_S))
        until_s = self._clock.monotonic_s() + self._bounds.deadline_s + LATE_S
        flight = Flight(question.event, question.conversation_id, question.digest, until_s)
        self._flights[question.event] = flight
        self._metrics.gauge_set(Metric.DOOR_WAITING, len(self._flights))
        self._keep(self._fly(flight, question))
        return flight

    async def _fly(self, flight: Flight, question: Question) -> None:
        """Send the record, and keep its flight until it is answered or its time is over."""
        loop = asyncio.get_running_loop()
        deadline_ms = self._clock.now_ms() + round(self._bounds.deadline_s * 1000)

        def acknowledged(position: Position | None) -> None:
            # From a thread of the client library; the loop may have ended by now, and then nobody waits.
            if not loop.is_closed():
                loop.call_soon_threadsafe(_note, flight, position)

        send = partial(
            self._log.send,
            question.conversation_id.encode(),
            question.value(deadline_ms),
            question.headers,
            acknowledged,
        )
        try:
            async with asyncio.timeout(flight.until_s - self._clock.monotonic_s()):
                await loop.run_in_executor(self._threads.sending, send)
                await asyncio.shield(flight.settled)
        except LogAway:
            away = "the brokers cannot be reached; nothing was sent"
            flight.fail(Refusal(503, "not_sent", away, None, FAILED, retry_after(RETRY_S)))
        except (TimeoutError, Refusal):
            pass  # each waiter has its own clock, or has the refusal
        finally:
            if self._flights.get(flight.event) is flight:
                del self._flights[flight.event]
            self._metrics.gauge_set(Metric.DOOR_WAITING, len(self._flights))

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(self._tasks.discard)


async def _in_thread(workers: Executor, work: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the door is ending, and its threads with it
        await asyncio.get_running_loop().run_in_executor(workers, work)


def _note(flight: Flight, position: Position | None) -> None:
    if position is None:
        flight.lose()
    else:
        flight.acknowledge(position)


def _conflict(question: Question) -> Refusal:
    message = "another request was made under this Idempotency-Key"
    headers = {**NEVER_AGAIN, "x-sluicegate-event-id": question.event[1]}
    return Refusal(409, "idempotency_conflict", message, None, INVALID, headers)
