"""Histograms that are counted here export what the SDK's own would."""

import threading
from collections.abc import Iterable

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar, MeterProvider
from opentelemetry.sdk.metrics.export import (
    Histogram,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import set_span_in_context

from topology.telemetry.instruments import OTHER, SERIES_MAX, Instruments
from topology.telemetry.metrics import METRICS, SECONDS_BUCKETS
from topology.telemetry.metrics import Metric as Name
from workers.settings import TelemetrySettings
from workers.telemetry.histograms import Histograms
from workers.telemetry.setup import Telemetry, start_telemetry

VALUES = (0.0, 0.004, 0.005, 0.0051, 0.2, 1.0, 59.9, 60.0, 61.5, 1e6)
NAMES = {spec.name.value: spec for spec in METRICS}


class Kept(MetricExporter):
    """Keeps every collection."""

    def __init__(self) -> None:
        super().__init__()
        self.collections: list[MetricsData] = []

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        self.collections.append(metrics_data)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        pass


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def telemetry(kept: Kept) -> Iterable[Telemetry]:
    started = start_telemetry(TelemetrySettings(export_interval_s=3600), "ingress", 0, metric_exporters=[kept])
    yield started
    started.shutdown(10)


def histograms(collection: MetricsData) -> dict[str, Metric]:
    return {
        metric.name: metric
        for resource in collection.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if isinstance(metric.data, Histogram)
    }


def spelt(metric: Metric) -> object:
    """Everything but times."""
    assert isinstance(metric.data, Histogram)
    points = [
        (
            dict(point.attributes or {}),
            point.count,
            point.sum,
            tuple(point.bucket_counts),
            tuple(point.explicit_bounds),
            point.min,
            point.max,
            [(each.filtered_attributes, each.value, each.span_id, each.trace_id) for each in point.exemplars],
        )
        for point in metric.data.data_points
    ]
    return metric.name, metric.description, metric.unit, metric.data.aggregation_temporality, points


def observe(instruments: Instruments, context: Context) -> None:
    for value in VALUES:
        instruments.observe(Name.STAGE_DURATION, value, stage="bias")
        instruments.observe(Name.PROCESSING_DURATION, value, context, outcome="published")
    instruments.observe(Name.PROCESSING_DURATION, 0.3, context, outcome="refused")
    instruments.observe(Name.COMMIT_DURATION, 0.3)


def exemplars(collection: MetricsData) -> list[Exemplar]:
    return [
        exemplar
        for metric in histograms(collection).values()
        for point in metric.data.data_points
        if isinstance(point, HistogramDataPoint)
        for exemplar in point.exemplars
    ]


def sampled() -> Context:
    return set_span_in_context(TracerProvider(shutdown_on_exit=False).get_tracer("test").start_span("ours"))


def test_what_is_exported_is_what_the_sdk_exports(kept: Kept, telemetry: Telemetry) -> None:
    reader, context = InMemoryMetricReader(), sampled()
    observe(Instruments(MeterProvider([reader], shutdown_on_exit=False).get_meter("test")), context)
    observe(telemetry.instruments, context)
    telemetry.flush()
    theirs = reader.get_metrics_data()
    assert theirs is not None
    ours = histograms(kept.collections[-1])
    assert [spelt(metric) for metric in ours.values()] == [spelt(metric) for metric in histograms(theirs).values()]
    assert len(ours) == 3


def test_histograms_come_with_the_counters_of_their_scope(kept: Kept, telemetry: Telemetry) -> None:
    observe(telemetry.instruments, Context())
    telemetry.flush()
    (resource,) = kept.collections[-1].resource_metrics
    (scope,) = resource.scope_metrics
    names = {metric.name for metric in scope.metrics}
    assert {Name.STAGE_DURATION, Name.FAIL_CLOSED, Name.BUILD_INFO} <= names
    assert {name for name in names if NAMES[name].kind == "histogram"} == set(histograms(kept.collections[-1]))


def test_values_add_up_over_collections_and_an_exemplar_is_exported_once(kept: Kept, telemetry: Telemetry) -> None:
    telemetry.instruments.observe(Name.COMMIT_DURATION, 0.3, sampled())
    telemetry.flush()
    telemetry.instruments.observe(Name.COMMIT_DURATION, 0.4)
    telemetry.flush()
    first, second = kept.collections[-2:]
    (point,) = histograms(second)[Name.COMMIT_DURATION].data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert (point.count, point.min, point.max) == (2, 0.3, 0.4)
    assert (len(exemplars(first)), len(exemplars(second))) == (1, 0)
    (before,) = histograms(first)[Name.COMMIT_DURATION].data.data_points
    assert before.start_time_unix_nano == point.start_time_unix_nano < before.time_unix_nano < point.time_unix_nano


def test_an_unsampled_span_is_no_exemplar(kept: Kept, telemetry: Telemetry) -> None:
    unsampled = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test").start_span("left out")
    telemetry.instruments.observe(Name.COMMIT_DURATION, 0.3, set_span_in_context(unsampled))
    telemetry.flush()
    assert not exemplars(kept.collections[-1])


def test_what_is_recorded_last_is_exported_at_the_end(kept: Kept) -> None:
    started = start_telemetry(TelemetrySettings(export_interval_s=3600), "ingress", 0, metric_exporters=[kept])
    started.instruments.observe(Name.COMMIT_DURATION, 0.3)
    assert started.shutdown(10)
    assert Name.COMMIT_DURATION in histograms(kept.collections[-1])


def test_open_labels_cannot_grow_without_bound() -> None:
    held = Histograms()
    instruments = Instruments(MeterProvider(shutdown_on_exit=False).get_meter("test"), held.recorder_of)
    for index in range(SERIES_MAX + 50):
        instruments.observe(Name.LLM_REQUEST_DURATION, 1.0, model=f"m{index}", role="judge", outcome="ok")
    (metric,) = held.collect(0, 1)
    points = {str((point.attributes or {})["model"]): point for point in metric.data.data_points}
    other = points[OTHER]
    assert len(points) == SERIES_MAX + 1
    assert isinstance(other, HistogramDataPoint)
    assert other.count == 50


def test_values_of_many_threads_add_up() -> None:
    held = Histograms()
    instruments = Instruments(MeterProvider(shutdown_on_exit=False).get_meter("test"), held.recorder_of)

    def work() -> None:
        for _ in range(2_000):
            instruments.observe(Name.COMMIT_DURATION, SECONDS_BUCKETS[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    (metric,) = held.collect(0, 1)
    (point,) = metric.data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert point.count == 8_000
