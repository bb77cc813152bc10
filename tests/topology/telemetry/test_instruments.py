"""Metrics as data: bounded labels, zeros from the start, and what a mistake in a name or label does."""

import re
import threading

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

from tests.checkout import ROOT
from topology.telemetry.instruments import OTHER, SERIES_MAX, Instruments
from topology.telemetry.metrics import GUARDS, METRICS, Metric

OPEN_LABELS = {"budget", "case", "topic", "partition", "category", "policy_version", "model", "version", "hash", "role"}
OPEN_LABELS |= {"known_tenant", "route", "status"}
Point = NumberDataPoint | HistogramDataPoint


class Exported:
    """Instruments, and what a reader sees of them."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        provider = MeterProvider([self._reader], shutdown_on_exit=False)
        self.instruments = Instruments(provider.get_meter("test"))

    def points(self, name: str) -> list[Point]:
        data = self._reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint | HistogramDataPoint)
        ]


@pytest.fixture
def exported() -> Exported:
    return Exported()


def test_every_metric_is_listed_once_and_named_as_prometheus_shows_it() -> None:
    assert [spec.name for spec in METRICS] == list(dict.fromkeys(spec.name for spec in METRICS))
    assert {spec.name for spec in METRICS} == set(Metric)
    for spec in METRICS:
        assert re.fullmatch(r"sluicegate_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.kind == "counter")
        assert spec.name.endswith("_seconds") == (spec.unit == "s")
        assert spec.unit != "1", "Prometheus would call it a ratio"
        assert bool(spec.buckets) == (spec.kind == "histogram")


def test_every_label_is_an_enumeration_or_known_to_be_open() -> None:
    labels = [label for spec in METRICS for label in spec.labels]
    assert {label.name for label in labels if not label.values} <= OPEN_LABELS
    assert not {label.name for label in labels} & {"event_id", "conversation_id", "tenant", "user"}


def test_zeros_only_where_every_label_is_an_enumeration() -> None:
    assert not [spec.name for spec in METRICS if spec.zeros and not all(label.values for label in spec.labels)]


def test_fail_closed_is_exported_as_zero_for_every_guard_and_reason_before_anything_happened(
    exported: Exported,
) -> None:
    points = exported.points(Metric.FAIL_CLOSED)
    assert {str((point.attributes or {})["stage"]) for point in points} == {stage.value for stage in GUARDS}
    assert len(points) == len(GUARDS) * 6
    assert [point.value for point in points if isinstance(point, NumberDataPoint)] == [0] * len(points)
    assert len(exported.points(Metric.UNSCREENED_PUBLISHED)) == 1


def test_a_count_a_gauge_and_an_observation_arrive(exported: Exported) -> None:
    instruments = exported.instruments
    instruments.count(Metric.EVENTS_CONSUMED, 3, topic="t")
    instruments.count(Metric.EVENTS_CONSUMED, topic="t")
    instruments.gauge_set(Metric.CONSUMER_LAG, 7, topic="t", partition="0")
    instruments.gauge_set(Metric.CONSUMER_LAG, 5, topic="t", partition="0")
    instruments.observe(Metric.STAGE_DURATION, 0.2, stage="bias")
    assert instruments.value(Metric.EVENTS_CONSUMED, topic="t") == 4
    (count,) = exported.points(Metric.EVENTS_CONSUMED)
    (lag,) = exported.points(Metric.CONSUMER_LAG)
    (duration,) = exported.points(Metric.STAGE_DURATION)
    assert isinstance(count, NumberDataPoint)
    assert isinstance(lag, NumberDataPoint)
    assert isinstance(duration, HistogramDataPoint)
    assert (count.value, lag.value, duration.count, duration.sum) == (4, 5, 1, 0.2)
    assert duration.explicit_bounds[-1] == 60


def test_a_partition_that_was_given_away_is_no_longer_exported(exported: Exported) -> None:
    exported.instruments.gauge_set(Metric.CONSUMER_LAG, 7, topic="t", partition="0")
    exported.instruments.gauge_clear(Metric.CONSUMER_LAG)
    assert not exported.points(Metric.CONSUMER_LAG)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        Instruments.none().count("sluicegate_surprise_total")


@pytest.mark.parametrize(
    "labels", [{}, {"stage": "bias"}, {"stage": "bias", "reason": "late"}, {"stage": "bias", "cause": "timeout"}]
)
def test_a_label_that_is_missing_unknown_or_outside_its_enumeration_is_an_error(labels: dict[str, str]) -> None:
    with pytest.raises(AssertionError):
        Instruments.none().count(Metric.FAIL_CLOSED, 1, **labels)


def test_a_kind_is_not_another_kind() -> None:
    with pytest.raises(KeyError):
        Instruments.none().count(Metric.INFLIGHT_EVENTS)
    with pytest.raises(KeyError):
        Instruments.none().gauge_set(Metric.REGENERATIONS, 1)
    with pytest.raises(KeyError):
        Instruments.none().observe(Metric.REGENERATIONS, 1)


def test_open_labels_cannot_grow_without_bound(exported: Exported) -> None:
    for index in range(SERIES_MAX + 50):
        exported.instruments.count(Metric.LLM_ERRORS, 1, model=f"m{index}", reason="timeout")
    points = exported.points(Metric.LLM_ERRORS)
    assert len(points) == SERIES_MAX + 1
    assert exported.instruments.value(Metric.LLM_ERRORS, model=OTHER, reason="timeout") == 50


def test_counts_of_many_threads_add_up() -> None:
    instruments = Instruments.none()
    threads = [
        threading.Thread(target=lambda: [instruments.count(Metric.REGENERATIONS) for _ in range(2_000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert instruments.value(Metric.REGENERATIONS) == 8_000


def test_an_observation_carries_the_trace_it_is_told_and_no_other(exported: Exported) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    ours = tracer.start_span("ours")
    with tracer.start_as_current_span("somebody else's"):
        exported.instruments.observe(Metric.STAGE_DURATION, 0.2, set_span_in_context(ours), stage="bias")
        exported.instruments.observe(Metric.STAGE_DURATION, 0.2, stage="logging")
    points = {(point.attributes or {})["stage"]: point for point in exported.points(Metric.STAGE_DURATION)}
    assert [exemplar.span_id for exemplar in points["bias"].exemplars] == [ours.get_span_context().span_id]
    assert not points["logging"].exemplars


def test_the_documentation_lists_every_metric_with_its_labels() -> None:
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `sluicegate_")}
    assert list(rows) == [spec.name.value for spec in METRICS]
    for spec in METRICS:
        labels = ", ".join(f"`{label.name}`" for label in spec.labels) or "none"
        assert rows[spec.name].split(" | ")[2] == labels
        assert rows[spec.name].endswith(f"| {spec.help} |")
