"""The metrics of several processes on one page for Prometheus, with the exemplars of OpenTelemetry's SDK.

Each process returns its `Family`s, plain data that can cross processes; `page` joins them. The label `process`
distinguishes the same series of two processes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

from msgspec import Struct
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

PROCESS_LABEL: Final = "process"

Kind = Literal["counter", "gauge", "histogram"]


class Bucket(Struct, frozen=True, array_like=True):
    """The count of observations up to `bound`, smaller buckets included. The exemplar's time is Unix epoch seconds."""

    bound: float
    count: int
    trace_id: str = ""
    span_id: str = ""
    value: float = 0.0
    time_s: float = 0.0


class Point(Struct, frozen=True, array_like=True):
    """One label set: the value of a counter or gauge, or the sum and buckets of a histogram; the last is unbounded."""

    labels: dict[str, str]
    value: float
    buckets: tuple[Bucket, ...] = ()


class Family(Struct, frozen=True, kw_only=True):
    """One metric of one process."""

    name: str
    kind: Kind
    help: str
    points: tuple[Point, ...]


Page = tuple[bytes, str]
"""Body and content type."""


def families(data: MetricsData | None, further: Iterable[Metric], process: str) -> list[Family]:
    """Convert the SDK's collection and `further` metrics, with the label `process` on every point."""
    collected = [
        metric
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    return [family for metric in (*collected, *further) if (family := _family(metric, process)) is not None]


def page(all_families: Iterable[Family], accept: str) -> Page:
    """Return the page in the format that a scrape's `Accept` header asks for; only OpenMetrics carries exemplars."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # prometheus_client 0.26 compares a version that is no number with numbers
        encode, content_type = choose_encoder("")
    return encode(_Joined(all_families)), content_type


def _family(metric: Metric, process: str) -> Family | None:
    match metric.data:
        case Sum(data_points=points):
            return _made(metric, "counter", [_number(point, process) for point in points])
        case Gauge(data_points=points):
            return _made(metric, "gauge", [_number(point, process) for point in points])
        case Histogram(data_points=points):
            return _made(metric, "histogram", [_histogram(point, process) for point in points])
        case _:
            return None  # exponential histograms, which this project does not make


def _made(metric: Metric, kind: Kind, points: Sequence[Point]) -> Family:
    return Family(name=metric.name, kind=kind, help=metric.description or "", points=tuple(points))


def _labels(point: NumberDataPoint | HistogramDataPoint, process: str) -> dict[str, str]:
    return {**{name: str(value) for name, value in (point.attributes or {}).items()}, PROCESS_LABEL: process}


def _number(point: NumberDataPoint, process: str) -> Point:
    return Point(_labels(point, process), point.value)


def _histogram(point: HistogramDataPoint, process: str) -> Point:
    bounds = (*point.explicit_bounds, float("inf"))
    buckets: list[Bucket] = []
    count, lower = 0, float("-inf")
    for bound, held in zip(bounds, point.bucket_counts, strict=True):
        count += held
        exemplar = next((each for each in point.exemplars if lower < each.value <= bound), None)
        if exemplar is None or exemplar.trace_id is None or exemplar.span_id is None:
            buckets.append(Bucket(bound, count))
        else:
            traced = (f"{exemplar.trace_id:032x}", f"{exemplar.span_id:016x}")
            buckets.append(Bucket(bound, count, *traced, exemplar.value, exemplar.time_unix_nano / 1e9))
        lower = bound
    return Point(_labels(point, process), point.sum, tuple(buckets))


class _Joined(Collector):
    """The families of several processes, joined by name."""

    def __init__(self, all_families: Iterable[Family]) -> None:
        self._by_name: dict[str, list[Family]] = {}
        for family in all_families:
            self._by_name.setdefault(family.name, []).append(family)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        for name in sorted(self._by_name):
            yield _exposed(self._by_name[name])


def _exposed(same: Sequence[Family]) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    first = same[0]
    points = [point for family in same for point in family.points]
    names = sorted({label for point in points for label in point.labels})
    if first.kind == "histogram":
        histogram = HistogramMetricFamily(first.name, first.help, labels=names)
        for point in points:
            histogram.add_metric(_values(point, names), [_bucket(bucket) for bucket in point.buckets], point.value)
        return histogram
    made = (CounterMetricFamily if first.kind == "counter" else GaugeMetricFamily)(first.name, first.help, labels=names)
    for point in points:
        made.add_metric(_values(point, names), point.value)
    return made


def _values(point: Point, names: Sequence[str]) -> list[str]:
    return [point.labels.get(name, "") for name in names]


def _bucket(bucket: Bucket) -> tuple[str, float] | tuple[str, float, Exemplar]:
    bound = "+Inf" if bucket.bound == float("inf") else str(bucket.bound)
    if not bucket.trace_id:
        return bound, bucket.count
    traced = {"trace_id": bucket.trace_id, "span_id": bucket.span_id}
    return bound, bucket.count, Exemplar(traced, bucket.value, bucket.time_s)
