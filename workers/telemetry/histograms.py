"""Histograms that are counted here and handed to the SDK when they are exported.

The export is the same as that of the SDK's own instrument: explicit buckets, cumulative, and for each bucket the last
value under a sampled span as exemplar. Recording a value is several times cheaper, and an event records six
(docs/adr/0017-hand-written-hot-paths.md).
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    ScopeMetrics,
)
from opentelemetry.trace import get_current_span

from topology.telemetry.instruments import Recorder
from topology.telemetry.metrics import MetricSpec

NowNs = Callable[[], int]
"""A function that returns wall-clock nanoseconds."""

NEW_MAX = 256
"""Most values of one label set that wait to be sorted into buckets."""


class Histograms:
    """The histograms of one process. Thread-safe."""

    def __init__(self, now_ns: NowNs = time.time_ns) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._series: dict[str, tuple[MetricSpec, list[_Series]]] = {}

    def recorder_of(self, spec: MetricSpec, attributes: dict[str, str]) -> Recorder:
        """Make the recorder of one label set, as `RecorderOf` asks."""
        made = _Series(attributes, spec.buckets, self._now_ns)
        with self._lock:
            self._series.setdefault(spec.name, (spec, []))[1].append(made)
        return made.record

    def collect(self, since_ns: int, now_ns: int) -> list[Metric]:
        """Return every metric as it stands, with the exemplars recorded since `since_ns`."""
        with self._lock:
            families = [(spec, list(series)) for spec, series in self._series.values()]
        return [
            Metric(
                name=spec.name,
                description=spec.help,
                unit=spec.unit,
                data=Histogram(
                    data_points=[each.point(since_ns, now_ns) for each in series],
                    aggregation_temporality=AggregationTemporality.CUMULATIVE,
                ),
            )
            for spec, series in families
        ]


class _Series:
    """One label set of one histogram. New values wait in a list without a lock and are sorted in many at a time."""

    def __init__(self, attributes: dict[str, str], bounds: tuple[float, ...], now_ns: NowNs) -> None:
        self._attributes = attributes
        self._bounds = bounds
        self._now_ns = now_ns
        self._started_ns = now_ns()
        self._lock = threading.Lock()
        self._new: list[float] = []
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._min = inf
        self._max = -inf
        self._exemplars: dict[int, Exemplar] = {}

    def record(self, value: float, context: Context | None) -> None:
        self._new.append(value)
        if context is not None:
            self._sample(value, context)
        if len(self._new) >= NEW_MAX:
            self._sort_in()

    def point(self, since_ns: int, now_ns: int) -> HistogramDataPoint:
        self._sort_in()
        with self._lock:
            counts, total, least, most = tuple(self._counts), self._sum, self._min, self._max
            exemplars = [each for _, each in sorted(self._exemplars.items())]
        return HistogramDataPoint(
            attributes=self._attributes,
            start_time_unix_nano=self._started_ns,
            time_unix_nano=now_ns,
            count=sum(counts),
            sum=total,
            bucket_counts=counts,
            explicit_bounds=self._bounds,
            min=least,
            max=most,
            exemplars=[each for each in exemplars if each.time_unix_nano >= since_ns],
        )

    def _sort_in(self) -> None:
        with self._lock:
            new = self._new[:]
            del self._new[: len(new)]  # keep the list object: another thread may append to it meanwhile
            for value in new:
                self._counts[self._bucket(value)] += 1
            self._sum = sum(new, self._sum)
            self._min, self._max = min([self._min, *new]), max([self._max, *new])

    def _bucket(self, value: float) -> int:
        return bisect_left(self._bounds, value)  # a value equal to a bound belongs to the bucket below it

    def _sample(self, value: float, context: Context) -> None:
        span = get_current_span(context).get_span_context()
        if span.trace_flags.sampled:
            exemplar = Exemplar({}, value, self._now_ns(), span.span_id, span.trace_id)
            with self._lock:
                self._exemplars[self._bucket(value)] = exemplar


class HistogramExporter(MetricExporter):
    """An exporter that adds the histograms to a collection, as part of the scope `scope_name`."""

    def __init__(
        self, inner: MetricExporter, histograms: Histograms, scope_name: str, now_ns: NowNs = time.time_ns
    ) -> None:
        super().__init__()
        self._inner = inner
        self._histograms = histograms
        self._scope_name = scope_name
        self._now_ns = now_ns
        self._exported_ns = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        """Export one collection with the histograms added."""
        now_ns = self._now_ns()
        metrics = self._histograms.collect(self._exported_ns, now_ns)
        self._exported_ns = now_ns
        return self._inner.export(self._added(metrics_data, metrics), timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the inner exporter."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Shut the inner exporter down."""
        self._inner.shutdown(timeout_millis, **kwargs)

    def _added(self, metrics_data: MetricsData, metrics: Sequence[Metric]) -> MetricsData:
        return MetricsData(
            resource_metrics=[
                replace(resource, scope_metrics=[self._scope(scope, metrics) for scope in resource.scope_metrics])
                for resource in metrics_data.resource_metrics
            ]
        )

    def _scope(self, scope: ScopeMetrics, metrics: Sequence[Metric]) -> ScopeMetrics:
        if scope.scope.name != self._scope_name:
            return scope
        return replace(scope, metrics=[*scope.metrics, *metrics])
