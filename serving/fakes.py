"""Deterministic fakes of the ports that answer. Each passes the contract suite of its port (tests/contracts).

A fake behaves as it was constructed; `calls` lists its inputs, in order.
"""

import asyncio
import heapq
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence

from topology.contract.codec import decode_state
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.errors import Replaced
from topology.contract.events import ConversationEvent, GrantUse, Role, Usage, parts_text
from topology.contract.headers import Wire
from topology.contract.labels import LabelerIdentity, RequestLabels
from topology.contract.names import DraftSource, Topic
from topology.contract.records import PartitionId, PartitionOffset, Record, Result
from topology.policy.budgets import TenantBudget
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, Clock, OnText
from topology.tenants.admission import Admission, PartitionUse

EPOCH_MS = 1_767_225_600_000
"""The default start of a manual clock, 2026-01-01T00:00:00Z."""

FAKE_VERSION = "1"
FAKE_MODEL = "fake-model"
FAKE_LABELS = RequestLabels(labeler=LabelerIdentity(model="fake-labeler", version=FAKE_VERSION))

Fault = Exception | None
"""The error that a call raises; None lets it answer."""


class ManualClock:
    """A clock that moves only by `advance`, or by every sleep if `advances_itself`."""

    def __init__(self, *, start_ms: int = EPOCH_MS, advances_itself: bool = False) -> None:
        self._start_ms = start_ms
        self._elapsed_s = 0.0
        self._advances_itself = advances_itself
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sleeps = 0
        self.slept_s: list[float] = []

    def now_ms(self) -> int:
        """Return epoch milliseconds: the start plus the time that has passed."""
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        """Return the seconds since the start."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has moved by `seconds`; let other tasks run in any case."""
        self.slept_s.append(seconds)
        if self._advances_itself:
            self.advance(max(0.0, seconds))
        if self._advances_itself or seconds <= 0:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleeps += 1
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, self._sleeps, wake))
        await wake

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass; sleeps that are due end in order of time, and run when the caller next awaits."""
        self._elapsed_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s:
            _, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)


class _Behaviour:
    """The faults of the first calls, in order, and the delay of each call."""

    def __init__(self, faults: Iterable[Fault], delay_s: float, clock: Clock | None) -> None:
        self._faults: Iterator[Fault] = iter(faults)
        self._delay_s = delay_s
        self._clock = clock

    async def run(self) -> None:
        if self._clock is not None and self._delay_s > 0:
            await self._clock.sleep(self._delay_s)
        else:
            await asyncio.sleep(0)
        fault = next(self._faults, None)
        if fault is not None:
            raise fault


def echo_answer(request: GenerationRequest) -> str:
    """Answer with the last user message."""
    turns = [message for message in request.messages if message.role is Role.USER]
    return f"You said: {parts_text(turns[-1].parts)}" if turns else "You said nothing."


def words_of(text: str) -> list[str]:
    """Return the pieces of a text as a model writes it: each word with the white space before it."""
    return re.findall(r"\s*\S+|\s+$", text)


class FakeGenerator:
    """A generator that answers by `answer`. `faults` are raised by the first calls; None answers.

    `pieces` cuts an answer into what is told one after the other.

    `output_tokens` are those of each answer; None means one for each of its words.

    `delay_s` passes on `clock`; without a clock there is no delay.
    """

    def __init__(
        self,
        answer: Callable[[GenerationRequest], str] = echo_answer,
        *,
        faults: Iterable[Fault] = (),
        delay_s: float = 0.0,
        clock: Clock | None = None,
        finish_reason: str = "stop",
        output_tokens: int | None = None,
        pieces: Callable[[str], Iterable[str]] = words_of,
    ) -> None:
        self._pieces = pieces
        self._answer = answer
        self._finish_reason = finish_reason
        self._output_tokens = output_tokens
        self._behaviour = _Behaviour(faults, delay_s, clock)
        self.calls: list[GenerationRequest] = []
        self.cancelled_count = 0

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        """Return the draft that `answer` gives, after its pieces."""
        self.calls.append(request)
        try:
            await self._behaviour.run()
            text = self._answer(request)
            if on_text is not None:
                for piece in self._pieces(text):
                    await on_text(piece)
                    await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled_count += 1
            raise
        words = sum(len(parts_text(message.parts).split()) for message in request.messages)
        return Draft(
            text=text,
            source=DraftSource.GENERATOR,
            model=FAKE_MODEL,
            response_id=f"chatcmpl-{request.request_id}",
            finish_reason=self._finish_reason,
            usage=Usage(
                input_tokens=words,
                output_tokens=len(text.split()) if self._output_tokens is None else self._output_tokens,
            ),
        )


class FakeLabeler:
    """A labeller that returns `labels`; by default it finds nothing."""

    def __init__(
        self,
        labels: Callable[[ConversationEvent], RequestLabels] = lambda _: FAKE_LABELS,
        *,
        faults: Iterable[Fault] = (),
        delay_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self._labels = labels
        self._behaviour = _Behaviour(faults, delay_s, clock)
        self.calls: list[ConversationEvent] = []

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """Return the labels that `labels` gives, under any policy."""
        del policy
        self.calls.append(event)
        await self._behaviour.run()
        return self._labels(event)


def clean_report(name: str) -> Callable[[CheckInput], CheckReport]:
    """Return a function that finds nothing, in the name of that check."""

    def report(_given: CheckInput) -> CheckReport:
        return CheckReport(check=name, version=FAKE_VERSION, bare_refusal=False, unfair=False)

    return report


class FakeCheck:
    """A check that returns `report`; by default it finds nothing."""

    version = FAKE_VERSION

    def __init__(
        self,
        name: str,
        report: Callable[[CheckInput], CheckReport] | None = None,
        *,
        faults: Iterable[Fault] = (),
        delay_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self._report = report or clean_report(name)
        self._behaviour = _Behaviour(faults, delay_s, clock)
        self.calls: list[CheckInput] = []

    async def check(self, given: CheckInput) -> CheckReport:
        """Return the report that `report` gives."""
        self.calls.append(given)
        await self._behaviour.run()
        return self._report(given)


class FakeStage:
    """The batch form of FakeCheck; a fault fails a whole batch."""

    version = FAKE_VERSION

    def __init__(
        self,
        name: str,
        report: Callable[[CheckInput], CheckReport] | None = None,
        *,
        faults: Iterable[Fault] = (),
    ) -> None:
        self.name = name
        self._report = report or clean_report(name)
        self._faults = iter(faults)
        self.calls: list[tuple[CheckInput, ...]] = []

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per input, in order."""
        self.calls.append(tuple(batch))
        fault = next(self._faults, None)
        if fault is not None:
            raise fault
        return [self._report(given) for given in batch]


class FakeReleases:
    """A `Releases` without a topic. `prefix` is what earlier runs released; None: this run is replaced from the start.

    `others` is what another owner has released by the time at which the run opens again.
    `on_release` is called with each text before it is acknowledged; what it raises is raised.
    """

    def __init__(
        self,
        prefix: str | None = "",
        *,
        has_last: bool = False,
        others: str = "",
        on_open: Callable[[], Awaitable[None]] | None = None,
        on_release: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._prefix, self._others = prefix, others
        self._on_open, self._on_release = on_open, on_release
        self.has_last = has_last
        self.sent = ""
        self.segments: list[tuple[str, DraftSource, bool]] = []
        self.is_opened = False

    async def open(self) -> str:
        """Return the prefix; later, all that was released by then."""
        await asyncio.sleep(0)
        if self._on_open is not None:
            await self._on_open()
        if self._prefix is None:
            raise Replaced("another run")
        self.sent = self.sent + self._others if self.is_opened else self._prefix
        self.is_opened = True
        return self.sent

    async def release(self, text: str, source: DraftSource, *, is_last: bool) -> None:
        """Keep a segment."""
        if not self.is_opened:
            raise RuntimeError("a segment before the run was opened")
        self.sent += text
        self.segments.append((text, source, is_last))
        await asyncio.sleep(0)
        if self._on_release is not None:
            await self._on_release(text)


class FakeGrantVerifier:
    """A verifier that gives every grant `status`; one outside its own dates is `expired` or `not_yet_valid`."""

    def __init__(self, status: str = "used") -> None:
        self._status = status

    def verify(self, event: ConversationEvent, now_ms: int) -> tuple[GrantUse, ...]:
        """Return one entry per grant, in order."""
        return tuple(
            GrantUse(grant=grant.grant, key_id=grant.key_id, status=self._at(now_ms, grant.not_before, grant.not_after))
            for grant in event.user.grants
        )

    def _at(self, now_ms: int, not_before: int, not_after: int) -> str:
        if now_ms < not_before:
            return "not_yet_valid"
        return "expired" if now_ms > not_after else self._status


class FakeConversationStates:
    """The ConversationStates port without a topic: `kept` are the states by conversation, whatever the partition.

    If `is_ready` is false, nothing is restored.
    """

    def __init__(self, topic: str = Topic.STATE, *, is_ready: bool = True) -> None:
        self.topic = topic
        self.is_ready = is_ready
        self.kept: dict[str, ConversationState] = {}
        self.calls: list[str] = []

    def state_of(self, partition: PartitionId, conversation_id: str) -> ConversationState:
        """Return the state as `ConversationStates.state_of` does."""
        return self.kept.get(conversation_id, EMPTY)

    def finished(self, result: Result) -> None:
        """Take a result as `ConversationStates.finished` does; values are JSON."""
        for record in result.records:
            if record.topic == self.topic and record.key is not None and record.value is not None:
                self.kept[record.key.decode()] = decode_state(record.value, Wire.JSON)

    def is_restored(self, position: PartitionOffset) -> bool:
        """Return whether a partition is restored, as `ConversationStates.is_restored` does."""
        return self.is_ready

    def begin(self, position: PartitionOffset) -> None:
        """Begin as `ConversationStates.begin` does, without reading anything."""
        self.calls.append(f"begin {position.partition}@{position.offset}")

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """Keep partitions as `ConversationStates.keep` does, without forgetting any."""
        self.calls.append(f"keep {sorted(number for _, number in partitions)}")

    def close(self) -> None:
        """Close as `ConversationStates.close` does."""
        self.calls.append("close")


class FakeTenantUses:
    """The TenantUses port without a topic: `use` counts every partition as the only one."""

    def __init__(self) -> None:
        self.use = PartitionUse((Topic.EVENTS.value, 0), 1)

    def admit(self, record: Record, tenant_id: str, budget: TenantBudget, now_ms: int) -> Admission:
        """Admit an event as `TenantUses.admit` does."""
        return self.use.admit(record.offset, tenant_id, budget, now_ms)

    def counted(self, result: Result) -> Result:
        """Count a result as `TenantUses.counted` does; the sum is not written."""
        if result.charge is not None:
            self.use.count(result.offset, result.charge, EPOCH_MS)
        return result

    def is_restored(self, position: PartitionOffset) -> bool:
        """Return that nothing has to be read."""
        return True

    def begin(self, position: PartitionOffset) -> None:
        """Begin as `PartitionMemory.begin` does, without reading anything."""
        self.use = PartitionUse((Topic.EVENTS.value, 0), 1)

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """Keep everything."""

    def close(self) -> None:
        """Do nothing: nothing is read."""
