"""OTLP exporters that count lost spans and metrics, and the bounded queue in front of the span exporter."""

import threading
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import unquote

from opentelemetry.context import Context
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from workers.settings import TelemetrySettings

SCHEDULE_DELAY_MS: Final = 1_000
"""Longest time that a span waits for its batch."""
BATCH_SPANS_MAX: Final = 512

Dropped = Callable[[int], None]
"""A function that is told how many items were lost; it is called from any thread."""


class BoundedSpanProcessor(SpanProcessor):
    """A queue of at most `queue_max` ended spans, including the batch being exported. Further spans are dropped.

    Ending a span never waits for the exporter. The SDK's own queue would drop the oldest spans and count none.
    """

    def __init__(self, exporter: SpanExporter, queue_max: int, dropped: Dropped) -> None:
        self._queue_max = queue_max
        self._dropped = dropped
        self._lock = threading.Lock()
        self._held = 0
        self._batches = BatchSpanProcessor(
            _CountingSpanExporter(exporter, dropped, self._release),
            max_queue_size=queue_max,
            schedule_delay_millis=SCHEDULE_DELAY_MS,
            max_export_batch_size=min(BATCH_SPANS_MAX, queue_max),
        )

    @property
    def held_count(self) -> int:
        """Return the number of spans that wait for export or are being exported."""
        return self._held

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Do nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a sampled span, or count it as dropped."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        with self._lock:
            is_full = self._held >= self._queue_max
            self._held += 0 if is_full else 1
        if is_full:
            self._dropped(1)
        else:
            self._batches.on_end(span)

    def shutdown(self) -> None:
        """Export the spans held, however long the exporter takes."""
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export the spans held now."""
        return self._batches.force_flush(timeout_millis)

    def _release(self, count: int) -> None:
        with self._lock:
            self._held -= count


class _CountingSpanExporter(SpanExporter):
    def __init__(self, inner: SpanExporter, dropped: Dropped, released: Dropped) -> None:
        self._inner = inner
        self._dropped = dropped
        self._released = released

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            self._released(len(spans))
            if result is not SpanExportResult.SUCCESS:
                self._dropped(len(spans))
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


class CountingMetricExporter(MetricExporter):
    """An exporter that counts failed pushes of metrics. The values are cumulative, so the next push repeats them."""

    def __init__(self, inner: MetricExporter, dropped: Dropped) -> None:
        super().__init__()
        self._inner = inner
        self._dropped = dropped

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        """Push one collection."""
        result = MetricExportResult.FAILURE
        try:
            result = self._inner.export(metrics_data, timeout_millis)
        finally:
            if result is not MetricExportResult.SUCCESS:
                self._dropped(1)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the inner exporter; nothing is buffered here."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Refuse further exports."""
        self._inner.shutdown(timeout_millis)


def span_exporter(settings: TelemetrySettings) -> SpanExporter:
    """Make the OTLP exporter for spans. It connects on first use."""
    from workers.telemetry.otlp_exporters import GrpcSpanExporter, HttpSpanExporter

    if settings.protocol == "grpc":
        return GrpcSpanExporter(
            endpoint=settings.endpoint,
            insecure=settings.endpoint.startswith("http://"),
            headers=header_pairs(settings),
            timeout=settings.export_timeout_s,
        )
    from opentelemetry.exporter.otlp.proto.http import Compression

    return HttpSpanExporter(
        endpoint=settings.endpoint.rstrip("/") + "/v1/traces",
        headers=dict(header_pairs(settings)),
        timeout=settings.export_timeout_s,
        compression=Compression.Gzip,
    )


def metric_exporter(settings: TelemetrySettings) -> MetricExporter:
    """Make the OTLP exporter for metrics. It connects on first use."""
    if settings.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import metric_exporter as grpc

        return grpc.OTLPMetricExporter(
            endpoint=settings.endpoint,
            insecure=settings.endpoint.startswith("http://"),
            headers=header_pairs(settings),
            timeout=settings.export_timeout_s,
        )
    from opentelemetry.exporter.otlp.proto.http import Compression, metric_exporter

    return metric_exporter.OTLPMetricExporter(
        endpoint=settings.endpoint.rstrip("/") + "/v1/metrics",
        headers=dict(header_pairs(settings)),
        timeout=settings.export_timeout_s,
        compression=Compression.Gzip,
    )


def header_pairs(settings: TelemetrySettings) -> tuple[tuple[str, str], ...]:
    """Split `name=value,name=value` into pairs, with names in lower case, as gRPC requires.

    Values are percent-encoded, as in `OTEL_EXPORTER_OTLP_HEADERS`.
    """
    items = (item.partition("=") for item in settings.headers.reveal().split(",") if item.strip())
    return tuple((name.strip().lower(), unquote(value.strip())) for name, _, value in items)
