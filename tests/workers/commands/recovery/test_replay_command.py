"""`sluicegate replay`: copies a range of the input once, or moves a group that nobody is in."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.plugins.dead_letter_desk import Desk, header_of
from tests.plugins.kafka_broker import Kafka, read
from topology.contract.events import Position
from topology.contract.lineage import origin_headers, origin_of
from workers.commands.console.progress import Pace
from workers.commands.recovery.replaying import Replay, resolved, transactional_id
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.reader import RangeReader
from workers.kafka.source import KafkaSource

pytestmark = pytest.mark.kafka

NO_WAIT = Pace(None, lambda _: None)


@pytest.fixture
def desk(kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """Twelve events on partition 0 of the input, three on partition 1."""
    desk = Desk(kafka, tmp_path, capsys)
    kafka.send(desk.topics["events"], *(b"%d" % number for number in range(12)), key=b"a", partition=0)
    kafka.send(desk.topics["events"], b"x", b"y", b"z", key=b"b", partition=1)
    return desk


@pytest.fixture
def into(kafka: Kafka) -> str:
    return kafka.topic(2)


def values(desk: Desk, topic: str, partition: int = 0) -> list[bytes | None]:
    return [record.value for record in desk.put_back(topic) if record.partition == partition]


def test_a_copy_keeps_everything_and_names_its_position(desk: Desk, into: str) -> None:
    first = Position(topic="elsewhere", partition=3, offset=5, timestamp_ms=17)
    desk.kafka.send_record(desk.topics["events"], None, b"b", [("own", b"1"), *origin_headers(first)])
    assert desk.run("replay", "--from", "1h", "--into", into)[0] == 0
    copies = desk.put_back(into)
    originals = desk.put_back()
    assert [(c.partition, c.key, c.value, c.timestamp_ms) for c in copies] == [
        (o.partition, o.key, o.value, o.timestamp_ms) for o in originals
    ]
    topic = desk.topics["events"]
    assert header_of(copies, "x-replayed-from") == [f"{topic}:{o.partition}:{o.offset}" for o in originals]
    assert [origin_of(c.headers) for c in copies if header_of([c], "own") == ["1"]] == [first]
    told = origin_of(copies[0].headers)
    assert told is not None
    assert (told.topic, told.partition, told.offset) == (topic, 0, 0)


def test_a_range_is_named_by_positions_and_partitions(desk: Desk, into: str) -> None:
    assert desk.run("replay", "--from", "0:2,1:1", "--to", "0:4,1:3", "--partitions", "0", "--into", into)[0] == 0
    assert values(desk, into) == [b"2", b"3"]
    assert values(desk, into, 1) == []


def test_the_same_range_is_copied_once_unless_asked_for_again(desk: Desk, into: str) -> None:
    wanted = ("replay", "--from", "0:0", "--to", "0:3", "--into", into)
    assert desk.run(*wanted)[0] == 0
    status, out, _ = desk.run(*wanted)
    assert (status, out.splitlines()[-1]) == (0, "all of it was replayed before; --again replays it once more")
    assert values(desk, into) == [b"0", b"1", b"2"]
    assert desk.run(*wanted, "--again")[0] == 0
    assert len(values(desk, into)) == 6
    assert desk.run("replay", "--from", "0:3", "--to", "0:5", "--into", into)[0] == 0
    assert len(values(desk, into)) == 8


def stopped_after_one_transaction(desk: Desk, into: str) -> None:
    """Leave a replay of 0:0 to 0:12 into a topic when five records are copied."""
    kafka, topic = desk.settings, desk.topics["events"]
    with RangeReader(kafka, topic) as reader, CopyWriter(kafka, transactional_id(kafka, into)) as writer:
        wanted = resolved(reader, {0: 0}, {0: 12}, frozenset())
        assert next(Replay(kafka, reader, wanted, into, 2).write(writer, NO_WAIT, 5)) == 5


def test_a_replay_that_stopped_goes_on_where_it_stopped(desk: Desk, into: str) -> None:
    stopped_after_one_transaction(desk, into)
    assert len(values(desk, into)) == 5
    status, out, _ = desk.run("replay", "--from", "0:0", "--to", "0:12", "--into", into)
    assert status == 0
    assert "partition 0: 0 to 11, 12 at most, done up to 5" in out
    assert values(desk, into) == [b"%d" % number for number in range(12)]


def test_another_range_waits_for_one_that_is_not_finished(desk: Desk, into: str) -> None:
    stopped_after_one_transaction(desk, into)
    status, _, err = desk.run("replay", "--from", "1:0", "--to", "1:3", "--into", into)
    assert status == 2
    assert f"`--from 0:0 --to 0:12 --into {into}` finishes it, --again drops it" in err
    assert desk.run("replay", "--from", "1:0", "--to", "1:3", "--into", into, "--again")[0] == 0
    assert desk.run("replay", "--from", "1:0", "--to", "1:3", "--into", into)[0] == 0
    assert values(desk, into, 1) == [b"x", b"y", b"z"]


def test_a_dry_run_counts_and_writes_nothing(desk: Desk, into: str) -> None:
    status, out, _ = desk.run("replay", "--from", "1h", "--into", into, "--dry-run")
    assert (status, out.splitlines()) == (
        0,
        [
            f"from {desk.topics['events']} to {into}: 15 records at most",
            "  partition 0: 0 to 11, 12 at most",
            "  partition 1: 0 to 2, 3 at most",
            "nothing was written",
        ],
    )
    assert desk.put_back(into) == []


def test_the_target_is_created_as_the_input_is_where_that_is_asked(desk: Desk, into: str) -> None:
    fresh = f"{into}.again"
    wanted = ("replay", "--from", "0:0", "--to", "0:3", "--into", fresh, "--create")
    status, out, _ = desk.run(*wanted, "--dry-run")
    assert (status, out.splitlines()[-1]) == (0, "nothing was written")
    status, out, err = desk.run(*wanted)
    assert status == 0, err
    assert f"created {fresh}, partitions: 2" in out
    assert len(values(desk, fresh)) == 3
    assert desk.run(*wanted)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--from", "soon", "--into", "t"), "--from: 'soon' is neither an ISO 8601 time"),
        (("--from", "0:1,0:2", "--into", "t"), "--from: '0:1,0:2' is not PARTITION:OFFSET"),
        (("--from", "1h", "--to", "2h", "--into", "t"), "--to 2h: not after --from 1h"),
        (("--from", "1h", "--into", "t", "--partitions", "a"), "--partitions a: numbers with commas"),
        (("--from", "1h", "--into", "nowhere"), "--into nowhere: no such topic"),
        (("--from", "1h", "--group", "g", "--to", "1m"), "--to: only with --into"),
        (("--from", "1h", "--into", "t", "--group", "g"), "argument --group: not allowed with argument --into"),
        (("--into", "t"), "the following arguments are required: --from"),
    ],
    ids=" ".join,
)
def test_wrong_use_names_option_value_and_what_is_allowed(desk: Desk, arguments: Sequence[str], named: str) -> None:
    status, out, err = desk.run("replay", *arguments)
    assert (status, out) == (2, "")
    assert named in err


def test_what_the_topic_does_not_hold_is_refused(desk: Desk, into: str) -> None:
    for arguments, named in (
        (("--from", "5:0"), "--from 5:0: the topic has partitions 0,1"),
        (("--from", "0:99"), "--from 0:99: partition 0 ends at 0:12"),
        (("--from", "0:5", "--to", "0:4"), "--to 0:4: before --from, 0:5"),
        (("--from", "1h", "--partitions", "0,7"), "--partitions 7: "),
    ):
        status, _, err = desk.run("replay", *arguments, "--into", into)
        assert status == 2
        assert named in err


def test_the_input_takes_copies_only_by_name_and_workers_topics_never(desk: Desk) -> None:
    events = desk.topics["events"]
    status, _, err = desk.run("replay", "--from", "0:0", "--to", "0:2", "--into", events)
    assert status == 2
    assert "--into-input does it" in err
    assert desk.run("replay", "--from", "0:0", "--to", "0:2", "--into", events, "--into-input")[0] == 0
    assert len(values(desk, events)) == 14
    assert desk.run("replay", "--from", "1h", "--into", desk.topics["audit"])[0] == 2


def test_a_group_reads_on_from_where_it_was_set(desk: Desk) -> None:
    own = desk.kafka.settings()
    status, out, _ = desk.run("replay", "--from", "0:10,1:3", "--group", own.group_id)
    assert status == 0
    assert f"SLUICEGATE_KAFKA__GROUP_ID={own.group_id} sluicegate run" in out
    source = KafkaSource(own, desk.topics["events"], 0)
    try:
        assert sorted(record.value or b"" for record in read(source, 2)) == [b"10", b"11"]
        status, _, err = desk.run("replay", "--from", "0:0", "--group", own.group_id)
        assert status == 1
        assert f"group {own.group_id} has 1 active members" in err
    finally:
        source.close()


def test_a_partition_that_is_not_set_is_told(desk: Desk) -> None:
    status, out, _ = desk.run("replay", "--from", "0:10", "--group", "fresh-group", "--dry-run")
    assert status == 0
    assert "has no offset for 1 and starts there at the earliest" in out
    assert out.splitlines()[-1] == "nothing was changed"


def test_the_workers_own_group_is_moved_only_by_force(desk: Desk) -> None:
    own = desk.settings.group_id
    status, _, err = desk.run("replay", "--from", "1h", "--group", own)
    assert status == 2
    assert "--force does it" in err
    assert desk.run("replay", "--from", "0:7", "--group", own, "--force")[0] == 0
    assert desk.kafka.committed(desk.settings, desk.topics["events"]) == 7


def test_a_topic_with_other_partitions_gets_copies_by_their_key(desk: Desk, kafka: Kafka) -> None:
    wide = kafka.topic(5)
    assert desk.run("replay", "--from", "1h", "--into", wide)[0] == 0
    by_key = {record.key: record.partition for record in desk.put_back(wide)}
    for key, partition in by_key.items():
        assert {record.partition for record in desk.put_back(wide) if record.key == key} == {partition}
    assert len(desk.put_back(wide)) == 15
