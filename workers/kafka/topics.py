"""The topics: one table of their purpose and configuration, and the function that creates them.

Only the demo deletes topics, and only those that it made for one run. An existing topic's configuration is changed on
request only; its partition count never is, because keys would move to other partitions.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any

from kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewTopic,
)
from kafka.errors import CoordinatorNotAvailableError, TopicAlreadyExistsError
from msgspec import Struct
from msgspec.structs import replace

from workers.kafka.client import REQUEST_BYTES_MAX, admin_options, connect
from workers.kafka.errors import DETAIL_CHARACTERS_MAX, KafkaRefused, KafkaUnavailable, translated
from workers.settings import KafkaSettings, TopicSettings

DAY_MS = 24 * 3600 * 1000
FOREVER_MS = -1
STATE_RETENTION_MS = 31 * DAY_MS
"""Longer than the longest `state.ttl_s`. Without a retention the topic would keep every conversation for ever."""

CANCEL_RETENTION_MS = 3600 * 1000
"""Longer than any deadline that a door sets; what is cancelled later has ended by itself."""

SEGMENTS_PER_RETENTION = 10
"""Records stand for up to a segment longer than they are kept for."""

USAGE_RETENTION_MS = 100 * DAY_MS
"""Three months of days to be read by whoever accounts for them; a worker needs the present day."""

STREAM_SEGMENT_MS = DAY_MS // 12
"""At most a tenth of what is kept, because only whole segments of a log are deleted."""

READY_TIMEOUT_S = 20.0
READY_INTERVAL_S = 0.1
RECORD_OVERHEAD_BYTES = 64 * 1024
"""Room for the fields of a batch and a record, and for headers, beside the longest value."""

COMPRESSION = "compression.type"
COMPRESSIONS = ("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")
"""The values of `compression.type` that a worker can read; each codec is tested on a real broker."""


SEGMENT_AGE = "segment.ms"
TIMESTAMPS = "message.timestamp.type"
APPEND_TIME = "LogAppendTime"
"""Doors forget answers by their time, and look for those of the last minutes by it: no producer may choose it. Streams
are read from the time at which their event was written."""


class Cleanup(StrEnum):
    """A topic's `cleanup.policy`."""

    DELETE = "delete"
    COMPACT = "compact"
    COMPACT_DELETE = "compact,delete"


class TopicSpec(Struct, frozen=True, kw_only=True):
    """One topic as it should be. `retention_ms` -1 keeps for ever; a compacted topic keeps the last of each key."""

    name: str
    partitions: int
    replication_factor: int
    min_insync_replicas: int
    retention_ms: int
    message_bytes_max: int
    cleanup: Cleanup = Cleanup.DELETE
    writers: tuple[str, ...] = ("worker",)
    readers: tuple[str, ...] = ()
    is_append_time: bool = False
    """Whether the brokers' own time counts for its records, whatever their producer says."""
    must_append_time: bool = False
    """Whether a guarantee depends on that, as streaming does."""
    segment_ms: int | None = None
    """How long the log goes on in one segment; None: as the brokers say."""
    partitions_of: str = ""
    """Another topic whose partition count it must have, because both are keyed alike and read together."""

    def configs(self) -> dict[str, str]:
        """Return the topic's configuration in the broker's terms."""
        appended = {TIMESTAMPS: APPEND_TIME} if self.is_append_time else {}
        return {
            "cleanup.policy": self.cleanup.value,
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.message_bytes_max),
            "min.insync.replicas": str(self.min_insync_replicas),
            **appended,
            **({} if self.segment_ms is None else {SEGMENT_AGE: str(self.segment_ms)}),
        }


class Difference(Struct, frozen=True, kw_only=True):
    """A setting of an existing topic that differs from the table. `is_serious` if a guarantee depends on it."""

    topic: str
    setting: str
    expected: str
    found: str
    is_serious: bool = False

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}"


class TopicsReport(Struct, frozen=True, kw_only=True):
    """The differences that were found, and the topics that were created or altered."""

    created: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def is_fit(self) -> bool:
        """Return whether a worker may run on these topics: no difference is serious."""
        return not any(difference.is_serious for difference in self.differences)


class Existing(Struct, frozen=True, kw_only=True):
    """A topic as the broker has it."""

    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


def topic_table(topics: TopicSettings, *, is_streaming: bool = False) -> tuple[TopicSpec, ...]:
    """Return the specification of every topic, the input first; `is_streaming` says whether answers are streamed."""
    common = TopicSpec(
        name="",
        partitions=topics.partitions,
        replication_factor=topics.replication_factor,
        min_insync_replicas=topics.min_insync_replicas,
        retention_ms=7 * DAY_MS,
        message_bytes_max=REQUEST_BYTES_MAX + RECORD_OVERHEAD_BYTES,
    )
    short_lived = _short_lived(topics, common, is_streaming=is_streaming)
    return (*_conversations(topics, common, is_streaming=is_streaming), *short_lived, *_own(topics, common))


def _conversations(topics: TopicSettings, common: TopicSpec, *, is_streaming: bool) -> tuple[TopicSpec, ...]:
    """Return the topics between chat services and workers."""
    return (
        replace(
            common,
            name=topics.events,
            message_bytes_max=topics.input_message_bytes_max,
            is_append_time=True,
            must_append_time=is_streaming,
            writers=("chat service", "door"),
            readers=("worker",),
        ),
        replace(
            common,
            name=topics.audited,
            is_append_time=True,
            must_append_time=is_streaming,
            readers=("chat service", "door"),
        ),
    )


def _own(topics: TopicSettings, common: TopicSpec) -> tuple[TopicSpec, ...]:
    """Return the topics of the platform itself."""
    kept_by_key = replace(common, cleanup=Cleanup.COMPACT_DELETE, partitions_of=topics.events)
    return (
        replace(common, name=topics.audit, retention_ms=FOREVER_MS, readers=("auditor",)),
        replace(common, name=topics.review, retention_ms=30 * DAY_MS, readers=("reviewer",)),
        replace(kept_by_key, name=topics.state, retention_ms=STATE_RETENTION_MS, readers=("worker",)),
        replace(kept_by_key, name=topics.usage, retention_ms=USAGE_RETENTION_MS, readers=("worker", "operator")),
        replace(common, name=topics.canary, retention_ms=DAY_MS, readers=("operator",)),
        replace(
            common,
            name=topics.policy,
            partitions=1,
            retention_ms=FOREVER_MS,
            cleanup=Cleanup.COMPACT,
            writers=("policy publisher",),
            readers=("worker",),
        ),
        # Dead letters are original bytes, never redacted: kept for a week, and only operators may read them.
        replace(common, name=topics.dead_letters, readers=("operator",)),
    )


def _short_lived(topics: TopicSettings, common: TopicSpec, *, is_streaming: bool) -> tuple[TopicSpec, ...]:
    """Return the topics of what nobody reads once its event has ended."""
    return (
        replace(
            common,
            name=topics.stream,
            retention_ms=DAY_MS,
            segment_ms=STREAM_SEGMENT_MS,
            is_append_time=True,
            must_append_time=is_streaming,
            readers=("worker", "chat service", "door"),
            partitions_of=topics.events,
        ),
        replace(
            common,
            name=topics.cancel,
            retention_ms=CANCEL_RETENTION_MS,
            segment_ms=CANCEL_RETENTION_MS // SEGMENTS_PER_RETENTION,
            is_append_time=True,
            partitions_of=topics.events,
            writers=("door",),
            readers=("worker",),
        ),
    )


def create_topics(
    kafka: KafkaSettings, topics: TopicSettings, say: Callable[[str], object] = lambda _: None, *, alter: bool = False
) -> TopicsReport:
    """Create missing topics, compare existing ones, and with `alter` set differing configurations.

    Raises KafkaUnavailable and KafkaRefused. The mock broker creates its topics itself and cannot be asked about them.
    """
    if kafka.api_version is not None:
        say("nothing to do: kafka.api_version is set, as for the mock broker, which creates its topics itself")
        return TopicsReport()
    table = topic_table(topics)
    options = admin_options(kafka)
    client: Any = connect("admin", lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
    try:
        with translated("topics"):
            return _apply(client, table, say, alter)
    finally:
        client.close()


def create_as_input(
    kafka: KafkaSettings, topics: TopicSettings, name: str, partitions: int, say: Callable[[str], object]
) -> None:
    """Create a topic that is configured as the input's settings say, unless it is there. Raises as `create_topics`."""
    spec = next(spec for spec in topic_table(topics) if spec.name == topics.events)
    wanted = replace(spec, name=name, partitions=partitions)
    options = admin_options(kafka)
    client: Any = connect("admin", lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
    try:
        with translated("topics"):
            _apply(client, (wanted,), say, False)
    finally:
        client.close()


def delete_topics(kafka: KafkaSettings, topics: TopicSettings) -> None:
    """Delete these topics, those that exist, and the group of `kafka`. Raises KafkaUnavailable and KafkaRefused."""
    options = admin_options(kafka)
    client: Any = connect("admin", lambda: KafkaAdminClient(**options), kafka.connect_timeout_s)
    try:
        with translated("delete topics"):
            there = set(client.list_topics())
            client.delete_topics([spec.name for spec in topic_table(topics) if spec.name in there])
            with suppress(CoordinatorNotAvailableError):  # on brokers where nobody was in any group yet
                client.delete_groups([kafka.group_id])
    finally:
        client.close()


def compare(table: Sequence[TopicSpec], existing: Mapping[str, Existing]) -> tuple[Difference, ...]:
    """Return the differences between existing topics and the table; a missing topic counts as none.

    Serious differences: a partition count that must match another topic's and does not, a wrong cleanup policy, a
    `max.message.bytes` that is too small, fewer in-sync replicas than asked for, a codec that nobody here can read, and
    producers' times where streaming needs the brokers'.
    """
    found: list[Difference] = []
    for spec in table:
        if (topic := existing.get(spec.name)) is None:
            continue
        if topic.partitions != (expected := _partitions(spec, existing)):
            found.append(_difference(spec, "partitions", expected, topic.partitions, bool(spec.partitions_of)))
        if topic.replication_factor != spec.replication_factor:
            found.append(
                _difference(spec, "replication.factor", spec.replication_factor, topic.replication_factor, False)
            )
        found.extend(_config_differences(spec, topic))
    return tuple(found)


def _partitions(spec: TopicSpec, existing: Mapping[str, Existing]) -> int:
    followed = existing.get(spec.partitions_of)
    return spec.partitions if followed is None else followed.partitions


def _config_differences(spec: TopicSpec, topic: Existing) -> list[Difference]:
    found: list[Difference] = []
    for setting, expected in spec.configs().items():
        actual = topic.configs.get(setting, "")
        if actual == expected:
            continue
        too_small = setting in {"max.message.bytes", "min.insync.replicas"} and int(actual or 0) < int(expected)
        is_serious = too_small or setting == "cleanup.policy" or (setting == TIMESTAMPS and spec.must_append_time)
        found.append(_difference(spec, setting, expected, actual, is_serious))
    if (codec := topic.configs.get(COMPRESSION, COMPRESSIONS[0])) not in COMPRESSIONS:
        found.append(_difference(spec, COMPRESSION, " or ".join(COMPRESSIONS), codec, True))
    return found


def _apply(client: Any, table: Sequence[TopicSpec], say: Callable[[str], object], alter: bool) -> TopicsReport:
    names = set(client.list_topics())
    existing = _existing(client, [spec.name for spec in table if spec.name in names])
    missing = [spec for spec in table if spec.name not in names]
    created = tuple(spec.name for spec in missing if _create(client, spec, _partitions(spec, existing), say))
    _wait_until_led(client, table, existing)
    differences = compare(table, existing)
    altered = _alter(client, table, differences, say) if alter else ()
    left = tuple(d for d in differences if d.topic not in altered or d.setting not in _settable(table))
    for difference in left:
        say(f"{'wrong' if difference.is_serious else 'note'}: {difference}")
    return TopicsReport(created=created, altered=altered, differences=left)


def _create(client: Any, spec: TopicSpec, partitions: int, say: Callable[[str], object]) -> bool:
    """Create a topic; return False if another process has created it meanwhile."""
    new = NewTopic(spec.name, partitions, spec.replication_factor, topic_configs=spec.configs())
    try:
        client.create_topics([new])
    except TopicAlreadyExistsError:
        return False
    say(f"created {spec.name}, partitions: {partitions}")
    return True


def _wait_until_led(client: Any, table: Sequence[TopicSpec], existing: Mapping[str, Existing]) -> None:
    """Wait until every partition that was created has a leader. Raises KafkaUnavailable after READY_TIMEOUT_S."""
    awaited = {spec.name: _partitions(spec, existing) for spec in table if spec.name not in existing}
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while awaited:
        for topic in client.describe_topics(list(awaited)):
            led = sum(1 for partition in topic["partitions"] if partition["leader_id"] >= 0)
            if led >= awaited[topic["name"]]:
                del awaited[topic["name"]]
        if awaited and time.monotonic() >= deadline_s:
            raise KafkaUnavailable(f"leaders of {sorted(awaited)}", f"none within {READY_TIMEOUT_S:.0f} s")
        time.sleep(READY_INTERVAL_S if awaited else 0)


def _existing(client: Any, names: Sequence[str]) -> dict[str, Existing]:
    if not names:
        return {}
    described = {topic["name"]: topic["partitions"] for topic in client.describe_topics(list(names))}
    # A topic that was just created may be listed before it has a leader.
    names = [name for name in names if described.get(name)]
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs = client.describe_configs(resources, config_filter="all")
    return {
        name: Existing(
            partitions=len(described[name]),
            replication_factor=len(described[name][0]["replica_nodes"]),
            configs=_values(configs, name),
        )
        for name in names
    }


def _values(configs: Any, name: str) -> dict[str, str]:
    return {key: entry["value"] for key, entry in configs["topic"][name].items()}


def _alter(
    client: Any, table: Sequence[TopicSpec], differences: Sequence[Difference], say: Callable[[str], object]
) -> tuple[str, ...]:
    """Set differing configurations and return the names of these topics."""
    settable = _settable(table)
    names = tuple(dict.fromkeys(d.topic for d in differences if d.setting in settable))
    for spec in (spec for spec in table if spec.name in names):
        answer = client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, spec.name, configs=spec.configs())])
        if (result := str(answer["topic"][spec.name])) != "OK":
            raise KafkaRefused("alter topics", spec.name, result[:DETAIL_CHARACTERS_MAX])
        say(f"altered {spec.name}")
    return names


def _settable(table: Sequence[TopicSpec]) -> frozenset[str]:
    return frozenset(setting for spec in table for setting in spec.configs())


def _difference(spec: TopicSpec, setting: str, expected: object, found: object, is_serious: bool) -> Difference:
    return Difference(topic=spec.name, setting=setting, expected=str(expected), found=str(found), is_serious=is_serious)
