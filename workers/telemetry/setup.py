"""One process's traces and metrics: OpenTelemetry providers made from settings, never installed globally.

With telemetry off, or without an endpoint, tracing costs almost nothing, and an incoming trace context is passed on
unchanged. An exporter that is down or hangs delays no event: spans wait in a bounded queue, and those beyond its bound
are dropped and counted in `sluicegate_telemetry_dropped_total`.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import NoOpTracer, Tracer

from topology.contract.names import SERVICE, LlmRole
from topology.telemetry.instruments import Instruments
from topology.telemetry.metrics import Metric
from topology.telemetry.options import SpanStyle, TracingOptions
from topology.telemetry.span_names import EXPERIMENTAL_OPT_IN, SCHEMA_URL, ChatTarget
from topology.telemetry.tracing import LINKS_MAX, Tracing
from workers.settings import RedactionSettings, Settings, TelemetrySettings
from workers.telemetry.convention_metrics import ConventionMetrics
from workers.telemetry.exporting import BoundedSpanProcessor, CountingMetricExporter, metric_exporter, span_exporter
from workers.telemetry.histograms import HistogramExporter, Histograms
from workers.telemetry.openmetrics import Family, families
from workers.telemetry.sampling import EventIds, EventSampler

ATTRIBUTE_CHARACTERS_MAX: Final = 32_768
"""Longest attribute value; only captured content comes near it."""
ROLE_ATTRIBUTE: Final = "sluicegate.role"
SLOT_ATTRIBUTE: Final = "sluicegate.slot"
TELEMETRY_STOP_S: Final = 5.0
"""The longest wait for the last export, when a process ends."""
STABILITY_OPT_IN: Final = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""OpenTelemetry's own variable for conventions that are not stable yet: names separated by commas."""


class Telemetry:
    """A process's tracer and instruments. Call `shutdown` once, at the end."""

    def __init__(
        self,
        tracer: Tracer,
        meter: Meter,
        *,
        tracers: TracerProvider | None = None,
        meters: MeterProvider | None = None,
        pulled: "Pulled | None" = None,
    ) -> None:
        self.tracer = tracer
        self.instruments = Instruments(meter, pulled.histograms.recorder_of if pulled else None)
        self._tracers = tracers
        self._meters = meters
        self._pulled = pulled

    def families(self) -> list[Family]:
        """Return every metric as it stands now; none with telemetry off. Thread-safe."""
        return self._pulled.families() if self._pulled else []

    def tracing(self, settings: Settings) -> Tracing:
        """Return the tracing of events for the pipeline and the loop."""
        style = SpanStyle(
            content=_redacted(settings.redaction) if settings.telemetry.capture_content else None,
            with_guardrail_results=EXPERIMENTAL_OPT_IN in _opted_in(),
            with_openinference=settings.telemetry.openinference,
        )
        options = TracingOptions(
            tracer=self.tracer,
            relationship=settings.telemetry.consume_relationship,
            group=settings.kafka.group_id,
            chats=_chat_targets(settings),
            style=style,
        )
        return Tracing(options)

    def flush(self) -> None:
        """Export everything held now, for commands that end soon; blocks as long as the exporters take."""
        if self._tracers is not None:
            self._tracers.force_flush()
        if self._meters is not None:
            self._meters.force_flush()

    def shutdown(self, timeout_s: float) -> bool:
        """Export everything held, for at most `timeout_s`; return False if that was too short and the rest is lost."""
        ending = threading.Thread(target=self._end, name="telemetry-shutdown", daemon=True)
        ending.start()
        ending.join(timeout_s)
        return not ending.is_alive()

    def _end(self) -> None:
        if self._tracers is not None:
            self._tracers.shutdown()
        if self._meters is not None:
            self._meters.shutdown()


class Pulled:
    """A process's metrics on demand: they are collected when asked for, and cost nothing before."""

    def __init__(self, reader: InMemoryMetricReader, histograms: Histograms, process: str) -> None:
        self.reader = reader
        self.histograms = histograms
        self._process = process

    def families(self) -> list[Family]:
        """Return every metric as it stands now."""
        return families(self.reader.get_metrics_data(), self.histograms.collect(0, time.time_ns()), self._process)


def start_telemetry(
    settings: TelemetrySettings,
    role: str,
    slot: int | None = None,
    *,
    span_processors: Sequence[SpanProcessor] = (),
    metric_exporters: Sequence[MetricExporter] = (),
) -> Telemetry:
    """Start the telemetry of a process that plays `role`; `slot` is None if the role has none.

    Tests add `span_processors` and `metric_exporters` of their own to those of the endpoint.
    It starts threads but opens no connection yet, so an endpoint that is down raises no error.
    """
    if not settings.enabled:
        return Telemetry(NoOpTracer(), NoOpMeter(SERVICE))
    resource = _resource(settings, role, slot)
    exporters = list(metric_exporters)
    dropped = _Dropped()
    if settings.endpoint and settings.push_metrics:
        counting = CountingMetricExporter(metric_exporter(settings), dropped.metrics)
        exporters.append(ConventionMetrics(counting, _opted_in()))
    histograms = Histograms()
    pulled = Pulled(InMemoryMetricReader(), histograms, _place(role, slot))
    readers: list[MetricReader] = [
        PeriodicExportingMetricReader(
            HistogramExporter(exporter, histograms, SERVICE),
            settings.export_interval_s * 1000,
            min(settings.export_timeout_s, 60) * 1000,
        )
        for exporter in exporters
    ]
    meters = MeterProvider([*readers, pulled.reader], resource=resource, shutdown_on_exit=False)
    tracers = _tracers(settings, resource, span_processors, dropped)
    tracer = NoOpTracer() if tracers is None else tracers.get_tracer(SERVICE, own_version(), schema_url=SCHEMA_URL)
    meter = meters.get_meter(SERVICE, own_version())
    telemetry = Telemetry(tracer, meter, tracers=tracers, meters=meters, pulled=pulled)
    telemetry.instruments.gauge_set(Metric.BUILD_INFO, 1, version=own_version(), role=role)
    dropped.count_in(telemetry.instruments)
    return telemetry


def _tracers(
    settings: TelemetrySettings, resource: Resource, processors: Sequence[SpanProcessor], dropped: "_Dropped"
) -> TracerProvider | None:
    """Make the provider of spans; None if nothing would receive them."""
    if not settings.endpoint and not processors:
        return None
    provider = TracerProvider(
        sampler=EventSampler(1.0 if settings.preset == "full" else settings.ratio),
        resource=resource,
        shutdown_on_exit=False,
        id_generator=EventIds(),
        span_limits=SpanLimits(max_links=LINKS_MAX, max_attribute_length=ATTRIBUTE_CHARACTERS_MAX),
    )
    for processor in processors:
        provider.add_span_processor(processor)
    if settings.endpoint:
        bounded = BoundedSpanProcessor(span_exporter(settings), settings.queue_max, dropped.spans)
        provider.add_span_processor(bounded)
    return provider


class _Dropped:
    """The count of lost spans and metrics. Losses before `count_in` are not counted."""

    def __init__(self) -> None:
        self._instruments: Instruments | None = None

    def count_in(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def spans(self, count: int) -> None:
        if self._instruments is not None:
            self._instruments.count(Metric.TELEMETRY_DROPPED, count, signal="spans")

    def metrics(self, count: int) -> None:
        if self._instruments is not None:
            self._instruments.count(Metric.TELEMETRY_DROPPED, count, signal="metrics")


def _resource(settings: TelemetrySettings, role: str, slot: int | None) -> Resource:
    """Describe this process. `OTEL_RESOURCE_ATTRIBUTES` adds to it, such as the attributes of Kubernetes."""
    known: dict[str, str | int] = {
        "service.name": settings.service_name,
        "service.version": own_version(),
        "service.instance.id": f"{socket.gethostname()}-{_place(role, slot)}-{os.getpid()}",
        ROLE_ATTRIBUTE: role,
    }
    if slot is not None:
        known[SLOT_ATTRIBUTE] = slot
    if settings.environment:
        known["deployment.environment.name"] = settings.environment
    return Resource.create(known, schema_url=SCHEMA_URL)


def _place(role: str, slot: int | None) -> str:
    return role if slot is None else f"{role}-{slot}"


def _opted_in() -> list[str]:
    return os.environ.get(STABILITY_OPT_IN, "").split(",")


def _redacted(redaction: RedactionSettings) -> Callable[[str], str]:
    """Return a function that redacts personal data as the audit record does. Loads the patterns."""
    from serving.personal_data.names import names_recognizer
    from serving.personal_data.redaction import Redactor

    names = names_recognizer(redaction.names_models)
    redactor = Redactor(lambda _text: "", region=redaction.default_region, names=names)
    return lambda text: redactor.redact(text).redacted


def _chat_targets(settings: Settings) -> dict[str, ChatTarget]:
    generator = _target(settings.generation.model, settings.generation.base_url)
    judge = _target(settings.guard.judge_model, settings.guard.judge_base_url)
    return {LlmRole.GENERATOR.value: generator, LlmRole.JUDGE.value: judge, LlmRole.LABELER.value: judge}


def _target(model: str, url: str) -> ChatTarget:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    return ChatTarget(model=model, server_address=parts.hostname or "", server_port=port)


def own_version() -> str:
    """Return the version of this installation."""
    try:
        return version(SERVICE)
    except PackageNotFoundError:
        return "unknown"  # a source tree that is not installed
