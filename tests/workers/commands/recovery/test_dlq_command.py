"""`sluicegate dlq`: shows letters without a word of any user, and puts each back once."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.test_commands import event
from tests.plugins.dead_letter_desk import FAILED, SECRET, Desk, header_of
from tests.plugins.kafka_broker import Kafka
from topology.contract.codec import RecordLimits
from topology.contract.errors import DeadLetter, DeadLetterReason
from topology.contract.lineage import origin_of
from workers.commands.console.progress import Pace
from workers.commands.recovery import redriving
from workers.commands.recovery.redriving import spans_of
from workers.commands.recovery.writer import CopyWriter
from workers.kafka.errors import SlotFenced
from workers.kafka.reader import RangeReader

pytestmark = pytest.mark.kafka

TOO_LARGE = DeadLetter(DeadLetterReason.TOO_LARGE, "decode", "")
RESULT_TOO_LARGE = DeadLetter(DeadLetterReason.RESULT_TOO_LARGE, "publishing", "")


@pytest.fixture
def desk(kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(kafka, tmp_path, capsys)


def rows(out: str) -> list[list[str]]:
    """The table's rows, heading and totals left out."""
    return [line.split() for line in out.splitlines()[1:-1]]


def test_a_list_has_a_row_for_each_letter_and_totals(desk: Desk) -> None:
    desk.bury(b"{", event(1).encode())
    desk.bury(event(2).encode(), error=FAILED)
    status, out, err = desk.run("dlq", "list")
    assert (status, err) == (0, "")
    first, second, third = rows(out)
    assert first[2:5] == ["malformed", "decode", f"{desk.topics['events']}:1:0"]
    assert [row[7] for row in (first, second, third)] == ["malformed", "yes", "yes"]
    assert third[2:4] == ["processing_failed", "deadline"]
    assert out.splitlines()[-1] == "letters: 3; malformed 2, processing_failed 1"


def test_filters_choose_and_a_limit_keeps_the_newest(desk: Desk) -> None:
    desk.bury(b"1", b"2", b"3")
    desk.bury(b"4", error=FAILED)
    assert desk.run("dlq", "list", "--reason", "processing_failed")[1].splitlines()[-1].endswith("processing_failed 1")
    assert desk.run("dlq", "list", "--since", "1h")[1].splitlines()[-1].startswith("letters: 4")
    assert desk.run("dlq", "list", "--until", "1h")[1] == "letters: 0\n"
    assert desk.run("dlq", "list", "--since", "2000-01-01", "--until", "2001-01-01T00:00Z")[1] == "letters: 0\n"
    out = desk.run("dlq", "list", "--limit", "1")[1]
    assert [row[2] for row in rows(out)] == ["processing_failed"]
    assert out.endswith("; the newest 1 are shown\n")


def test_json_is_one_object(desk: Desk) -> None:
    desk.bury(b"{", b"[")
    found = json.loads(desk.run("dlq", "list", "--json")[1])
    assert (found["total"], found["by_reason"]) == (2, {"malformed": 2})
    assert found["letters"][0]["origin"]["offset"] == 0
    assert [letter["redriven"] for letter in found["letters"]] == [False, False]


def bury_secrets(desk: Desk) -> None:
    """Letters with the words of a user wherever a chat service can put them."""
    words = SECRET.encode()
    headers = (
        ("x-note", words),
        (SECRET, b"1"),
        ("x-reason", words),
        ("x-stage", words),
        ("x-source-topic", words),
        ("x-original-topic", words),
        ("x-original-partition", b"0"),
        ("x-original-offset", b"0"),
        ("x-original-timestamp", b"0"),
        ("x-redriven", b"1"),
        ("x-redriven-from", words + b":0:0"),
        ("content-type", words),
    )
    desk.bury(words, b'{"event_id":"%s"}' % words, key=words, headers=headers)
    desk.bury(words, error=FAILED, key=words)
    desk.kafka.send_record(desk.topics["dead_letters"], words, words, [("x-reason", words), ("x-stage", words)])


def test_no_list_holds_a_word_of_a_user(desk: Desk) -> None:
    bury_secrets(desk)
    for arguments in (("list",), ("list", "--json"), ("redrive",), ("redrive", "--yes", "--again", "--answered-too")):
        status, out, err = desk.run("dlq", *arguments)
        assert status == 0
        assert out
        assert SECRET not in out + err


def test_a_letter_shows_lengths_and_digests_and_its_value_on_request_alone(desk: Desk, tmp_path: Path) -> None:
    words = SECRET.encode()
    desk.bury(words, key=words, headers=(("x-note", words), ("content-type", b"text/plain")))
    (at,) = desk.positions()
    status, out, err = desk.run("dlq", "show", at)
    assert (status, err) == (0, "")
    assert SECRET not in out
    assert "x-note: 34 bytes, not shown" in out
    assert "content-type: text/plain" in out
    status, out, _ = desk.run("dlq", "show", at, "--value", "--output", str(tmp_path / "value"))
    assert (status, SECRET in out) == (0, False)
    assert (tmp_path / "value").read_bytes() == words
    assert (tmp_path / "value").stat().st_mode & 0o777 == 0o600
    assert desk.run("dlq", "show", at, "--value", "--output", str(tmp_path / "value"))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("list", "--since", "soon"), "--since: 'soon' is not an ISO 8601 time"),
        (("list", "--since", "1h", "--until", "2h"), "--until 2h: not after --since 1h"),
        (("show", "0-1"), "PARTITION:OFFSET: '0-1' is not PARTITION:OFFSET"),
        (("show", "0:1", "--output", "f"), "--output f: is the file for --value"),
        (("redrive", "--to", "nowhere"), "--to nowhere: no such topic"),
        (("list", "--reason", "none"), "argument --reason: invalid choice: 'none'"),
        (("redrive", "--rate", "0"), "argument --rate: '0' is not a number per second"),
    ],
    ids=" ".join,
)
def test_wrong_use_names_option_value_and_what_is_allowed(desk: Desk, arguments: Sequence[str], named: str) -> None:
    status, out, err = desk.run("dlq", *arguments)
    assert (status, out) == (2, "")
    assert named in err


def test_a_letter_that_is_not_there_is_an_error(desk: Desk) -> None:
    assert desk.run("dlq", "show", "0:0")[0] == 1
    desk.bury(b"{")
    status, _, err = desk.run("dlq", "show", "0:99999")
    assert status == 1
    assert f"{desk.topics['dead_letters']} holds" in err


def test_workers_topics_are_no_target(desk: Desk) -> None:
    status, _, err = desk.run("dlq", "redrive", "--to", desk.topics["audited"], "--yes")
    assert status == 2
    assert "not one of the topics that workers write" in err


def test_nothing_is_written_without_yes(desk: Desk) -> None:
    desk.bury(b"{", event(1).encode())
    status, out, _ = desk.run("dlq", "redrive")
    assert status == 0
    assert "to put back: 2 (malformed 2)" in out
    assert "dead letters again as things are: 1 (malformed 1)" in out
    assert desk.put_back() == []


def test_the_original_goes_back_where_it_was_read_with_its_first_position(desk: Desk) -> None:
    desk.bury(b"\xff{", key=b"\x00k", headers=(("own", b"1"), ("traceparent", b"t")))
    assert desk.run("dlq", "redrive", "--yes")[0] == 0
    (record,) = desk.put_back()
    (at,) = desk.positions()
    assert (record.partition, record.key, record.value) == (1, b"\x00k", b"\xff{")
    assert dict(record.headers) == {
        "own": b"1",
        "traceparent": b"t",
        "x-original-topic": desk.topics["events"].encode(),
        "x-original-partition": b"1",
        "x-original-offset": b"0",
        "x-original-timestamp": b"1700000000000",
        "x-redriven": b"1",
        "x-redriven-from": f"{desk.topics['dead_letters']}:{at}".encode(),
    }


def test_a_null_goes_back_as_a_null(desk: Desk) -> None:
    desk.bury(None, b"")
    assert desk.run("dlq", "redrive", "--yes")[0] == 0
    assert [record.value for record in desk.put_back()] == [None, b""]


def test_a_letter_goes_back_once_unless_asked_for_again(desk: Desk) -> None:
    desk.bury(*(b"%d" % number for number in range(12)))
    assert "put back on" in desk.run("dlq", "redrive", "--yes")[1]
    assert "left out: 12 redriven" in desk.run("dlq", "redrive", "--yes")[1]
    assert {row[8] for row in rows(desk.run("dlq", "list")[1])} == {"yes"}
    assert len(desk.put_back()) == 12
    desk.run("dlq", "redrive", "--yes", "--again", "--limit", "1")
    assert [record.value for record in desk.put_back()].count(b"0") == 2


def test_single_letters_and_limits_are_marked_one_by_one(desk: Desk) -> None:
    desk.bury(*(b"%d" % number for number in range(7)))
    positions = desk.positions()
    assert desk.run("dlq", "redrive", "--yes", positions[4], positions[2])[0] == 0
    assert [record.value for record in desk.put_back()] == [b"2", b"4"]
    assert desk.run("dlq", "redrive", "--yes", "--limit", "3")[0] == 0
    assert [record.value for record in desk.put_back()] == [b"2", b"4", b"0", b"1", b"3"]
    assert desk.run("dlq", "redrive", "--yes", positions[4], "0:999999")[0] == 1


def test_what_is_left_out_is_told_with_its_reason(desk: Desk) -> None:
    limits = RecordLimits(event_bytes_max=10, dead_letter_bytes_max=5)
    desk.bury(b"more than ten bytes", error=TOO_LARGE, key=b"k", limits=limits)
    desk.bury(event(1).encode(), error=FAILED)
    desk.kafka.send_record(desk.topics["dead_letters"], b"x", b"c1", [("x-reason", b"poison")])
    status, out, _ = desk.run("dlq", "redrive", "--yes")
    assert status == 0
    for line in ("to put back: 0", "left out: 1 cut: only the beginning was kept", "1 answered: ", "1 foreign: "):
        assert line in out
    assert desk.run("dlq", "redrive", "--yes", *desk.positions())[0] == 1
    assert desk.put_back() == []
    assert desk.run("dlq", "redrive", "--yes", "--answered-too")[0] == 0
    assert [record.value for record in desk.put_back()] == [event(1).encode()]


def test_poison_goes_back_only_when_it_is_asked_for(desk: Desk) -> None:
    desk.bury(b"1", error=DeadLetter(DeadLetterReason.POISON, "decode", ""))
    desk.bury(b"2", error=DeadLetter(DeadLetterReason.POISON, "processing", ""))
    assert "left out: 2 poison" in desk.run("dlq", "redrive", "--yes")[1]
    assert "left out: 1 answered" in desk.run("dlq", "redrive", "--include-poison", "--yes")[1]
    assert [record.value for record in desk.put_back()] == [b"1"]
    assert desk.run("dlq", "redrive", "--include-poison", "--answered-too", "--yes")[0] == 0
    assert [record.value for record in desk.put_back()] == [b"1", b"2"]


def test_a_second_failure_goes_back_under_the_first_position(desk: Desk) -> None:
    desk.bury(b"{")
    desk.run("dlq", "redrive", "--yes")
    (first,) = desk.put_back()
    desk.bury(b"{", headers=first.headers)
    status, out, _ = desk.run("dlq", "show", desk.positions()[1])
    assert status == 0
    assert f"original   {desk.topics['events']}:1:0 (letter {desk.positions()[0]} says so too)" in out
    desk.run("dlq", "redrive", "--yes")
    records = desk.put_back()
    assert [origin_of(record.headers) for record in records] == [origin_of(first.headers)] * 2
    assert header_of(records, "x-redriven") == ["1", "2"]


def test_a_forged_first_position_is_denied_by_the_letter_it_names(desk: Desk) -> None:
    desk.bury(b"{")
    desk.run("dlq", "redrive", "--yes")
    (first,) = desk.put_back()
    desk.bury(b"{", headers=(*first.headers, ("x-original-offset", b"77")))
    assert "denies it" in desk.run("dlq", "show", desk.positions()[1])[1]


def test_a_redrive_that_lost_its_name_to_another_writes_nothing_more(desk: Desk) -> None:
    desk.bury(*(b"%d" % number for number in range(12)))
    kafka = desk.settings
    with RangeReader(kafka, desk.topics["dead_letters"]) as reader:
        selection = redriving.Selection()
        spans = spans_of(reader, selection)
        terms = redriving.Terms(limits=RecordLimits(), input_topic=desk.topics["events"])
        work = redriving.Redrive(reader, spans, selection, redriving.Consent(), terms)
        target = redriving.Target(topic=desk.topics["events"], partition_count=2)
        with CopyWriter(kafka, redriving.transactional_id(kafka)) as writer:
            steps = work.write(kafka, writer, target, Pace(None, lambda _: None), 5)
            assert next(steps) == 5
            assert "put back on" in desk.run("dlq", "redrive", "--yes")[1]
            with pytest.raises(SlotFenced):
                next(steps)
    assert sorted(record.value or b"" for record in desk.put_back()) == sorted(b"%d" % n for n in range(12))


def test_an_event_whose_result_was_too_large_is_put_back_as_one_that_is_to_be_answered(desk: Desk) -> None:
    """Its conversation remembers an answer that nobody has seen: any other second copy is a duplicate."""
    desk.bury(event(1).encode(), error=RESULT_TOO_LARGE)
    desk.bury(event(2).encode())
    assert desk.run("dlq", "redrive", "--yes")[0] == 0
    names = header_of(desk.put_back(), "x-replayed-from")
    assert sorted(name or "" for name in names) == ["", f"{desk.topics['dead_letters']}:1:0"]
