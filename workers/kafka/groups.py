"""Consumer groups seen from outside: their committed offsets are moved while nobody is in them, members are removed."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from kafka.admin import (
    KafkaAdminClient,
    MemberToRemove,  # pyright: ignore[reportAttributeAccessIssue] - newer than the stubs
)
from kafka.errors import GroupIdNotFoundError, NoError
from kafka.structs import OffsetAndMetadata, TopicPartition

from topology.contract.errors import SluicegateError
from workers.kafka.client import admin_options, connect, slot_name
from workers.kafka.errors import KafkaRefused, translated
from workers.settings import KafkaSettings

NO_LEADER_EPOCH = -1
_NO_SUCH_GROUP = f"[Error {GroupIdNotFoundError.errno}]"
"""The beginning of the error for a group that nobody was ever in; before Kafka 4 it is a group without members."""


class GroupIsActive(SluicegateError):
    """A group has members, so its offsets cannot be moved. `args` is (group, number of its members)."""

    def __init__(self, group: str, member_count: int) -> None:
        super().__init__(group, member_count)
        self.group = group
        self.member_count = member_count

    def __str__(self) -> str:
        how = "stop its workers, and wait until their sessions have ended"
        return f"kafka: group {self.group} has {self.member_count} active members, and they would not see it: {how}"


class GroupOffsets:
    """The committed offsets of one group for one topic; a context manager. Raises KafkaUnavailable and KafkaRefused."""

    def __init__(self, kafka: KafkaSettings, group: str, topic: str) -> None:
        self._client = _admin(kafka)
        self._group = group
        self._topic = topic

    def require_idle(self) -> None:
        """Raise GroupIsActive if somebody is in the group."""
        with translated(f"describe group {self._group}"):
            described = self._client.describe_groups([self._group])[self._group]
        if (described["error"] or "").startswith(_NO_SUCH_GROUP):
            return
        if described["error"]:
            raise KafkaRefused("describe group", self._group, described["error"])
        if members := described["members"]:
            raise GroupIsActive(self._group, len(members))

    def known(self) -> frozenset[int]:
        """Return the partitions for which the group has an offset."""
        with translated(f"offsets of {self._group}"):
            found = self._client.list_group_offsets({self._group: None})[self._group]
        return frozenset(tp.partition for tp, at in found.items() if tp.topic == self._topic and at.offset >= 0)

    def set(self, offsets: Mapping[int, int]) -> None:
        """Commit `offsets`, by partition. Raises KafkaRefused if a broker does not accept one of them."""
        wanted = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "", NO_LEADER_EPOCH)
            for partition, offset in offsets.items()
        }
        with translated(f"set offsets of {self._group}"):
            answers = self._client.alter_group_offsets(self._group, wanted)
        for partition, error in answers.items():
            if error is not NoError:
                raise KafkaRefused(
                    "set offsets", error.__name__, f"group {self._group}, partition {partition.partition}"
                )

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def leave_group(kafka: KafkaSettings, slots: Sequence[int]) -> tuple[int, ...]:
    """Remove the slots' members from the group for good: their partitions move now, not when the session times out.

    Return the slots that had a member. Raises KafkaUnavailable and KafkaRefused.
    """
    members = [MemberToRemove(group_instance_id=slot_name(kafka, slot)) for slot in slots]
    client = _admin(kafka)
    try:
        with translated(f"leave group {kafka.group_id}"):
            answers = client.remove_group_members(kafka.group_id, members)
    finally:
        client.close()
    return tuple(slot for slot in slots if answers.get(slot_name(kafka, slot)) is NoError)


def _admin(kafka: KafkaSettings) -> Any:
    options = admin_options(kafka)
    return connect("admin", lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
