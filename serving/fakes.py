"""A deterministic fake of each port that answers. Each passes the contract suite of its port (tests/contracts).

A fake does what it was told at construction; `calls` lists what it was given, in order.
"""

import asyncio
import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from topology.contract.codec import decode_state
from topology.contract.conversation import EMPTY, ConversationState
from topology.contract.events import ConversationEvent, GrantUse, Role, Usage, parts_text, request_text
from topology.contract.headers import Wire
from topology.contract.labels import LabelerIdentity, RequestLabels
from topology.contract.names import Topic
from topology.contract.records import PartitionId, PartitionOffset, Result
from topology.policy.bundle import PolicyBundle
from topology.ports import CheckInput, CheckReport, Clock, Draft, GenerationRequest

EPOCH_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z, where a manual clock starts unless told otherwise."""

FAKE_VERSION = "1"
FAKE_MODEL = "fake-model"
FAKE_LABELS = RequestLabels(labeler=LabelerIdentity(model="fake-labeler", version=FAKE_VERSION))

Fault = Exception | None
"""What a call raises; None lets it answer."""


class ManualClock:
    """Time that moves only when told to: by `advance`, or by every sleep where `advances_itself`."""

    def __init__(self, *, start_ms: int = EPOCH_MS, advances_itself: bool = False) -> None:
        self._start_ms = start_ms
        self._elapsed_s = 0.0
        self._advances_itself = advances_itself
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sleeps = 0
        self.slept_s: list[float] = []

    def now_ms(self) -> int:
        """Epoch milliseconds: the start plus what has passed."""
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        """Seconds since the start."""
        return self._elapsed_s

    @property
    def sleeper_count(self) -> int:
        """How many sleeps are waiting."""
        return sum(1 for _, _, wake in self._sleepers if not wake.done())

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been moved by `seconds`; lets other tasks run in any case."""
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
        """Let `seconds` pass: who is due wakes, in order of time; they run when the caller next awaits."""
        self._elapsed_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s:
            _, _, wake = heapq.heappop(self._sleepers)
            if not wake.done():
                wake.set_result(None)


class _Behaviour:
    """Faults in order, then none; and how long each call takes."""

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
    """An answer made of the last user message alone."""
    turns = [message for message in request.messages if message.role is Role.USER]
    return f"You said: {parts_text(turns[-1].parts)}" if turns else "You said nothing."


class FakeGenerator:
    """Answers by `answer`. One token a word. `faults`: what the first calls raise, None for those that answer.

    `delay_s` passes on `clock`; without a clock there is no delay.
    """

    def __init__(
        self,
        answer: Callable[[GenerationRequest], str] = echo_answer,
        *,
        faults: Iterable[Fault] = (),
        delay_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self._answer = answer
        self._behaviour = _Behaviour(faults, delay_s, clock)
        self.calls: list[GenerationRequest] = []
        self.cancelled_count = 0

    async def generate(self, request: GenerationRequest) -> Draft:
        """The draft that `answer` gives."""
        self.calls.append(request)
        try:
            await self._behaviour.run()
        except asyncio.CancelledError:
            self.cancelled_count += 1
            raise
        text = self._answer(request)
        words = sum(len(parts_text(message.parts).split()) for message in request.messages)
        return Draft(
            text=text,
            source="generator",
            model=FAKE_MODEL,
            response_id=f"chatcmpl-{request.request_id}",
            finish_reason="stop",
            usage=Usage(input_tokens=words, output_tokens=len(text.split())),
        )


class FakeLabeler:
    """Labels by `labels`; finds nothing unless told to."""

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
        """The labels that `labels` gives, under any policy."""
        del policy
        self.calls.append(event)
        await self._behaviour.run()
        return self._labels(event)


def clean_report(name: str) -> Callable[[CheckInput], CheckReport]:
    """A function that finds nothing, in the name of that check."""

    def report(_given: CheckInput) -> CheckReport:
        return CheckReport(check=name, version=FAKE_VERSION, bare_refusal=False, unfair=False)

    return report


class FakeCheck:
    """Reports by `report`; finds nothing unless told to."""

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
        """The report that `report` gives."""
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
        """One report per input, in order."""
        self.calls.append(tuple(batch))
        fault = next(self._faults, None)
        if fault is not None:
            raise fault
        return [self._report(given) for given in batch]


class FakeGrantVerifier:
    """Every grant has `status`, but one outside its own dates is `expired` or `not_yet_valid`."""

    def __init__(self, status: str = "used") -> None:
        self._status = status

    def verify(self, event: ConversationEvent, now_ms: int) -> tuple[GrantUse, ...]:
        """One entry per grant, in order."""
        return tuple(
            GrantUse(grant=grant.grant, key_id=grant.key_id, status=self._at(now_ms, grant.not_before, grant.not_after))
            for grant in event.user.grants
        )

    def _at(self, now_ms: int, not_before: int, not_after: int) -> str:
        if now_ms < not_before:
            return "not_yet_valid"
        return "expired" if now_ms > not_after else self._status


def keyword_report(name: str, report_of: dict[str, CheckReport]) -> Callable[[CheckInput], CheckReport]:
    """A function that gives the report of the first keyword found in the draft, else a clean one."""
    clean = clean_report(name)

    def report(given: CheckInput) -> CheckReport:
        text = given.draft.text
        return next((found for word, found in report_of.items() if word in text), None) or clean(given)

    return report


def keyword_labels(labels_of: dict[str, RequestLabels]) -> Callable[[ConversationEvent], RequestLabels]:
    """A function that gives the labels of the first keyword found in the last user message, else none."""

    def labels(event: ConversationEvent) -> RequestLabels:
        text = request_text(event)
        return next((found for word, found in labels_of.items() if word in text), FAKE_LABELS)

    return labels


class FakeConversationStates:
    """The ConversationStates port without a topic: `kept` are the states by conversation, whatever the partition.

    With `is_ready` false nothing is restored.
    """

    def __init__(self, topic: str = Topic.STATE, *, is_ready: bool = True) -> None:
        self.topic = topic
        self.is_ready = is_ready
        self.kept: dict[str, ConversationState] = {}
        self.calls: list[str] = []

    def state_of(self, partition: PartitionId, conversation_id: str) -> ConversationState:
        """As `ConversationStates.state_of`."""
        return self.kept.get(conversation_id, EMPTY)

    def finished(self, result: Result) -> None:
        """As `ConversationStates.finished`; values are JSON."""
        for record in result.records:
            if record.topic == self.topic and record.key is not None:
                self.kept[record.key.decode()] = decode_state(record.value, Wire.JSON)

    def is_restored(self, position: PartitionOffset) -> bool:
        """As `ConversationStates.is_restored`."""
        return self.is_ready

    def begin(self, position: PartitionOffset) -> None:
        """As `ConversationStates.begin`: nothing is read."""
        self.calls.append(f"begin {position.partition}@{position.offset}")

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """As `ConversationStates.keep`: nothing is forgotten."""
        self.calls.append(f"keep {sorted(number for _, number in partitions)}")

    def close(self) -> None:
        """As `ConversationStates.close`."""
        self.calls.append("close")
