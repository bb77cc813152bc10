"""The topic table, and what `create_topics` does about topics that are there, missing or different."""

import uuid

import msgspec
import pytest

from tests.plugins.kafka_broker import Kafka
from tests.plugins.patience import wait_until
from tests.plugins.topic_fields import TOPIC_FIELDS
from workers.kafka.topics import COMPRESSIONS, Cleanup, Existing, TopicSpec, compare, create_topics, topic_table
from workers.settings import StateSettings, TopicSettings

WEEK_MS = 7 * 24 * 3600 * 1000
TABLE = topic_table(TopicSettings())


def _named(name: str) -> TopicSpec:
    return next(spec for spec in TABLE if spec.name == name)


def _as_wanted(spec: TopicSpec) -> Existing:
    return Existing(
        partitions=spec.partitions, replication_factor=spec.replication_factor, configs=dict(spec.configs())
    )


def _fresh() -> TopicSettings:
    prefix = uuid.uuid4().hex[:6]
    names = {field: f"{prefix}.{getattr(TopicSettings(), field)}" for field in TOPIC_FIELDS}
    return msgspec.structs.replace(TopicSettings(), partitions=2, **names)


def test_dead_letters_go_after_a_week_and_only_operators_read_them() -> None:
    dead_letters = _named("sluicegate.dlq")
    assert dead_letters.retention_ms == WEEK_MS
    assert dead_letters.readers == ("operator",)


def test_what_is_looked_up_by_key_is_compacted() -> None:
    assert _named("sluicegate.policy").cleanup is Cleanup.COMPACT


def test_the_state_of_a_conversation_is_compacted_and_goes_later_than_it_is_remembered() -> None:
    state = _named("sluicegate.state")
    assert state.cleanup is Cleanup.COMPACT_DELETE
    assert state.retention_ms > 30 * 24 * 3600 * 1000
    with pytest.raises(msgspec.ValidationError, match="ttl_s"):
        msgspec.convert({"ttl_s": 30 * 24 * 3600 + 1}, StateSettings)


def test_the_brokers_time_counts_for_events_and_answers() -> None:
    named = {spec.name for spec in TABLE if spec.configs().get("message.timestamp.type") == "LogAppendTime"}
    assert named == {"conversations.events", "conversations.audited", "conversations.stream", "sluicegate.cancel"}


def test_audit_records_are_kept() -> None:
    assert _named("sluicegate.audit").retention_ms == -1


def test_state_has_as_many_partitions_as_the_input() -> None:
    table = {spec.name: spec for spec in topic_table(msgspec.structs.replace(TopicSettings(), partitions=11))}
    assert table["sluicegate.state"].partitions == table["conversations.events"].partitions == 11


def test_topics_as_the_table_says_do_not_differ() -> None:
    assert compare(TABLE, {spec.name: _as_wanted(spec) for spec in TABLE}) == ()


@pytest.mark.parametrize(
    ("name", "change", "is_serious"),
    [
        ("conversations.audited", {"partitions": 9}, False),
        ("sluicegate.state", {"partitions": 9}, True),
        ("conversations.stream", {"partitions": 9}, True),
        ("sluicegate.audit", {"replication_factor": 3}, False),
        ("conversations.audited", {"configs": {"message.timestamp.type": "CreateTime"}}, False),
        ("sluicegate.audit", {"configs": {"cleanup.policy": "compact"}}, True),
        ("sluicegate.audit", {"configs": {"retention.ms": "5"}}, False),
        ("sluicegate.audit", {"configs": {"max.message.bytes": "5"}}, True),
        ("sluicegate.audit", {"configs": {"max.message.bytes": "999999999"}}, False),
        ("sluicegate.audit", {"configs": {"min.insync.replicas": "2"}}, False),
        ("sluicegate.audit", {"configs": {"compression.type": "brotli"}}, True),
    ],
)
def test_a_difference_is_serious_where_a_guarantee_depends_on_it(
    name: str, change: dict[str, object], is_serious: bool
) -> None:
    spec = _named(name)
    wanted = _as_wanted(spec)
    configs = change.get("configs")
    changed = {**change, "configs": {**wanted.configs, **configs}} if isinstance(configs, dict) else change
    existing = {"conversations.events": _as_wanted(TABLE[0]), name: msgspec.structs.replace(wanted, **changed)}
    (difference,) = compare((TABLE[0], spec), existing)
    assert difference.topic == name
    assert difference.is_serious is is_serious


@pytest.mark.parametrize("name", ["conversations.events", "conversations.audited", "conversations.stream"])
def test_streaming_needs_the_brokers_time(name: str) -> None:
    (spec,) = (spec for spec in topic_table(TopicSettings(), is_streaming=True) if spec.name == name)
    wanted = _as_wanted(spec)
    existing = msgspec.structs.replace(wanted, configs={**wanted.configs, "message.timestamp.type": "CreateTime"})
    (difference,) = compare((spec,), {name: existing})
    assert difference.is_serious


def test_a_stream_is_kept_for_a_day_in_segments_of_a_tenth_of_it_and_has_the_inputs_partitions() -> None:
    table = {spec.name: spec for spec in topic_table(msgspec.structs.replace(TopicSettings(), partitions=11))}
    stream = table["conversations.stream"]
    assert (stream.partitions, stream.partitions_of) == (11, "conversations.events")
    configs = {name: stream.configs()[name] for name in ("cleanup.policy", "retention.ms", "segment.ms")}
    assert configs == {"cleanup.policy": "delete", "retention.ms": str(WEEK_MS // 7), "segment.ms": "7200000"}
    assert int(configs["segment.ms"]) * 10 <= int(configs["retention.ms"])


@pytest.mark.parametrize("codec", COMPRESSIONS)
def test_every_codec_of_a_topic_that_a_worker_can_read_is_as_good_as_another(codec: str) -> None:
    wanted = _as_wanted(TABLE[0])
    topic = msgspec.structs.replace(wanted, configs={**wanted.configs, "compression.type": codec})
    assert compare(TABLE[:1], {TABLE[0].name: topic}) == ()


def test_state_follows_the_inputs_real_partition_count() -> None:
    events = msgspec.structs.replace(_as_wanted(TABLE[0]), partitions=12)
    state = _named("sluicegate.state")
    (only_input,) = compare((TABLE[0], state), {TABLE[0].name: events, state.name: _follow(state, 12)})
    assert (only_input.topic, only_input.is_serious) == ("conversations.events", False)


def _follow(spec: TopicSpec, partitions: int) -> Existing:
    return msgspec.structs.replace(_as_wanted(spec), partitions=partitions)


@pytest.mark.kafka
def test_creating_twice_creates_once(kafka: Kafka) -> None:
    topics = _fresh()
    first = create_topics(kafka.settings(), topics)
    assert len(first.created) == len(TABLE)
    assert create_topics(kafka.settings(), topics).created == ()
    assert create_topics(kafka.settings(), topics).differences == ()


@pytest.mark.kafka
def test_differences_are_reported_and_changed_only_on_request(kafka: Kafka) -> None:
    topics = _fresh()
    create_topics(kafka.settings(), topics)
    wanted = msgspec.structs.replace(topics, input_message_bytes_max=3_000_000, partitions=3)
    said: list[str] = []
    report = create_topics(kafka.settings(), wanted, said.append)
    assert not report.is_fit
    assert any("max.message.bytes is 2097152, expected 3000000" in line for line in said)
    assert create_topics(kafka.settings(), wanted, alter=True).altered == (topics.events,)
    wait_until(lambda: create_topics(kafka.settings(), wanted).is_fit)
    left = create_topics(kafka.settings(), wanted).differences
    assert {difference.setting for difference in left} == {"partitions"}, "partition counts are never changed"


@pytest.mark.kafka
def test_state_is_created_like_an_input_that_is_there(kafka: Kafka) -> None:
    topics = msgspec.structs.replace(_fresh(), events=kafka.topic(5))
    create_topics(kafka.settings(), topics)
    report = create_topics(kafka.settings(), topics)
    assert topics.state not in {difference.topic for difference in report.differences}
    kafka.send(topics.state, b"x", key=b"key", partition=4)
