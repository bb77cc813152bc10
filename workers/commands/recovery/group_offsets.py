"""Moves a consumer group to given offsets, as long as nobody is in it."""

from collections.abc import Mapping
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import GroupIdNotFoundError, NoError
from kafka.structs import OffsetAndMetadata, TopicPartition

from topology.contract.errors import SluicegateError
from workers.kafka.client import admin_options, connect
from workers.kafka.errors import KafkaRefused
from workers.settings import KafkaSettings

NO_LEADER_EPOCH = -1
_NO_SUCH_GROUP = f"[Error {GroupIdNotFoundError.errno}]"
"""How the description of a group begins that nobody ever was in; before Kafka 4 it is one without members."""


class GroupIsActive(SluicegateError):
    """`args` is (group, number of its members)."""

    def __init__(self, group: str, member_count: int) -> None:
        super().__init__(group, member_count)
        self.group = group
        self.member_count = member_count

    def __str__(self) -> str:
        how = "stop its workers, and wait until their sessions have ended"
        return f"kafka: group {self.group} has {self.member_count} active members, and they would not see it: {how}"


class GroupOffsets:
    """The committed offsets of one group for one topic. Raises KafkaUnavailable, KafkaRefused and KafkaError."""

    def __init__(self, kafka: KafkaSettings, group: str, topic: str) -> None:
        options = admin_options(kafka)
        self._client: Any = connect("admin", lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
        self._group = group
        self._topic = topic

    def require_idle(self) -> None:
        """Raises GroupIsActive where somebody is in the group."""
        described = self._client.describe_groups([self._group])[self._group]
        if (described["error"] or "").startswith(_NO_SUCH_GROUP):
            return
        if described["error"]:
            raise KafkaRefused("describe group", self._group, described["error"])
        if members := described["members"]:
            raise GroupIsActive(self._group, len(members))

    def known(self) -> frozenset[int]:
        """The partitions for which the group has an offset."""
        found = self._client.list_group_offsets({self._group: None})[self._group]
        return frozenset(tp.partition for tp, at in found.items() if tp.topic == self._topic and at.offset >= 0)

    def set(self, offsets: Mapping[int, int]) -> None:
        """Commit `offsets`, by partition. Raises KafkaRefused where a broker takes one of them not."""
        wanted = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, "", NO_LEADER_EPOCH)
            for partition, offset in offsets.items()
        }
        for partition, error in self._client.alter_group_offsets(self._group, wanted).items():
            if error is not NoError:
                raise KafkaRefused(
                    "set offsets", error.__name__, f"group {self._group}, partition {partition.partition}"
                )

    def close(self) -> None:
        """Release the connections."""
        self._client.close()
