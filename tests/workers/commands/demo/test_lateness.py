"""The demonstration says when answers were withheld for want of time, and whom that speaks against."""

from collections.abc import Mapping
from io import StringIO

import pytest
from rich.console import Console

from topology.contract.events import Action, Attempt, AuditRecord, Position
from topology.contract.labels import GuardRun, Outcome, OutputLabels, Verdict, VerdictKind
from topology.contract.names import DraftSource
from workers.commands.demo.lateness import Lateness, MachineLoad, late_stages, lateness_of
from workers.commands.demo.machine import EVERY_S, LoadMeter, Process, Reading, busy_s_of, family_of, process_of
from workers.commands.demo.view import print_lateness

QUIET = MachineLoad(cores=2, average=4.5, others_share=0.03)
"""Two cores, which the demonstration alone brings to a load of 4.5."""
BUSY = MachineLoad(cores=2, average=6.5, others_share=0.5)


def attempt(verdict: VerdictKind = VerdictKind.ESCALATE, **outcomes: Outcome) -> Attempt:
    guards = tuple(GuardRun(guard=name, version="1", outcome=outcome) for name, outcome in outcomes.items())
    return Attempt(
        source=DraftSource.GENERATOR,
        draft=None,
        labels=OutputLabels(guards=guards),
        verdict=Verdict(verdict=verdict, rule_ids=("V01",), policy_ref="p@1#0"),
    )


def audit(action: Action = Action.WITHHELD, code: str = "V01", *attempts: Attempt) -> AuditRecord:
    return AuditRecord(
        audit_id="a",
        event_id="e",
        conversation_id="c",
        tenant_id="t",
        position=Position(topic="in", partition=0, offset=0, timestamp_ms=0),
        policy_ref="p@1#0",
        overlay_ref="",
        action=action,
        reason_codes=(code,),
        labels=None,
        plan=None,
        request=None,
        attempts=attempts,
        response_digest="",
    )


PUBLISHED = audit(Action.PUBLISHED, "V99", attempt(VerdictKind.PUBLISH, classification=Outcome.OK))
LATE = audit(Action.WITHHELD, "V01", attempt(classification=Outcome.TIMEOUT, bias=Outcome.OK))


@pytest.mark.parametrize(
    ("record", "stages"),
    [
        (LATE, ("classification",)),
        (
            audit(Action.WITHHELD, "V01", attempt(classification=Outcome.TIMEOUT, bias=Outcome.TIMEOUT)),
            ("classification", "bias"),
        ),
        (audit(code="assess_timeout"), ("assess",)),
        (audit(code="generator_timeout"), ("generator",)),
        (audit(Action.WITHHELD, "generator_timeout", attempt(VerdictKind.REVISE)), ("generator",)),
        (audit(code="deadline"), ("deadline",)),
        (PUBLISHED, ()),
        (audit(Action.WITHHELD, "V03", attempt(classification=Outcome.OK)), ()),
        (audit(Action.WITHHELD, "V01", attempt(classification=Outcome.CRASHED)), ()),
        (audit(code="generator_refused"), ()),
        (audit(code="duplicate_event"), ()),
        (
            audit(Action.PUBLISHED, "V99", attempt(classification=Outcome.TIMEOUT), attempt(VerdictKind.PUBLISH)),
            (),
        ),
        (
            audit(Action.WITHHELD, "V03", attempt(classification=Outcome.TIMEOUT), attempt(classification=Outcome.OK)),
            (),
        ),
    ],
    ids=[
        "check",
        "two checks",
        "labeller",
        "generator",
        "generator of a second draft",
        "deadline",
        "published",
        "escalated by its content",
        "crashed check",
        "generator that refuses",
        "second copy",
        "published later on",
        "late in an earlier draft alone",
    ],
)
def test_an_answer_is_late_where_a_stage_without_time_withheld_it(record: AuditRecord, stages: tuple[str, ...]) -> None:
    assert late_stages(record) == stages


def test_late_answers_are_counted_and_named_by_stage() -> None:
    found = lateness_of([*[PUBLISHED] * 6, LATE, LATE, audit(code="deadline")], QUIET)
    assert (found.answered_count, found.late_count) == (9, 3)
    assert list(found.stages.items()) == [("classification", 2), ("deadline", 1)]


@pytest.mark.parametrize(
    ("late_count", "load", "is_fault"),
    [
        (0, QUIET, False),
        (2, QUIET, False),
        (3, QUIET, True),
        (5, BUSY, False),
        (6, BUSY, True),
        (3, MachineLoad(cores=8, average=6.5, others_share=0.5), True),
        (3, MachineLoad(cores=2, average=2.0, others_share=0.5), True),
        (3, MachineLoad(cores=2, average=6.5, others_share=0.25), True),
    ],
)
def test_more_than_two_in_a_hundred_are_a_fault_or_than_five_beside_other_work(
    late_count: int, load: MachineLoad, is_fault: bool
) -> None:
    assert lateness_of([PUBLISHED] * (100 - late_count) + [LATE] * late_count, load).is_fault is is_fault


def test_a_run_without_answers_is_not_late() -> None:
    assert not lateness_of([], QUIET).is_fault


def printed(late: Lateness) -> str:
    file = StringIO()
    print_lateness(Console(file=file, width=300), late)
    return file.getvalue()


def test_a_run_in_time_is_one_line() -> None:
    assert printed(lateness_of([PUBLISHED], QUIET)) == "withheld for want of time: 0\n"


def test_a_few_late_answers_are_counted_with_the_load_and_without_advice() -> None:
    lines = printed(lateness_of([PUBLISHED] * 99 + [LATE], QUIET)).splitlines()
    assert lines[0].startswith("1 of 100 answers (1.0 %) were withheld because a step was late (classification 1)")
    assert lines[0].endswith("these say nothing about the policy.")
    assert "4.5 on 2 cores" in lines[1]
    assert "3 %" in lines[1]
    assert len(lines) == 2


def test_a_late_run_says_which_settings_to_raise_or_that_others_kept_the_machine_busy() -> None:
    records = [*[PUBLISHED] * 6, LATE, LATE, audit(code="assess_timeout")]
    quiet, busy = printed(lateness_of(records, QUIET)), printed(lateness_of(records, BUSY))
    assert "stages.classification.timeout_s" in quiet
    assert "limits.assess_timeout_s" in quiet
    assert "other work" not in quiet
    assert "this machine is busy" in busy
    assert "stop the other work" in busy
    assert "timeout_s" not in busy
    assert "FAILED" in quiet
    assert "FAILED" in busy


class FakeMachine:
    """Readings that follow each other, one for each call; seconds, CPU time used in all, and by own processes."""

    def __init__(self, *readings: tuple[float, float, Mapping[int, float]]) -> None:
        self._readings = list(readings)

    def read(self) -> Reading:
        at_s, busy_s, own = self._readings.pop(0)
        return Reading(at_s=at_s, load_average=at_s, busy_s=busy_s, own_s={(key, 0): s for key, s in own.items()})


def test_cpu_time_of_own_processes_is_taken_from_that_of_the_machine() -> None:
    machine = FakeMachine((0.0, 100.0, {1: 10.0, 2: 5.0}), (10.0, 118.0, {1: 14.0, 3: 9.0}))
    meter = LoadMeter(machine.read, 2)
    meter.start()
    meter.look(10.0)
    # 18 s were used: 4 by process 1, 9 by the new process 3; 5 s of the 20 that two cores have are others'.
    assert meter.load() == MachineLoad(cores=2, average=10.0, others_share=0.25)


def test_a_reading_is_taken_only_when_it_is_due() -> None:
    meter = LoadMeter(FakeMachine((0.0, 0.0, {}), (EVERY_S, EVERY_S, {})).read, 1)
    meter.start()
    meter.look(EVERY_S / 2)
    assert meter.load().others_share == 0.0
    meter.look(EVERY_S)
    assert meter.load().others_share == 1.0


def test_time_between_two_stretches_does_not_count() -> None:
    machine = FakeMachine((0.0, 0.0, {}), (10.0, 5.0, {}), (100.0, 95.0, {}), (110.0, 100.0, {}))
    meter = LoadMeter(machine.read, 1)
    for now_s in (10.0, 110.0):
        meter.start()
        meter.look(now_s)
    assert meter.load() == MachineLoad(cores=1, average=60.0, others_share=0.5)


def test_a_meter_that_never_looked_excuses_nothing() -> None:
    meter = LoadMeter(FakeMachine((0.0, 0.0, {})).read, 4)
    meter.start()
    assert not meter.load().is_busy_with_others


def test_linux_says_who_used_the_time() -> None:
    ticks = 100
    assert busy_s_of(f"cpu  {10 * ticks} {20 * ticks} 0 999 999 {ticks} {ticks} {ticks} {5 * ticks} 0") == 33.0
    stat = "42 (a) odd (name) S 7 42 42 0 -1 0 0 0 0 0 150 50 9 9 39 19 1 0 12345 1 2 3"
    assert process_of(stat) == Process(parent_id=7, key=(42, 12345), used_s=2.0)


def test_a_family_is_a_process_and_its_descendants() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 1, 5: 3}
    processes = [Process(parent_id=parent, key=(own, 0), used_s=0.0) for own, parent in parents.items()]
    assert [process.key[0] for process in family_of(2, processes)] == [2, 3, 5]
