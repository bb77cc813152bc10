"""The Source port on a static member of a consumer group.

Delivered records always belong to the membership that `ownership` returns: when the membership changes, fetched records
are dropped and every partition is read again from its committed offset (K7, docs/kafka.md).
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from kafka import ConsumerRebalanceListener
from kafka.errors import KafkaError
from kafka.structs import (
    MemberState,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
    OffsetAndMetadata,
    TopicPartition,
)

from topology.contract.records import Ownership, PartitionId, PartitionOffset, Record
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from workers.kafka.client import connect, consumer_options, slot_name
from workers.kafka.errors import Fault, GroupUnsettled, KafkaRefused, KafkaUnavailable, SlotFenced, fault_of, refused
from workers.kafka.fetching.batches import BatchLimits
from workers.kafka.library_fixes import GroupConsumer
from workers.kafka.reader import record_of
from workers.settings import KafkaSettings

logger = logging.getLogger("sluicegate.source")

POSITION_TIMEOUT_S = 2.0
"""Bound on looking up committed offsets within one poll; the next poll looks up the rest. A predecessor's open
transaction keeps them undecided until the broker aborts it, at most `transaction_timeout_ms`."""

TOPIC_INTERVAL_S = 0.2
CLOSE_TIMEOUT_S = 3.0


class KafkaSource:
    """The slot's group member, which reads `topic`. Connects when made: raises KafkaUnavailable or KafkaRefused."""

    def __init__(
        self,
        kafka: KafkaSettings,
        topic: str,
        slot: int,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        metrics: Instruments | None = None,
        make_consumer: Callable[..., Any] | None = None,
    ) -> None:
        self._kafka = kafka
        self._metrics = metrics or Instruments.none()
        self._name = slot_name(kafka, slot)
        self._monotonic_s = monotonic_s
        self._ownership: Ownership | None = None
        self._paused: frozenset[PartitionId] = frozenset()
        self._assigned: frozenset[PartitionId] = frozenset()
        self._positions: list[PartitionOffset] = []
        self._silent_since_s: float | None = None
        self._settled_s = monotonic_s()
        """When the group was last seen settled."""
        self._unplaced: set[TopicPartition] = set()
        self._is_ready: Callable[[PartitionOffset], bool] = lambda _: True
        self._held: dict[TopicPartition, PartitionOffset] = {}
        """Unplaced partitions whose position is found and is not ready."""
        self._next: dict[TopicPartition, int] = {}
        options = consumer_options(kafka, instance_id=self._name)
        limits = BatchLimits(bytes_max=kafka.batch_decompressed_bytes_max, records_max=kafka.batch_records_max)
        make = make_consumer or partial(GroupConsumer, batches=limits)
        self._consumer: Any = connect("consumer", lambda: make(**options), kafka.connect_timeout_s)
        self._assignments = _Assignments(self._metrics)
        self._adopted_count = 0
        self._consumer.subscribe([topic], listener=self._assignments)
        self._wait_for_topic(topic)

    def on_revoke(self, before: Callable[[], None]) -> None:
        """See `Source.on_revoke`; it is called on the client's own thread, where the heartbeat waits for it."""
        self._assignments.before_revoke = before

    def poll(self, timeout_s: float) -> Sequence[Record]:
        """See `Source.poll`; takes up to POSITION_TIMEOUT_S longer after a change of membership.

        Raises SlotFenced, KafkaRefused and GroupUnsettled; waits for brokers that are away.
        """
        self._check_settled()
        try:
            return self._poll(timeout_s)
        except KafkaError as exc:
            match fault_of(exc):
                case Fault.FENCED:
                    raise SlotFenced(self._name, _name(exc)) from exc
                case Fault.REFUSED:
                    raise refused("poll", exc) from exc
                case Fault.TRANSIENT | Fault.STALE:
                    logger.warning("poll failed, trying again", extra={"error": _name(exc)})
                    time.sleep(timeout_s)
                    return ()

    def ownership(self) -> Ownership | None:
        """See `Source.ownership`."""
        return self._ownership

    def assignment(self) -> frozenset[PartitionId]:
        """See `Source.assignment`."""
        return self._assigned

    def positions(self) -> Sequence[PartitionOffset]:
        """See `Source.positions`. A partition without a committed offset is given the offset at which it begins."""
        found, self._positions = self._positions, []
        return found

    def hold_until(self, is_ready: Callable[[PartitionOffset], bool]) -> None:
        """See `Source.hold_until`."""
        self._is_ready = is_ready

    def pause(self, partitions: Collection[PartitionId]) -> None:
        """See `Source.pause`."""
        wanted = frozenset(partitions)
        if wanted != self._paused:
            self._paused = wanted
            self._apply_pauses()

    def close(self) -> None:
        """See `Source.close`; takes at most a few seconds."""
        self._consumer.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))

    def end_offsets(self) -> dict[PartitionId, int]:
        """See `Source.end_offsets`.

        Transaction markers have offsets too, so no reader reaches the end of a topic written in transactions.
        """
        ends = {partition: self._consumer.highwater(partition) for partition in self._consumer.assignment()}
        return {(partition.topic, partition.partition): end for partition, end in ends.items() if end is not None}

    def readable_ends(self) -> dict[PartitionId, int]:
        """See `Source.readable_ends`."""
        found, consumer = self.end_offsets(), self._consumer
        for partition in consumer.assignment() if isinstance(consumer, GroupConsumer) else ():
            is_read = partition not in self._unplaced and consumer.is_read_to_stable_end(partition)
            end = self._next.get(partition) if is_read else consumer.stable_end(partition)
            if end is not None:
                found[partition.topic, partition.partition] = end
        return found

    def caught_up(self) -> frozenset[PartitionId]:
        """See `Source.caught_up`."""
        found = self._consumer.caught_up() if isinstance(self._consumer, GroupConsumer) else frozenset()
        return frozenset((each.topic, each.partition) for each in found - self._unplaced)

    def _wait_for_topic(self, topic: str) -> None:
        """Wait until the brokers know the topic. Raises KafkaRefused after `connect_timeout_s`.

        A member that joins without the topic's metadata is given no partition of it until the metadata expires, and one
        that joins before the first metadata after subscribing starts a second rebalance when it arrives (K13).
        """
        deadline_s = self._monotonic_s() + self._kafka.connect_timeout_s
        while not self._is_known(topic):
            if self._monotonic_s() >= deadline_s:
                self.close()
                raise KafkaRefused("source", "no such topic", f"{topic}: create it with `sluicegate topics create`")
            logger.warning("topic does not exist yet, looking again", extra={"topic": topic})
            time.sleep(TOPIC_INTERVAL_S)

    def _is_known(self, topic: str) -> bool:
        try:
            return topic in self._consumer.topics()
        except KafkaError as exc:
            if fault_of(exc) is not Fault.TRANSIENT:
                raise refused("source", exc) from exc
            return False

    def _poll(self, timeout_s: float) -> Sequence[Record]:
        # While the group joins, a poll waits for the join, and the brokers answer nothing else before it.
        if self._unplaced and self._consumer.group_metadata().state == MemberState.STABLE:
            self._place()
            self._release()
        fetched = self._consumer.poll(timeout_ms=int(timeout_s * 1000))
        # The membership is read after the fetch: records that were fetched under an older one are not delivered.
        assignment_count = self._assignments.count
        ownership = self._membership()
        if ownership != self._ownership or assignment_count != self._adopted_count:
            self._adopt(ownership, assignment_count)
            return ()
        if ownership is None:
            return ()
        self._follow_moves()
        records: list[Record] = []
        for partition, batch in fetched.items():
            if partition not in self._unplaced:
                if batch[0].offset < self._next[partition]:
                    self._begin_again(partition, batch[0].offset)
                    continue
                records.extend(self._read(message) for message in batch)
                self._next[partition] = batch[-1].offset + 1
        return records

    def _follow_moves(self) -> None:
        """Say which records are gone before they were read, and go on where the brokers still have any (K20).

        Retention removes the oldest ones. A position beyond the end means that the topic was made again, or that its
        log lost its end: the partition then begins anew, as after a rebalance.
        """
        for moved in self._consumer.moved() if isinstance(self._consumer, GroupConsumer) else ():
            partition, lost_count = moved.partition, moved.position - moved.gone
            if partition in self._unplaced:
                continue  # it goes to its committed position, and finds out again if that is gone
            if lost_count > 0:
                place = {"topic": partition.topic, "partition": partition.partition, "from": moved.gone}
                self._metrics.count(Metric.RECORDS_LOST, lost_count)
                logger.error(
                    "records were removed before they were read: reading on with the earliest one that is left",
                    extra={**place, "to": moved.position - 1, "count": lost_count},
                )
            else:
                self._begin_again(partition, moved.position)

    def _begin_again(self, partition: TopicPartition, offset: int) -> None:
        """Have a partition whose log goes back to `offset` begin there, with nothing of what was read before."""
        place = {"topic": partition.topic, "partition": partition.partition, "to": offset}
        logger.error("the log of a partition went back: reading it anew from there", extra=place)
        self._unplaced.add(partition)
        self._held[partition] = PartitionOffset(topic=partition.topic, partition=partition.partition, offset=offset)

    def _read(self, message: Any) -> Record:
        record = record_of(message)
        if record.unreadable:
            self._metrics.count(Metric.UNREADABLE_RECORDS, message.record_count)
        return record

    def _membership(self) -> Ownership | None:
        """Return the present membership; None if there is none, which brokers would take for an old client's (K5).

        The present one stays in force during a rebalance, so that finished work can still be committed; the broker
        decides. A new one counts once its assignment is complete.
        """
        held = self._consumer.group_metadata()
        self._check_heartbeat(is_stable=held.state == MemberState.STABLE)
        if held.generation_id < 0 or not held.member_id:
            return None
        ownership = Ownership(
            generation=held.generation_id,
            member_id=held.member_id,
            group_id=held.group_id,
            instance_id=held.group_instance_id,
        )
        return ownership if held.state == MemberState.STABLE or ownership == self._ownership else None

    def _check_settled(self) -> None:
        """Raise GroupUnsettled if the member has been in no settled group for `rejoin_timeout_s` (K18)."""
        state, now_s = self._consumer.group_metadata().state, self._monotonic_s()
        if state == MemberState.STABLE:
            self._settled_s = now_s
        elif now_s - self._settled_s > self._kafka.rejoin_timeout_s:
            raise GroupUnsettled(self._name, str(state).strip("<>"), self._kafka.rejoin_timeout_s)

    def _check_heartbeat(self, *, is_stable: bool) -> None:
        """Raise SlotFenced if the library has silently stopped the heartbeat of a member that it calls stable.

        The library does no more when another process joins with this instance id (K12): it would read on for ever.
        """
        now_s = self._monotonic_s()
        if not is_stable or self._consumer._coordinator._heartbeat_enabled:  # noqa: SLF001 - there is no accessor
            self._silent_since_s = None
        elif self._silent_since_s is None:
            self._silent_since_s = now_s
        elif now_s - self._silent_since_s > self._kafka.heartbeat_interval_ms / 1000:
            raise SlotFenced(self._name, "FencedInstanceIdError")

    def _adopt(self, ownership: Ownership | None, assignment_count: int) -> None:
        """Read everything again under a new membership.

        A member can get a new assignment within one generation. Its membership is then equal, but its positions are
        not: None in between tells the caller to drop what it holds.
        """
        self._ownership = ownership if ownership != self._ownership else None
        self._adopted_count = assignment_count
        assigned = self._consumer.assignment()
        self._assigned = frozenset((partition.topic, partition.partition) for partition in assigned)
        self._unplaced = set(assigned)
        self._held.clear()
        self._positions = []
        self._next.clear()
        self._metrics.gauge_set(Metric.ASSIGNED_PARTITIONS, len(assigned) if ownership is not None else 0)
        # A new assignment does not keep the pauses of the old one.
        self._apply_pauses()
        logger.info(
            "membership changed",
            extra={
                "slot": self._name,
                "generation": ownership.generation if ownership else None,
                "partitions": sorted(partition.partition for partition in assigned),
            },
        )

    def _apply_pauses(self) -> None:
        """Apply the pauses to the client; safe because every poll returns all fetched records (K6)."""
        assigned, paused = self._consumer.assignment(), self._consumer.paused()
        wanted = {partition for partition in assigned if (partition.topic, partition.partition) in self._paused}
        wanted |= assigned & self._held.keys()
        self._consumer.pause(*(wanted - paused))
        self._consumer.resume(*((paused & assigned) - wanted))

    def _place(self) -> None:
        """Look up the committed offsets of the partitions that need it, as many as the time allows."""
        deadline_s = self._monotonic_s() + POSITION_TIMEOUT_S
        self._unplaced &= set(self._consumer.assignment())
        for partition in sorted(self._unplaced - self._held.keys()):
            left_ms = int((deadline_s - self._monotonic_s()) * 1000)
            if left_ms <= 0 or not self._place_one(partition, left_ms):
                return

    def _place_one(self, partition: TopicPartition, timeout_ms: int) -> bool:
        """Look up one offset. Return False if that must wait for the next poll, due in time to stay in the group."""
        try:
            committed = self._consumer.committed(partition, metadata=True, timeout_ms=timeout_ms)
            if committed is None:
                committed = OffsetAndMetadata(self._first_offset(partition, timeout_ms), "", -1)
        except KafkaError as exc:
            if fault_of(exc) in {Fault.FENCED, Fault.REFUSED}:
                raise
            logger.warning("no committed offset yet", extra={"partition": partition.partition, "error": _name(exc)})
            return False
        self._held[partition] = PartitionOffset(
            topic=partition.topic,
            partition=partition.partition,
            offset=committed.offset,
            metadata=committed.metadata or "",
        )
        return True

    def _release(self) -> None:
        """Let the partitions deliver whose position is ready."""
        ready = [partition for partition, position in self._held.items() if self._is_ready(position)]
        if ready:
            self._follow_moves()  # those of partitions that are placed only now are nobody's
        for partition in ready:
            position = self._held.pop(partition)
            try:
                self._consumer.seek(partition, position.offset)
            except ValueError:
                continue  # the partition was revoked meanwhile
            self._next[partition] = position.offset
            self._positions.append(position)
            self._unplaced.discard(partition)
        self._apply_pauses()

    def _first_offset(self, partition: TopicPartition, timeout_ms: int) -> int:
        """Return the offset at which a group without a committed one begins; `latest` is committed before delivery.

        The log end moves with every record: a second lookup after an aborted transaction would skip records. Every
        other position is committed by a transaction. A copy of this commit that arrived late would take the position
        back, so if it is not answered, nothing is delivered under this membership: raises KafkaUnavailable, and a
        restart joins as another member, as which the brokers refuse the copy.
        """
        if self._kafka.auto_offset_reset == "earliest":
            return self._only(self._consumer.beginning_offsets([partition], timeout_ms=timeout_ms))
        end = self._only(self._consumer.end_offsets([partition], timeout_ms=timeout_ms))
        try:
            self._consumer.commit({partition: OffsetAndMetadata(end, "", -1)}, timeout_ms=timeout_ms)
        finally:
            if self._consumer.has_unanswered_commit:
                raise KafkaUnavailable("commit of a start position", "no answer; it may come late, so start again")
        return end

    @staticmethod
    def _only(offsets: dict[TopicPartition, int]) -> int:
        (offset,) = offsets.values()
        return offset


class _Assignments(ConsumerRebalanceListener):
    """A counter of assignments; called on the client's own thread."""

    def __init__(self, metrics: Instruments) -> None:
        self.count = 0
        self.before_revoke: Callable[[], None] | None = None
        self._metrics = metrics

    def on_partitions_assigned(self, assigned: object) -> None:
        """Count an assignment that is now in force."""
        self.count += 1
        self._metrics.count(Metric.REBALANCES, reason="assigned")

    def on_partitions_revoked(self, revoked: object) -> None:
        """Let finished work be committed: the rebalance continues once this returns."""
        self._metrics.count(Metric.REBALANCES, reason="revoked")
        if self.before_revoke is not None:
            self.before_revoke()

    def on_partitions_lost(self, lost: object) -> None:
        """Count the loss only: the broker refuses commits under the lost membership."""
        self._metrics.count(Metric.REBALANCES, reason="lost")


def _name(error: KafkaError) -> str:
    return type(error).__name__
