"""The bench runs: its shortest form gives figures of the shape that others read. Speed is not judged here."""

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench import first_event, single_event
from bench.__main__ import main
from bench.engine_arm import Times
from bench.report import Figure, Report, table
from bench.start_arm import Start
from tests.checkout import ROOT
from tests.plugins.kafka_broker import Kafka

STEPS = {"decode", "encode", "plan", "judge", "pipeline", "labeler", "stage classification", "stage bias"}
GUARDS = {f"all guards of an event, {name}" for name in ("the encoder", "n-gram heads")}


def test_the_quick_steps_are_written_as_json_and_shown_as_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "bench.json"
    assert main(["--quick", "--only", "c", "--json", str(written)]) == 0
    report = msgspec.json.decode(written.read_bytes(), type=Report)
    assert {figure.name for figure in report.figures} >= STEPS | GUARDS
    assert {(figure.part, figure.unit) for figure in report.figures} == {("c", "µs")}
    assert all(figure.value > 0 and figure.value in figure.runs for figure in report.figures)
    assert {"processor", "memory", "load before"} <= set(report.machine)
    assert "kafka-python" in report.versions
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(report.figures)


def test_the_first_event_is_compared_with_a_late_one(tmp_path: Path) -> None:
    written = tmp_path / "bench.json"
    assert main(["--quick", "--only", "h", "--json", str(written)]) == 0
    report = msgspec.json.decode(written.read_bytes(), type=Report)
    names = {figure.name for figure in report.figures}
    assert names == {"first event to event 20, ratio", "first event", "event 20", "guards ready"}
    assert all(figure.part == "h" and len(figure.runs) == first_event.QUICK.starts for figure in report.figures)


def test_the_median_of_the_events_around_it_stands_for_the_late_one() -> None:
    starts = [Start(ready_s=1.0, events_ms=(4.0, *[1.0] * 13, 2.0, *[2.0] * 10)) for _ in range(3)]
    ratio, first, late, _ = first_event.figures(starts, first_event.QUICK)
    assert (ratio.value, first.value, late.value) == (2.0, 4.0, 2.0)


def test_each_hand_written_part_is_measured_beside_the_librarys(tmp_path: Path) -> None:
    written = tmp_path / "bench.json"
    assert main(["--quick", "--only", "i", "--json", str(written)]) == 0
    figures = msgspec.json.decode(written.read_bytes(), type=Report).figures
    assert [(figure.part, figure.unit) for figure in figures] == [("i", "µs"), ("i", "µs"), ("i", "")] * 4
    assert all(figure.value > 0 and len(figure.runs) == 3 for figure in figures)


def test_a_single_events_pieces_make_up_the_whole() -> None:
    times = Times(appended_ms=102, begun_ms=105.5, finished_ms=106.5)
    one = single_event.taken(100.5, times, 110, 118.0)
    assert one.pieces_ms == (1.5, 3.5, 1.0, 3.5, 8.0)
    assert one.all_ms == sum(one.pieces_ms) == 17.5
    p50, p99, *pieces = single_event.figures([[one], [one]])
    assert (p50.value, p99.value) == (17.5, 17.5)
    assert [figure.value for figure in pieces] == list(one.pieces_ms)


@pytest.mark.kafka
def test_a_single_event_is_measured(kafka: Kafka) -> None:
    figures = single_event.measure(kafka.bootstrap, single_event.QUICK, lambda _: None)
    assert len(figures) == 2 + len(single_event.PIECES)
    assert {figure.part for figure in figures} == {"j"}
    assert 0 < figures[0].value <= figures[1].value


def test_a_table_has_a_row_for_each_figure() -> None:
    figure = Figure(part="a", name="events/s, ratio", value=0.5, unit="", runs=(0.4, 0.5, 0.6))
    assert table([figure]).splitlines()[-1] == "| a | events/s, ratio | 0.50 | 0.40 0.50 0.60 |  |  |"


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["--only", "z"])


def test_the_stand_in_policy_takes_the_place_of_plan_and_judge() -> None:
    """In a process of its own, because it replaces them for good."""
    code = (
        "import asyncio; from bench import world; from topology.telemetry.instruments import Instruments; "
        "from topology.telemetry.tracing import Tracing; world.stub_policy(); "
        "pipeline = world.stub_pipeline(Tracing.none(), Instruments.none()); "
        "print(len(asyncio.run(pipeline.process(world.record(0))).records))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2"], done.stderr
