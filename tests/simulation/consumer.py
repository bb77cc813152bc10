"""A KafkaConsumer in virtual time, in as far as the worker uses it, with the library's defects.

K5: a member that was thrown out has the identity (-1, ''). K6: with a limit on what a poll returns, a pause in the
middle of a fetch is for good. K7: partitions that come back keep their old position, and a join that is refused tells
nobody of lost partitions. K10: a cooperative member claims what it owned before it was thrown out. K12: a fenced member
only stops its heartbeat.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

from kafka import errors
from kafka.structs import (
    ConsumerGroupMetadata,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    MemberState,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    OffsetAndMetadata,
    TopicPartition,
)

from tests.simulation.broker import InputRecord
from tests.simulation.group import Joined
from tests.simulation.scheduling import Process

if TYPE_CHECKING:
    from tests.simulation.world import World

BACKOFF_S = 0.03
REQUEST_TIMEOUT_S = 0.3
JOIN_TIMEOUT_S = 1.5
"""For a join whose answer went to a copy of it: longer than a rebalance takes."""

BOOTSTRAP_S = 0.1


class Coordination:
    """What the worker looks at inside of the library: whether heartbeats go on."""

    def __init__(self) -> None:
        self.heartbeat = False

    @property
    def _heartbeat_enabled(self) -> bool:
        return self.heartbeat


class Join:
    """A request under way; None until its answer is here."""

    def __init__(self) -> None:
        self.answer: Joined | Exception | None = None
        self.is_lost = False


class Consumer:
    def __init__(self, world: "World", process: Process, **options: Any) -> None:
        self._world = world
        self._process = process
        self._scheduler = world.scheduler
        self._broker = world.broker
        self._group = world.broker.group
        self._options = options
        self._instance_id: str = options["group_instance_id"]
        self._is_cooperative = type(options["partition_assignment_strategy"][0]).__name__.startswith("Cooperative")
        self._group.is_cooperative = self._is_cooperative
        self._is_stable_fetch = options["isolation_level"] == "read_committed"
        self._coordinator = Coordination()
        self._generation = -1
        self._member_id = ""
        self._state: Any = MemberState.UNJOINED
        self._is_rejoin_needed = True
        self._is_rejoining = False
        self._is_listening = False
        self._is_forgetting = False
        self._join: Join | None = None
        self._listener: Any = None
        self._polled_s = 0.0
        self._positions: dict[int, int | None] = {}
        self._paused: set[int] = set()
        self._revoking = False
        self._claims: frozenset[int] = frozenset()
        self._parked: set[int] = set()
        self._stuck: set[int] = set()
        self.is_closed = False
        self.has_given_up = False
        """Between a revocation and the next assignment."""
        world.point("connect", process)
        if self._broker.is_down:
            self._scheduler.sleep(BOOTSTRAP_S)
            raise errors.KafkaTimeoutError
        world.consumers[process] = self
        self._schedule_beat()

    # As the library's

    def subscribe(self, topics: list[str], listener: Any) -> None:
        self._listener = listener

    def topics(self) -> set[str]:
        return {"in"}

    def group_metadata(self) -> Any:
        return ConsumerGroupMetadata(
            group_id=self._options["group_id"],
            generation_id=self._generation,
            member_id=self._member_id,
            group_instance_id=self._instance_id,
            state=self._state,
        )

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("in", partition) for partition in self._positions}

    def paused(self) -> set[TopicPartition]:
        return {TopicPartition("in", partition) for partition in self._paused}

    def pause(self, *partitions: TopicPartition) -> None:
        for each in partitions:
            if each.partition in self._positions:
                self._paused.add(each.partition)
                if each.partition in self._parked:
                    self._stuck.add(each.partition)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(each.partition for each in partitions)

    def highwater(self, partition: TopicPartition) -> int:
        return self._broker.ends[partition.partition]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition.partition not in self._positions:
            raise ValueError("not assigned")
        self._positions[partition.partition] = offset

    def beginning_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    def committed(self, partition: TopicPartition, *, metadata: bool, timeout_ms: int) -> OffsetAndMetadata | None:
        assert metadata
        deadline_s = self._scheduler.now_s + timeout_ms / 1000
        if self._world.point("committed", self._process) == "lost_ack":
            raise errors.RequestTimedOutError
        while True:
            if not self._broker.is_down:
                try:
                    found = self._broker.position(partition.partition, stable=self._is_stable_fetch)
                    break
                except errors.UnstableOffsetCommitError:  # pyright: ignore[reportAttributeAccessIssue] - newer
                    self._world.counts.unstable += 1
            if self._scheduler.now_s >= deadline_s:
                raise errors.KafkaTimeoutError
            self._scheduler.sleep(BACKOFF_S)
        self._world.point("committed_answer", self._process)
        return None if found is None else OffsetAndMetadata(found[0], found[1], -1)

    def poll(self, timeout_ms: int) -> dict[TopicPartition, list[InputRecord]]:
        self._world.check(self._process)
        deadline_s = self._scheduler.now_s + timeout_ms / 1000
        self._world.point("poll", self._process)
        if (self._is_rejoin_needed or self._join is not None) and not self._ensure_active(deadline_s):
            return {}
        self._polled_s = self._scheduler.now_s
        fetched = self._fetch()
        if not fetched:
            self._scheduler.block(max(deadline_s, self._scheduler.now_s))
            fetched = self._fetch()
        if fetched:
            self._world.point("fetched", self._process)
        return fetched

    def close(self, *, autocommit: bool, timeout_ms: int) -> None:
        self.is_closed = True
        self._coordinator.heartbeat = False

    # Faults

    def forget(self) -> None:
        """The library thinks that the poll interval is over: it gives its membership up without a word.

        As soon as it is a member: heartbeats, which notice it, rest while the group joins.
        """
        self._is_forgetting = self._state is not MemberState.STABLE
        if not self._is_forgetting:
            self._reset("")

    def rejoin(self) -> None:
        """The library finds that it has to join again."""
        self._is_rejoin_needed = True

    @property
    def identity(self) -> tuple[int, str]:
        return self._generation, self._member_id

    # Membership

    def _ensure_active(self, deadline_s: float) -> bool:
        while self._is_rejoin_needed or self._join is not None:
            if self._join is None:
                self._prepare()
                self._send_join()
            join = self._join
            assert join is not None
            while join.answer is None:
                if self._scheduler.now_s >= deadline_s:
                    return False
                self._scheduler.block(min(deadline_s, self._scheduler.now_s + BACKOFF_S))
            self._join = None
            if self._take_over(join.answer):
                return True
        return True

    def _prepare(self) -> None:
        """Give partitions up before joining, once for each rebalance."""
        if self._is_rejoining:
            return
        owned = self.assignment()
        if self._generation < 0 or not self._member_id:
            if owned:
                self._listen("on_partitions_lost", owned)
                self._assign(frozenset())
        elif not self._is_cooperative:
            self._revoking = True
            self._listen("on_partitions_revoked", owned)
        self._is_rejoining = True
        self._coordinator.heartbeat = False

    def _send_join(self) -> None:
        join = self._join = Join()
        self._state = MemberState.REBALANCING
        action = self._world.point("join", self._process)
        claims = self._claims if self._is_cooperative else frozenset[int]()
        ask = partial(self._group.join, self._member_id, self._instance_id, claims)
        if action in {"late_copy", "doubled"}:
            copied = self._broker.arrive_late if action == "late_copy" else self._broker.arrive
            copied(lambda: ask(_unheard))
            join.answer = errors.KafkaConnectionError()
            return
        join.is_lost = self._broker.is_down or action == "lost_ack"
        after_s = self._scheduler.now_s + (REQUEST_TIMEOUT_S if join.is_lost else JOIN_TIMEOUT_S)
        self._scheduler.call_at(after_s, lambda: self._answer(join, errors.RequestTimedOutError()), self._process)
        if self._broker.is_down:
            return

        def later(answer: Joined | Exception) -> None:
            if not join.is_lost:
                at_s = self._scheduler.now_s + self._world.latency_s()
                self._scheduler.call_at(at_s, lambda: self._answer(join, answer), self._process)

        ask(later)

    def _answer(self, join: Join, answer: Joined | Exception) -> None:
        """On the library's own thread: the identity counts at once, the assignment with the next poll."""
        if join.answer is not None or self.is_closed:
            return
        if isinstance(answer, Joined):
            if self._state is not MemberState.REBALANCING:
                answer = errors.RequestTimedOutError()
            else:
                self._generation, self._member_id = answer.generation, answer.member_id
        elif isinstance(answer, errors.UnknownMemberIdError):
            self._reset("")
        join.answer = answer

    def _take_over(self, answer: Joined | Exception) -> bool:
        if isinstance(answer, errors.FencedInstanceIdError):
            raise answer
        if not isinstance(answer, Joined) or not self._synchronise():
            return False
        self._world.point("joined", self._process)
        self._is_rejoining = self._is_rejoin_needed = False
        self._state = MemberState.STABLE
        self._coordinator.heartbeat = True
        owned = self.assignment()
        self._assign(answer.partitions)
        self._claims = answer.partitions
        if not self._is_cooperative:
            self._listen("on_partitions_assigned", self.assignment())
            return True
        if revoked := owned - self.assignment():
            self._listen("on_partitions_revoked", revoked)
            self._is_rejoin_needed = True
        if added := self.assignment() - owned:
            self._listen("on_partitions_assigned", added)
        return True

    def _synchronise(self) -> bool:
        """Ask for the assignment; False where no answer comes, and the member joins again.

        The group keeps nothing of a SyncGroup, so that a copy of one, late or not, only shows that the member lives.
        """
        action = self._world.point("sync", self._process)
        if action in {"late_copy", "doubled"}:
            copied = self._broker.arrive_late if action == "late_copy" else self._broker.arrive
            copied(partial(self._group.heartbeat, self._member_id, self._instance_id, self._generation))
        return action not in {"late_copy", "doubled", "lost_ack"}

    def _assign(self, partitions: frozenset[int]) -> None:
        """What comes back keeps its position and its pause (K7)."""
        self._positions = {partition: self._positions.get(partition) for partition in sorted(partitions)}
        self._paused &= partitions
        self._parked &= partitions
        self._stuck &= partitions
        self._revoking = self.has_given_up = False

    def _listen(self, name: str, partitions: set[TopicPartition]) -> None:
        """Heartbeats wait for the listener."""
        self._is_listening = True
        try:
            if name == "on_partitions_revoked":
                self._world.point("revoke", self._process)
            getattr(self._listener, name)(partitions)
            self.has_given_up = name == "on_partitions_revoked" and not self._is_cooperative
        finally:
            self._is_listening = False

    def _reset(self, member_id: str) -> None:
        self._generation, self._member_id = -1, member_id
        self._is_rejoin_needed = True
        self._state = MemberState.UNJOINED

    def _schedule_beat(self) -> None:
        at_s = self._scheduler.now_s + self._options["heartbeat_interval_ms"] / 1000
        self._scheduler.call_at(at_s, self._beat, self._process)

    def _beat(self) -> None:
        if self.is_closed:
            return
        if self._coordinator.heartbeat and not self._is_listening:
            if self._state is not MemberState.STABLE:
                self._coordinator.heartbeat = False
            elif self._is_forgetting:
                self.forget()
            elif self._scheduler.now_s - self._polled_s > self._options["max_poll_interval_ms"] / 1000:
                self._world.counts.poll_gaps += 1
                self._reset("")
            elif not self._broker.is_down:
                self._heartbeat()
        self._schedule_beat()

    def _heartbeat(self) -> None:
        try:
            self._group.heartbeat(self._member_id, self._instance_id, self._generation)
        except errors.RebalanceInProgressError:
            # Its answer may come after the join that it asks for.
            after_s = self._scheduler.now_s + self._world.latency_s() * 10
            self._scheduler.call_at(after_s, self.rejoin, self._process)
        except errors.IllegalGenerationError:
            self._reset(self._member_id)
        except errors.FencedInstanceIdError:
            self._coordinator.heartbeat = False
        except errors.UnknownMemberIdError:
            self._reset("")

    # Records

    def _fetch(self) -> dict[TopicPartition, list[InputRecord]]:
        if self._broker.is_down or self._revoking:
            return {}
        fetched: dict[TopicPartition, list[InputRecord]] = {}
        left: int = self._options["max_poll_records"]
        for partition, position in list(self._positions.items()):
            if partition in self._paused or partition in self._stuck or left <= 0:
                continue
            records = self._broker.read(partition, self._start(partition, position), self._world.fetch_count())
            if len(records) > left:
                records = records[:left]
                self._parked.add(partition)
            else:
                self._parked.discard(partition)
            left -= len(records)
            if records:
                fetched[TopicPartition("in", partition)] = records
                self._positions[partition] = records[-1].offset + 1
        return fetched

    def _start(self, partition: int, position: int | None) -> int:
        if position is not None:
            return position
        committed = self._broker.committed[partition]
        return committed[0] if committed else 0


def _unheard(_: object) -> None:
    """An answer to a connection that is cut."""
