"""The seams: what one package needs of another's effects. Each port has a fake that passes the same contract suite."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from topology.contract.conversation import ConversationState
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.events import ConversationEvent, GrantUse
from topology.contract.labels import Plan, RequestLabels
from topology.contract.records import OutRecord, Ownership, PartitionId, PartitionOffset, Record, Result
from topology.policy.bundle import PolicyBundle

Rest = Callable[[float], Awaitable[None]]
"""Waits that many seconds for something to come back. Others may take the caller's place in the worker meanwhile."""


class CheckInput(Struct, frozen=True, kw_only=True):
    """What a check sees: the event, the policy it is judged under, what was planned, and the draft.

    In stage pools it crosses a process, its policy by reference.
    """

    event: ConversationEvent
    labels: RequestLabels
    plan: Plan
    draft: Draft
    attempt: int
    policy: PolicyBundle


class Clock(Protocol):
    """Time as an argument."""

    def now_ms(self) -> int:
        """Wall-clock Unix epoch milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of this clock's time."""
        ...


class Labeler(Protocol):
    """Labels a request."""

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """What the request is, in the categories of `policy`. Raises CheckFailed where it cannot tell."""
        ...


class Generator(Protocol):
    """Answers a prompt."""

    async def generate(self, request: GenerationRequest) -> Draft:
        """The model's answer. Raises RetryLater; cancelling closes the request."""
        ...


class Check(Protocol):
    """Looks at a draft. Any exception is a finding that says "could not tell"."""

    @property
    def name(self) -> str:
        """The stage's name, as metrics, spans and audit records spell it."""
        ...

    @property
    def version(self) -> str:
        """What identifies this check's weights, rules or prompt in an audit record."""
        ...

    async def check(self, given: CheckInput) -> CheckReport:
        """This check's report. Raises CheckFailed where it cannot tell."""
        ...


class Stage(Protocol):
    """The batch form of a check: what runs in a stage actor, or inline. Plain, synchronous, no Ray."""

    @property
    def name(self) -> str:
        """As `Check.name`."""
        ...

    @property
    def version(self) -> str:
        """As `Check.version`."""
        ...

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """One report per input, in order. An exception fails the whole batch."""
        ...


class GrantVerifier(Protocol):
    """Says which of an event's grants hold."""

    def verify(self, event: ConversationEvent, now_ms: int) -> tuple[GrantUse, ...]:
        """One entry per grant of the event, in order; only those with status `used` count."""
        ...


class Source(Protocol):
    """Reads records. All calls on one thread."""

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """What arrived within `timeout_s`, possibly nothing. Records of one partition in offset order.

        A partition delivers once its committed position has been found, and then from there.
        """
        ...

    def ownership(self) -> Ownership | None:
        """The membership in force since the last poll; None while the group has not settled."""
        ...

    def assignment(self) -> frozenset[PartitionId]:
        """The partitions that belong to `ownership`; the same ones until it changes."""
        ...

    def positions(self) -> Sequence[PartitionOffset]:
        """Committed positions, with their metadata, found since the last call: the partitions that now deliver.

        To be asked after every poll, and used before the records of that poll. All of `assignment` come once after
        every change of `ownership`, in the polls that follow it.
        """
        ...

    def on_revoke(self, before: Callable[[], None]) -> None:
        """Have `before` called when partitions are about to be given up, while their positions can still be committed.

        It may come on any thread, holds the group up meanwhile, and so takes bounded time.
        """
        ...

    def hold_until(self, is_ready: Callable[[PartitionOffset], bool]) -> None:
        """Deliver a partition only once `is_ready` has said yes to its position; it is asked again in every poll."""
        ...

    def pause(self, partitions: Collection[PartitionId]) -> None:
        """Deliver nothing of exactly these, and of all others again; either way stay in the group."""
        ...

    def end_offsets(self) -> Mapping[PartitionId, int]:
        """The offset that each partition's next record gets, as of the last poll; the unknown is left out."""
        ...

    def close(self) -> None:
        """Stop reading; a static member stays in the group until its session ends."""
        ...


class ConversationStates(Protocol):
    """What conversations have shown so far, of the partitions that are owned. Safe for several threads.

    A partition's states live exactly as long as the tracker's window of it. They run ahead of what is committed, as
    its results do, so that a turn finds what the last one left; and they go with its results, so that nothing is
    remembered of an answer that nobody will see. A new window begins with what its position was committed with.
    """

    def state_of(self, partition: PartitionId, conversation_id: str) -> ConversationState:
        """The state of one conversation; empty where nothing is remembered."""
        ...

    def finished(self, result: Result) -> None:
        """Take over what a result says of its conversation, while the ownership that it was made under is alive."""
        ...

    def is_restored(self, position: PartitionOffset) -> bool:
        """Whether a new window may begin at `position`; the first call has its states read. Does not block."""
        ...

    def begin(self, position: PartitionOffset) -> None:
        """Let a new window begin with what was restored for `position`, in place of what there was.

        Raises RuntimeError where nothing was.
        """
        ...

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """Forget every partition but these."""
        ...

    def close(self) -> None:
        """Stop restoring."""
        ...


class Sink(Protocol):
    """Makes results and consumed offsets visible together or not at all. All calls on one thread."""

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """True when everything is visible, False when nothing is and it may be tried again.

        Offsets are committed with their metadata. Ends the process where the outcome cannot be known.
        """
        ...

    def close(self) -> None:
        """Release the producer; an open transaction is aborted by the next holder of the slot."""
        ...
