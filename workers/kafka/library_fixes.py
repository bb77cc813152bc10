"""Fixes of kafka-python where it has no option: joins (K15, K18), connections (K16), requests that nobody answered
(K17), fetches (K19, K20); see docs/kafka.md.
"""

from functools import partial
from typing import Any

from kafka import KafkaConsumer
from kafka.protocol.consumer import OffsetCommitRequest
from kafka.structs import (
    MemberState,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    TopicPartition,
)

from workers.kafka.fetching.batches import BatchLimits, BoundedRecords, Reading
from workers.kafka.fetching.fetches import Fetches, Moved

DEFAULT_LIMITS = BatchLimits(bytes_max=32 << 20, records_max=20_000)


class UnansweredRequests:
    """The requests of some kinds that a client has sent without an answer, counted where they leave (K17).

    The library sends a request again after its connection was lost. The first copy may still be in the network, and the
    brokers take it whenever it arrives. A request that was answered cannot arrive again: a connection delivers it once.
    """

    def __init__(self, client: Any, kinds: tuple[type, ...]) -> None:
        # Every name is there from the start: another thread may read while this one counts.
        self._counts = {_name(kind): 0 for kind in kinds}
        manager = client._manager  # noqa: SLF001 - the library has no hook for it
        send = manager.send

        def send_and_count(request: object, *arguments: Any, **options: Any) -> Any:
            sent = send(request, *arguments, **options)
            if isinstance(request, kinds) and not sent.failed():  # one that failed at once has not left
                self._counts[_name(type(request))] += 1
                sent.add_callback(self._answered, _name(type(request)))
            return sent

        manager.send = send_and_count

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of unanswered requests, each once, as the protocol has them."""
        return tuple(sorted(name for name, count in self._counts.items() if count))

    def _answered(self, name: str, _answer: object) -> None:
        self._counts[name] -= 1


def _name(kind: type) -> str:
    return kind.__name__.removesuffix("Request")


class BoundedConsumer(KafkaConsumer):
    """A KafkaConsumer that reads batches within bounds; what cannot be read stops nothing (K19): `fetching/batches`."""

    # Private attributes of the library that are used here and below; its stubs do not know them.
    _client: Any
    _coordinator: Any
    _fetcher: Any

    def __init__(self, *, batches: BatchLimits = DEFAULT_LIMITS, **options: Any) -> None:
        super().__init__(**options)
        self._reading = Reading(batches)
        self._fetcher.PartitionRecords = partial(BoundedRecords, self._reading)

    def poll(self, *arguments: Any, **named: Any) -> Any:
        """Poll as the library does, for what one poll may read."""
        self._reading.begin()
        return super().poll(*arguments, **named)


class GroupConsumer(BoundedConsumer):
    """A KafkaConsumer that keeps a join which was answered between two polls, and always takes it over.

    The library joins on its own thread while a poll waits. It drops an answer that arrives between two polls and joins
    again, which makes every member join again; the more members there are, the likelier one of them misses its answer.
    It forgets such an answer if nothing else calls for a join by then, and is in no group from then on.
    """

    def __init__(self, *, batches: BatchLimits = DEFAULT_LIMITS, **options: Any) -> None:
        super().__init__(batches=batches, **options)
        self._fetches = Fetches(self)
        _keep_answered_joins(self._coordinator)
        _join_until_stable(self._coordinator)
        self._commits = UnansweredRequests(self._client, (OffsetCommitRequest,))

    @property
    def has_unanswered_commit(self) -> bool:
        """Return whether a commit of offsets may still reach the brokers, under the present membership."""
        return bool(self._commits.names)

    def caught_up(self) -> frozenset[TopicPartition]:
        """See `Fetches.caught_up`."""
        return self._fetches.caught_up()

    def stable_end(self, partition: TopicPartition) -> int | None:
        """See `Fetches.stable_end`."""
        return self._fetches.stable_end(partition)

    def is_read_to_stable_end(self, partition: TopicPartition) -> bool:
        """See `Fetches.is_read_to_stable_end`."""
        return self._fetches.is_read_to_stable_end(partition)

    def moved(self) -> list[Moved]:
        """See `Fetches.moved`."""
        return self._fetches.moved()


def _keep_answered_joins(coordinator: Any) -> None:
    """Make the next poll take over the join that was answered since the last one."""
    join = coordinator.join_group_async

    async def join_or_take_over(timeout_ms: float | None = None) -> bool:
        answered = coordinator._join_task  # noqa: SLF001 - the library has no hook for it
        if answered is not None and answered.is_done and answered.succeeded():
            # As a task that still has to run: a poll waits for no other kind, and this thread cannot run it earlier.
            coordinator._join_task = coordinator._manager.call_soon(lambda: answered.value)  # noqa: SLF001 - as above
        return await join(timeout_ms)

    coordinator.join_group_async = join_or_take_over


def _join_until_stable(coordinator: Any) -> None:
    """Have every poll go on joining until the member is stable.

    The library asks whether its topics have changed since the last assignment. A leader makes the assignment, and so
    answers that, between the two answers of a join; a poll that ends there is the last one that looks at the join.
    """
    need_rejoin = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: (
        need_rejoin() or coordinator.state is not MemberState.STABLE or coordinator._join_task is not None  # noqa: SLF001 - the library has no accessor
    )


def deliver_bytes_before_eof(client: Any) -> None:
    """Make new connections of `client` deliver bytes that were read together with EOF; kafka-python drops them (K16).

    A broker that refuses a login says so and closes the connection at once. On a busy machine both are read together,
    and the refusal looks like a network that is down.
    """
    manager = client._manager  # noqa: SLF001 - the library has no hook for it
    build = manager._build_transport  # noqa: SLF001 - as above

    async def build_and_wrap(node: object, timeout_at: float | None = None) -> Any:
        transport = await build(node, timeout_at=timeout_at)
        receive = transport._sock_recv  # noqa: SLF001 - as above

        def receive_first() -> tuple[bytes, Exception | None]:
            received, error = receive()
            return received, None if received else error  # the next read finds EOF again

        transport._sock_recv = receive_first  # noqa: SLF001 - as above
        return transport

    manager._build_transport = build_and_wrap  # noqa: SLF001 - as above
