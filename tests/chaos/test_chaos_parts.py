"""The parts of the chaos runs that need no broker: what they count, what they plan, what they keep."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.chaos.census import Output, count, sent_records, uncommitted
from tests.chaos.faults import SHORT_ORDER, Fault, FaultKind, plan_fault, plan_short
from tests.chaos.fleet import Drained, Returned
from tests.chaos.held import UNDISTURBED, HeldBack, Window, add_sights
from tests.chaos.load import BROKEN_VALUE, INVALID_VALUE, plain_event
from tests.chaos.marks import LEARNS_S, read_marks, repeated_after_drain
from tests.chaos.progress import Progress, load_progress, save_progress
from tests.chaos.watch import Sight
from tests.chaos.worker import Stub, Task
from topology.contract.codec import RecordLimits, encode
from topology.contract.records import PartitionOffset, Record, Result
from topology.delivery.offset_map import encode as encode_map
from workers.settings import TopicSettings

KEYS = ("a", "b", "a", "a")
INPUT = [
    Record(
        topic="in",
        partition=0,
        offset=offset,
        timestamp_ms=0,
        key=key.encode(),
        value=encode(plain_event(f"e{offset}", key)),
    )
    for offset, key in enumerate(KEYS)
]
INPUT.append(Record(topic="in", partition=0, offset=4, timestamp_ms=0, key=b"b", value=BROKEN_VALUE))
NAMED = Record(topic="in", partition=0, offset=5, timestamp_ms=0, key=b"b", value=INVALID_VALUE % (b"e5", b"b"))


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    """A worker without a broker."""
    task = Task(
        bootstrap="", group="g", cluster="c", slot=0, incarnation=7, marks=str(tmp_path), journals="", session_s=6,
        shortest_s=0, longest_s=0,
    )  # fmt: skip
    return Stub(task, TopicSettings(), RecordLimits())


@pytest.fixture
def results(stub: Stub) -> list[Result]:
    """What a worker makes of INPUT, in its order."""
    return [asyncio.run(stub.process(record)) for record in INPUT]


def seen(results: list[Result]) -> Output:
    """What a reader sees of `results`, committed in this order."""
    topics = TopicSettings()
    found: dict[str, list[Record]] = {topics.audited: [], topics.audit: [], topics.dead_letters: []}
    for record in (record for result in results for record in result.records):
        offset = len(found[record.topic])
        found[record.topic].append(
            Record(
                topic=record.topic,
                partition=0,
                offset=offset,
                timestamp_ms=0,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
        )
    return Output(audited=found[topics.audited], audit=found[topics.audit], dead_letters=found[topics.dead_letters])


def test_a_run_in_which_everything_went_well_has_no_fault(results: list[Result]) -> None:
    counted = count("reader", sent_records(INPUT), seen(results))
    assert counted.fault_count == 0, counted
    assert (counted.sent, counted.answered) == (5, 4)


def test_a_record_that_names_its_ids_must_be_rejected_once(results: list[Result], stub: Stub) -> None:
    sent = sent_records([*INPUT, NAMED])
    rejected = asyncio.run(stub.process(NAMED))
    counted = count("reader", sent, seen([*results, rejected]))
    assert (counted.fault_count, counted.answered, counted.dead_lettered) == (0, 5, 2), counted
    unanswered = replace(rejected, records=rejected.records[:1])
    assert count("reader", sent, seen([*results, unanswered])).lost == 1
    assert count("reader", sent, seen([*results, rejected, rejected])).duplicated == 2


def test_each_way_of_going_wrong_has_a_count_of_its_own(results: list[Result]) -> None:
    sent = sent_records(INPUT)
    first, second, third, fourth, broken = results
    assert count("reader", sent, seen([first, second, third, broken])).lost == 1
    assert count("reader", sent, seen([first, second, third, fourth])).lost == 1
    assert count("reader", sent, seen([*results, second])).duplicated == 1
    assert count("reader", sent, seen([*results, broken])).duplicated == 1
    assert count("reader", sent, seen([third, first, second, fourth, broken])).out_of_order == 1
    assert count("reader", sent[1:], seen(results)).unexpected == 1


def test_responses_out_of_order_are_found_although_their_audit_records_are_in_order(results: list[Result]) -> None:
    output = seen(results)
    swapped = [output.audited[2], output.audited[1], output.audited[0], output.audited[3]]
    counted = count(
        "r", sent_records(INPUT), Output(audited=swapped, audit=output.audit, dead_letters=output.dead_letters)
    )
    assert counted.out_of_order == 1
    assert counted.examples["out_of_order"] == ("a",)


def test_a_response_without_its_audit_record_is_counted(results: list[Result]) -> None:
    output = seen(results)
    cut = Output(audited=output.audited, audit=output.audit[1:], dead_letters=output.dead_letters)
    assert count("reader", sent_records(INPUT), cut).unaudited == 1


def test_what_neither_offset_nor_map_calls_done_is_uncommitted() -> None:
    sent = sent_records(INPUT)
    metadata = encode_map(1, 4, [1, 3])
    position = PartitionOffset(topic="in", partition=0, offset=1, metadata=metadata)
    assert uncommitted(sent, {("in", 0): position}) == ["e1", "e3", "in/0/4"]
    assert uncommitted(sent, {("in", 0): PartitionOffset(topic="in", partition=0, offset=5)}) == []
    assert len(uncommitted(sent, {})) == 5


def test_finished_work_that_starts_again_after_its_drain_is_found(results: list[Result], tmp_path: Path) -> None:
    (tmp_path / "8").write_text("s 0 1 20.0\nf 0 1 20.1\ns 0 2 8.0\ns 0 3")
    (tmp_path / "7").write_text("s 0 1 9.0\nf 0 1 9.5\ns 0 2 5.0\nf 0 2 6.0\n")
    work = read_marks(tmp_path)
    assert (work.started_count, work.repeated_count) == (4, 2)
    (repeat,) = repeated_after_drain(work, [Drained(incarnation=7, exit_code=0, ended_s=10.0)])
    assert (repeat.partition, repeat.offset, repeat.started_by) == (0, 1, 8)
    assert not repeated_after_drain(work, [Drained(incarnation=7, exit_code=0, ended_s=10.0, was_given_up=True)])
    assert not repeated_after_drain(work, [])


def test_what_a_process_held_that_came_back_is_not_done_again_for_anybody(tmp_path: Path) -> None:
    (tmp_path / "7").write_text("s 0 1 9.0\nf 0 1 9.5\n")
    (tmp_path / "8").write_text("s 0 1 20.0\n")
    work, drained = read_marks(tmp_path), [Drained(incarnation=7, exit_code=0, ended_s=10.0)]
    found = {
        (who, at_s): len(repeated_after_drain(work, drained, [Returned(incarnation=who, resumed_s=at_s)]))
        for who, at_s in ((8, 19.0), (8, 20.0 - LEARNS_S - 0.1), (8, 21.0), (9, 19.0))
    }
    assert found == {(8, 19.0): 0, (8, 20.0 - LEARNS_S - 0.1): 1, (8, 21.0): 1, (9, 19.0): 1}


def test_the_same_seed_plans_the_same_faults() -> None:
    def plan(seed: int) -> list[Fault]:
        return [plan_fault(seed, number, slots=3, session_s=10, wait_s=(1, 2)) for number in range(400)]

    assert plan(1) == plan(1) != plan(2)
    assert {fault.kind for fault in plan(1)} == set(FaultKind)


def test_the_short_form_has_every_kind_but_an_absent_worker() -> None:
    short = plan_short(1, slots=3, session_s=6, wait_s=(1, 2))
    assert [fault.kind for fault in short] == list(SHORT_ORDER)
    assert set(SHORT_ORDER) == set(FaultKind) - {FaultKind.ABSENCE}
    (stop,) = (fault for fault in short if fault.kind is FaultKind.STOP)
    assert stop.lasts_s > 6


def test_a_reader_is_held_back_by_what_went_on_between_append_and_sight() -> None:
    stop = Window(kind=FaultKind.STOP, from_s=10, until_s=20)
    kill = Window(kind=FaultKind.KILL, from_s=12, until_s=14)
    moments = ((1.0, 1.05), (9.0, 11.0), (13.0, 13.5), (21.0, 21.2))
    sights = [Sight(seen_s, appended_s, 0, 0, 1) for appended_s, seen_s in moments]
    held: dict[str, HeldBack] = {}
    add_sights(held, sights, [stop, kill])
    assert {name: one.count for name, one in held.items()} == {UNDISTURBED: 2, FaultKind.STOP.value: 2}
    assert held[FaultKind.STOP.value].longest_s == pytest.approx(2.0)
    assert held[UNDISTURBED].share_below_s(0.5) == pytest.approx(0.05, abs=0.06)


def test_progress_survives(tmp_path: Path) -> None:
    assert load_progress(tmp_path) is None
    progress = Progress(seed=1, workers=3, session_s=10, rate_s=100, port=20000, faults={"kill -9": 3})
    progress.held["no fault"] = HeldBack()
    progress.held["no fault"].add(0.3)
    save_progress(tmp_path, progress)
    assert load_progress(tmp_path) == progress
