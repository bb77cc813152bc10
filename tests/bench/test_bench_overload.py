"""What the bench says of an overloaded worker, and of one tenant beside another: its sums are right, and it runs."""

from pathlib import Path

import pytest

from bench import overload, overload_picture, tenants
from bench.overload_arm import Sample
from bench.overload_world import Answer, Lived
from tests.plugins.kafka_broker import Kafka


def answer(at_s: float, *reasons: str, retry_after_ms: int = 0) -> Answer:
    """An answer that is withheld if it has reasons."""
    return Answer(at_s, bool(reasons), reasons, retry_after_ms)


LIVED = Lived(
    sent_s={"burst-0": 100.0, "on-0": 101.0, "on-1": 102.0, "on-2": 103.0, "off-0": 111.0},
    answers={
        "burst-0": answer(102.0),
        "on-0": answer(104.0),
        "on-1": answer(112.5, "deadline"),
        "off-0": answer(111.5),
    },
    samples=[Sample(at_s=100.0 + n, is_assigned=True, committed=n, rss_mib=50.0 + 10 * (n >= 8)) for n in range(10)],
    on_s=100.0,
    off_s=110.0,
    exits=[70],
    capacity_per_s=1.0,
)


def test_withheld_and_missing_answers_are_lost_and_the_slow_time_alone_counts_as_throughput() -> None:
    named = next(each for each in overload.SCENARIOS if each.run is overload.slow_stage)
    found = {figure.name: figure for figure in overload.figures_of(named, LIVED, "before")}
    assert {name: figure.value for name, figure in found.items()} == {
        "withheld or unanswered": pytest.approx(40.0),
        "answered, of what the slowest part allows": 0.5,
        "recovered after": 2.5,
        "memory, growth": 10.0,
        "ends of the worker process": 1,
    }
    assert found["withheld or unanswered"].of.endswith("(deadline 1)")
    assert {figure.target for figure in found.values()} == {""}, "what came before is promised nothing"


def test_each_scenario_is_drawn(tmp_path: Path) -> None:
    overload_picture.draw({"one": {"after": LIVED, "before": LIVED}, "other": {"after": LIVED}}, tmp_path / "o.svg")
    assert (tmp_path / "o.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_tenants_times_are_compared_with_its_own_alone() -> None:
    sent_s = {f"{stem}-{number}": 10.0 for stem in ("alone", "beside", "noisy") for number in (1, 2)}
    answers = {
        "alone-1": answer(11.0),
        "alone-2": answer(11.0),
        "beside-1": answer(12.0),
        "beside-2": answer(12.0),
        "noisy-1": answer(19.0),
        "noisy-2": answer(10.5, tenants.RATE_LIMITED),
    }
    found = {figure.name: figure.value for figure in tenants.figures_of("one partition", sent_s, answers)}
    assert found["the other's p99, ratio"] == 2.0
    assert (found["refused of the flood"], found["refused without a time to wait"], found["unanswered"]) == (50, 1, 0)


@pytest.mark.kafka
def test_a_slow_stage_is_measured(kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = overload.Size(slow_s=2.0, after_s=1.0, deadline_s=10.0, drain_s=90.0)
    slow = tuple(each for each in overload.SCENARIOS if each.run is overload.slow_stage)
    monkeypatch.setattr(overload, "SCENARIOS", slow)
    figures = overload.measure(kafka.bootstrap, size, print, None, tmp_path)
    assert {figure.part for figure in figures} == {"k"}
    names = {figure.name for figure in figures}
    assert {"withheld or unanswered", "answered, of what the slowest part allows", "recovered after"} <= names
    assert (tmp_path / "bench-overload.svg").stat().st_size > 0
