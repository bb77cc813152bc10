"""What the bench says of the engine: its shortest runs give figures and pictures, and its sums are right."""

from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from bench import memory, page, stuck_key, two_workers, visibility
from bench.arms import Arm
from bench.engine_arm import STUCK_KEY, Sample, Trace
from bench.pictures import POINTS_MAX, thinned
from bench.reader_arm import Visible
from bench.report import Figure, Report
from tests.plugins.kafka_broker import Kafka

PICTURE_BYTES_MAX = 100_000


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.mark.kafka
def test_other_keys_and_as_many_as_asked_for_run_beside_a_stuck_one(kafka: Kafka, tmp_path: Path) -> None:
    size = stuck_key.Size(events=300, wait_s=0.1, bounds=(50,), stuck_s=1.5, events_per_s=100.0, repetitions=1)
    figures = stuck_key.measure(kafka.bootstrap, size, quiet, tmp_path)
    assert {figure.part for figure in figures} == {"e"}
    values = {figure.name: figure.value for figure in figures}
    assert values["events running at once, most"] == 50
    assert values["events out of order of their key"] == 0
    assert values["append to commit, the stuck key"] > size.stuck_s + 2 * size.wait_s
    pictures = sorted(path.name for path in tmp_path.iterdir())
    assert pictures == ["bench-in-flight.svg", "bench-stuck-key.svg"]
    assert all(0 < path.stat().st_size <= PICTURE_BYTES_MAX for path in tmp_path.iterdir())


@pytest.mark.kafka
def test_memory_is_measured_while_the_load_runs(kafka: Kafka, tmp_path: Path) -> None:
    size = memory.Size(events=1_500, ahead_max=500, sample_interval_s=0.05)
    figures = {figure.name: figure for figure in memory.measure(kafka.bootstrap, size, quiet, tmp_path)}
    assert figures["growth, share"].target == "< 5 %"
    assert figures["resident memory at the end"].value > 10
    assert (tmp_path / "bench-memory.svg").stat().st_size <= PICTURE_BYTES_MAX


@pytest.mark.kafka
def test_every_transaction_is_seen_by_a_reader(kafka: Kafka) -> None:
    size = visibility.Size(rates_per_s=(100,), seconds=1.5, warm_s=0.5, repetitions=1)
    figures = {figure.name: figure for figure in visibility.measure(kafka.bootstrap, size, quiet)}
    assert 0 <= figures["readers blocked, p50"].value <= figures["readers blocked, longest"].value
    assert figures["readers blocked, p99"].target == "≤ 100 ms"


def test_of_a_committed_prefix_everything_waits_for_the_stuck_key() -> None:
    traces = [
        Trace(0, 0, False, 1_000, 2_000, 2_100),
        Trace(0, 1, True, 1_000, 9_000, 9_100),
        Trace(0, 2, False, 1_000, 2_500, 2_600),
        Trace(0, 4, False, 8_000, 9_500, 9_700),
    ]
    assert stuck_key.prefix_latencies_s(traces[::-1]) == [1.1, 8.1, 1.7]


def test_the_load_brings_the_stuck_key_three_times_and_others_again() -> None:
    keys = [key for key, _ in stuck_key.steady_load(100)]
    assert keys.count(STUCK_KEY) == 3
    assert len(set(keys)) == 98
    again = [key for key, _ in stuck_key.conversations(1_000, is_repeated=True)]
    assert (len(set(again)), len(again)) == (1_000, 1_000 + 2 * (stuck_key.REPEATED - 1))
    assert len(list(stuck_key.conversations(1_000, is_repeated=False))) == 1_000


def test_blocked_is_from_the_first_append_to_the_last_record_after_the_warm_up() -> None:
    seen = [Visible(1_000, 1_010, 1_020, 4), Visible(3_000, 3_015, 3_040, 4)]
    assert visibility.blocked_ms(seen, 1.0) == [40]
    assert visibility.blocked_ms(seen, 5.0) == [40], "the last one, where all is warm-up"
    assert stuck_key.percentile([40.0], 99) == 40


def test_memory_is_the_mean_of_a_share_of_the_run() -> None:
    samples = [
        Sample(at_s=0, cpu_s=0, is_assigned=True, running=0, committed=count, rss_mib=float(mib))
        for count, mib in ((0, 50), (19, 60), (20, 64), (21, 62), (60, 80), (99, 81))
    ]
    assert memory.resident_mib(samples, 100, 0.18, 0.22) == 62
    assert memory.resident_mib(samples, 100, 0.96, 1.0) == 81
    assert memory.resident_mib(samples, 100, 0.4, 0.41) == 62, "the nearest, where there is none"


def test_the_slope_is_that_after_the_first_fifth() -> None:
    samples = [
        Sample(at_s=0, cpu_s=0, is_assigned=True, running=0, committed=count, rss_mib=mib)
        for count, mib in ((0, 10.0), (200_000, 60.0), (600_000, 62.0), (1_000_000, 64.0))
    ]
    assert memory.slope_mib(samples, 1_000_000) == pytest.approx(5)


@pytest.mark.kafka
def test_two_workers_are_measured_beside_one(kafka: Kafka) -> None:
    size = two_workers.Size(stretch_s=1.5, in_flight_max=4, repetitions=1)
    figures = {figure.name: figure.value for figure in two_workers.measure(kafka.bootstrap, size, quiet)}
    assert 0 < figures["events/s, one worker"] <= size.in_flight_max / size.wait_s
    assert figures["events/s, two workers, ratio"] > 0


def test_a_rate_is_that_of_all_workers_between_two_moments() -> None:
    def at(at_s: float, committed: int, cpu_s: float) -> Sample:
        return Sample(at_s=at_s, cpu_s=cpu_s, is_assigned=True, running=0, committed=committed, rss_mib=1.0)

    before, after = [at(10, 100, 1.0), at(10, 0, 2.0)], [at(20, 600, 1.25), at(20, 500, 2.25)]
    assert two_workers.rate_of(before, after) == two_workers.Rate(100.0, 500.0)


def test_a_line_is_drawn_with_its_end() -> None:
    points = [(float(index), 1.0) for index in range(5 * POINTS_MAX + 3)]
    assert len(thinned(points)) <= POINTS_MAX + 2
    assert thinned(points)[-1] == points[-1]


class Asked(Struct):
    """A task that no module understands."""


def test_an_arm_that_fails_says_why() -> None:
    with Arm[Sample]("bench.reader_arm", Asked(), Sample) as arm, pytest.raises(RuntimeError, match="missing required"):
        arm.wait_ended(60)


def report(*figures: Figure) -> Report:
    """A run that measured these."""
    return Report(command="python -m bench", date="2026-11-21", machine={}, versions={}, figures=figures)


def test_the_figures_of_parts_that_did_not_run_stay(tmp_path: Path) -> None:
    written = tmp_path / "bench.md"
    written.write_text(f"# Measurements\n\ntext\n\n{page.MARK}\n", encoding="utf-8")
    first = [Figure(part=part, name="first", value=1, unit="s") for part in ("a", "e")]
    page.write(report(*first), ("a", "e"), written)
    page.write(report(msgspec.structs.replace(first[1], name="second")), ("e",), written)
    above, _, below = written.read_text(encoding="utf-8").partition(page.MARK)
    assert above == "# Measurements\n\ntext\n\n"
    sections = page.sections_of(below)
    assert list(sections) == ["a", "e"]
    assert "first" in sections["a"]
    assert "second" in sections["e"]
    assert "first" not in sections["e"]
