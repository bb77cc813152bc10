"""The ports: effects that one package needs of another. Each port has a fake that passes the same contract suite."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from topology.contract.conversation import ConversationState
from topology.contract.drafts import CheckReport, Draft, GenerationRequest
from topology.contract.events import ConversationEvent, GrantUse
from topology.contract.labels import Plan, RequestLabels
from topology.contract.names import DraftSource
from topology.contract.records import OutRecord, Ownership, PartitionId, PartitionOffset, Record, Result
from topology.policy.budgets import TenantBudget
from topology.policy.bundle import PolicyBundle
from topology.tenants.admission import Admission

T = TypeVar("T")

OnText = Callable[[str], Awaitable[None]]
"""A receiver of the next piece of an answer's text."""


class CheckInput(Struct, frozen=True, kw_only=True):
    """The input of a check: the event, the policy it is judged under, the plan, and the draft.

    In stage pools it crosses a process border, with its policy by reference.
    """

    event: ConversationEvent
    labels: RequestLabels
    plan: Plan
    draft: Draft
    attempt: int
    policy: PolicyBundle


class Rest(Protocol):
    """The waiting of one event for a model; meanwhile other events may use its permit to run."""

    async def __call__(self, seconds: float) -> None:
        """Wait some seconds for a backend to recover."""
        ...

    async def during(self, work: Awaitable[T]) -> T:
        """Return the result of `work`, the answer of a backend; raise what it raises."""
        ...


class Clock(Protocol):
    """A clock, passed as an argument wherever time is read."""

    def now_ms(self) -> int:
        """Return the wall clock in Unix epoch milliseconds."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never runs backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds` of this clock's time."""
        ...


class Labeler(Protocol):
    """A labeller of requests."""

    async def label(self, event: ConversationEvent, policy: PolicyBundle) -> RequestLabels:
        """Return the labels of the request, in the categories of `policy`. Raises CheckFailed if it cannot tell."""
        ...


class Generator(Protocol):
    """A model that answers prompts."""

    async def generate(self, request: GenerationRequest, on_text: OnText | None = None) -> Draft:
        """Return the model's answer; its text is empty if the model ended without one.

        `on_text` is awaited with each piece of the text, in order: joined, they are the text. What it raises is
        raised, and closes the request at once, as cancelling does. Raises RetryLater, and CheckFailed if this request
        will never be answered.
        """
        ...


class Releases(Protocol):
    """Where one run of an event lets text leave before its answer is whole."""

    async def open(self) -> str:
        """Open the run, read back, and return the text that earlier runs have released.

        While the ownership is the same, a further call returns all text released by then. It is made before the
        response, too: after a change of ownership it opens and reads back again. Raises Replaced if nothing may be
        released here any more.
        """
        ...

    async def release(self, text: str, source: DraftSource, *, is_last: bool) -> None:
        """Write the next segment; return once it is acknowledged. Raises Replaced as `open` does.

        Raises PrefixChanged, a kind of Replaced after which `open` may be called again, if another run has released
        text meanwhile.
        """
        ...

    @property
    def sent(self) -> str:
        """Return all text that this run's readers may have seen.

        That is the prefix read back, and every segment sent, acknowledged or not.
        """
        ...

    @property
    def has_last(self) -> bool:
        """Return whether the model's whole answer was released: then nothing more is generated."""
        ...


class ReleasesFactory(Protocol):
    """A maker of the releases of one run of an event."""

    def __call__(self, record: Record, event: ConversationEvent, audit_id: str) -> Releases:
        """Return where the text of this run leaves; nothing is written yet."""
        ...


class Check(Protocol):
    """A check of drafts. Any exception is a finding that says "could not tell"."""

    @property
    def name(self) -> str:
        """Return the stage's name, as metrics, spans and audit records spell it."""
        ...

    @property
    def version(self) -> str:
        """Return the identity of this check's weights, rules or prompt for audit records."""
        ...

    async def check(self, given: CheckInput) -> CheckReport:
        """Return this check's report. Raises CheckFailed if it cannot tell."""
        ...


class Stage(Protocol):
    """The batch form of a check, which runs in a stage actor or inline. Plain, synchronous, no Ray."""

    @property
    def name(self) -> str:
        """Return the name, as `Check.name` does."""
        ...

    @property
    def version(self) -> str:
        """Return the version, as `Check.version` does."""
        ...

    def run(self, batch: Sequence[CheckInput]) -> Sequence[CheckReport]:
        """Return one report per input, in order. An exception fails the whole batch."""
        ...


class GrantVerifier(Protocol):
    """A verifier of an event's grants."""

    def verify(self, event: ConversationEvent, now_ms: int) -> tuple[GrantUse, ...]:
        """Return one entry per grant of the event, in order; only those with status `used` count."""
        ...


class Source(Protocol):
    """A source of records. All calls are made on one thread."""

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """Return the records that arrived within `timeout_s`, possibly none; those of one partition in offset order.

        A partition delivers once its committed position has been found, beginning there.
        """
        ...

    def ownership(self) -> Ownership | None:
        """Return the membership in force since the last poll; None during a rebalance."""
        ...

    def assignment(self) -> frozenset[PartitionId]:
        """Return the partitions that belong to `ownership`; the same ones until it changes."""
        ...

    def positions(self) -> Sequence[PartitionOffset]:
        """Return the committed positions found since the last call, with their metadata: their partitions now deliver.

        To be called after every poll, and used before the records of that poll. After every change of `ownership`, each
        partition of `assignment` is returned once, in one of the polls that follow.
        """
        ...

    def on_revoke(self, before: Callable[[], None]) -> None:
        """Have `before` called when partitions are about to be revoked, while their positions can still be committed.

        The call may come on any thread. It blocks the group's rebalance, and so must take bounded time.
        """
        ...

    def hold_until(self, is_ready: Callable[[PartitionOffset], bool]) -> None:
        """Deliver a partition only once `is_ready` returns true for its position; it is called again in every poll."""
        ...

    def pause(self, partitions: Collection[PartitionId]) -> None:
        """Pause exactly these partitions, and resume all others; either way stay in the group."""
        ...

    def end_offsets(self) -> Mapping[PartitionId, int]:
        """Return each partition's high watermark, as of the last poll; unknown ones are left out."""
        ...

    def readable_ends(self) -> Mapping[PartitionId, int]:
        """Return the offset after each partition's last record that can be read; unknown ones are left out.

        Records of transactions that are still open cannot; a marker of a transaction that ended is no record. A marker
        may be counted until everything before it was read.
        """
        ...

    def caught_up(self) -> frozenset[PartitionId]:
        """Return the partitions that are read to their end, as far as is known not to be long ago."""
        ...

    def close(self) -> None:
        """Stop reading; a static member stays in the group until its session ends."""
        ...


class PartitionMemory(Protocol):
    """What is remembered of the partitions that are owned. Safe for several threads.

    A partition's memory lives exactly as long as the tracker's window of it. It runs ahead of the committed position,
    as the window's results do, and is discarded with them. A new window begins with what was committed together with
    its position.
    """

    def is_restored(self, position: PartitionOffset) -> bool:
        """Return whether a new window may begin at `position`; the first call has it read. Does not block."""
        ...

    def begin(self, position: PartitionOffset) -> None:
        """Replace what is remembered by what was restored for `position`, for a new window.

        Raises RuntimeError if nothing was restored.
        """
        ...

    def keep(self, partitions: Collection[PartitionId]) -> None:
        """Forget every partition but these."""
        ...

    def close(self) -> None:
        """Stop restoring."""
        ...


class ConversationStates(PartitionMemory, Protocol):
    """The states of conversations in the partitions that are owned. Safe for several threads.

    They run ahead of the committed position, so that a turn finds the state that the last one made, and nothing is
    remembered of an answer that nobody will see.
    """

    def state_of(self, partition: PartitionId, conversation_id: str) -> ConversationState:
        """Return the state of one conversation; empty if nothing is remembered."""
        ...

    def finished(self, result: Result) -> None:
        """Take over the state that a result holds, if any, while the ownership it was made under is in force."""
        ...


class TenantUses(PartitionMemory, Protocol):
    """The use of tenants in the partitions that are owned. Safe for several threads."""

    def admit(self, record: Record, tenant_id: str, budget: TenantBudget, now_ms: int) -> Admission:
        """Admit an event, or say when to send it again. The admission of an event without a result is released."""
        ...

    def counted(self, result: Result) -> Result:
        """Count a result while the ownership it was made under is in force; return it with its tenant's sum.

        Results must be committed in the order in which they were counted.
        """
        ...


class Departures(Protocol):
    """What is known of clients that have gone. Safe for several threads."""

    def watch(self, record: Record, event_id: str, leave: Callable[[], None]) -> Callable[[], None]:
        """Have `leave` called once nobody waits for the record's answer any more, at once if that is known already.

        It is called on any thread. Return what ends the watch; `leave` may be called once more after that.
        """
        ...


class Sink(Protocol):
    """A sink that makes records and consumed offsets visible together or not at all. All calls on one thread."""

    def commit(self, records: Sequence[OutRecord], offsets: Sequence[PartitionOffset], ownership: Ownership) -> bool:
        """Return True if everything is visible, False if nothing is and the call may be repeated.

        Offsets are committed with their metadata. Ends the process if the outcome cannot be known. Raises an error with
        `topic`, `size_bytes` and `index` if a record is too large; then nothing is visible.
        """
        ...

    def close(self) -> None:
        """Release the producer; an open transaction is aborted by the next holder of the slot."""
        ...
