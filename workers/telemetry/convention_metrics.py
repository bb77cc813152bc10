"""Copies of some metrics under OpenTelemetry's own names, for dashboards that know only those.

They are pushed, never on the Prometheus page, and only if `OTEL_SEMCONV_STABILITY_OPT_IN` names the conventions, which
are not stable yet. They are made when metrics are exported, so an event pays nothing for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from msgspec import Struct
from opentelemetry.sdk.metrics.export import (
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ScopeMetrics,
    Sum,
)

from topology.contract.labels import Outcome
from topology.telemetry.metrics import Metric as Name
from topology.telemetry.span_names import CHAT, EXPERIMENTAL_OPT_IN, PROVIDER, SYSTEM, Attribute

MESSAGING_OPT_IN: Final = "messaging"
_MESSAGING: Final = {Attribute.MESSAGING_SYSTEM.value: SYSTEM}
_GENERATION: Final = {Attribute.GEN_AI_OPERATION.value: CHAT, Attribute.GEN_AI_PROVIDER.value: PROVIDER}


class Copy(Struct, frozen=True, kw_only=True):
    """One metric under another name: its labels renamed by `labels`, `always` added.

    Where it has `only`, its points with those labels alone, without them.
    """

    opt_in: str
    source: Name
    name: str
    unit: str
    labels: Mapping[str, Attribute]
    always: Mapping[str, str]
    only: Mapping[str, str] = {}


def _operation(name: str) -> dict[str, str]:
    return {**_MESSAGING, Attribute.MESSAGING_OPERATION_NAME.value: name}


def _tokens(source: Name, name: str, kind: str) -> Copy:
    return Copy(
        opt_in=EXPERIMENTAL_OPT_IN,
        source=source,
        name=name,
        unit="{token}",
        labels={"model": Attribute.GEN_AI_REQUEST_MODEL},
        always=_GENERATION,
        only={"kind": kind},
    )


COPIES: Final = (
    Copy(
        opt_in=MESSAGING_OPT_IN,
        source=Name.PROCESSING_DURATION,
        name="messaging.process.duration",
        unit="s",
        labels={"outcome": Attribute.ACTION},
        always=_operation("process"),
    ),
    Copy(
        opt_in=MESSAGING_OPT_IN,
        source=Name.COMMIT_DURATION,
        name="messaging.client.operation.duration",
        unit="s",
        labels={},
        always=_operation("commit"),
    ),
    Copy(
        opt_in=MESSAGING_OPT_IN,
        source=Name.EVENTS_CONSUMED,
        name="messaging.client.consumed.messages",
        unit="{message}",
        labels={"topic": Attribute.MESSAGING_DESTINATION},
        always=_operation("poll"),
    ),
    Copy(
        opt_in=MESSAGING_OPT_IN,
        source=Name.EVENTS_PUBLISHED,
        name="messaging.client.sent.messages",
        unit="{message}",
        labels={"topic": Attribute.MESSAGING_DESTINATION},
        always=_operation("send"),
    ),
    Copy(
        opt_in=EXPERIMENTAL_OPT_IN,
        source=Name.LLM_REQUEST_DURATION,
        name="gen_ai.client.inference.duration",
        unit="s",
        labels={"model": Attribute.GEN_AI_REQUEST_MODEL, "role": Attribute.ROLE, "outcome": Attribute.ERROR_TYPE},
        always=_GENERATION,
    ),
    *(_tokens(Name.LLM_TOKENS, f"gen_ai.client.inference.usage.{kind}_tokens", kind) for kind in ("input", "output")),
    *(
        _tokens(Name.LLM_REQUEST_TOKENS, f"gen_ai.client.inference.operation.{kind}_tokens", kind)
        for kind in ("input", "output")
    ),
)
"""Every copy. An outcome that is not an error has no `error.type`."""


class ConventionMetrics(MetricExporter):
    """An exporter that adds to a collection the copies of those conventions that `opted_in` names."""

    def __init__(self, inner: MetricExporter, opted_in: Sequence[str]) -> None:
        super().__init__()
        self._inner = inner
        self._copies: dict[str, list[Copy]] = {}
        for copy in COPIES:
            if copy.opt_in in opted_in:
                self._copies.setdefault(copy.source.value, []).append(copy)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        """Pass on one collection."""
        return self._inner.export(self._added(metrics_data), timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Flush the inner exporter."""
        return self._inner.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Shut the inner exporter down."""
        self._inner.shutdown(timeout_millis, **kwargs)

    def _added(self, data: MetricsData) -> MetricsData:
        return MetricsData(
            resource_metrics=[
                replace(resource, scope_metrics=[self._scope(scope) for scope in resource.scope_metrics])
                for resource in data.resource_metrics
            ]
        )

    def _scope(self, scope: ScopeMetrics) -> ScopeMetrics:
        copied = [_copied(metric, copy) for metric in scope.metrics for copy in self._copies.get(metric.name, ())]
        return replace(scope, metrics=[*scope.metrics, *copied])


def _copied(metric: Metric, copy: Copy) -> Metric:
    data = metric.data
    if isinstance(data, Histogram):
        data = replace(
            data, data_points=[_relabelled(point, copy) for point in data.data_points if _is_of(point, copy)]
        )
    elif isinstance(data, Sum):
        counts = [point for point in data.data_points if _is_of(point, copy)]
        data = replace(data, data_points=[_counted(point, copy) for point in counts])
    return replace(metric, name=copy.name, unit=copy.unit, data=data)


def _is_of(point: HistogramDataPoint | NumberDataPoint, copy: Copy) -> bool:
    return copy.only.items() <= (point.attributes or {}).items()


def _relabelled(point: HistogramDataPoint, copy: Copy) -> HistogramDataPoint:
    return replace(point, attributes=_attributes(point.attributes or {}, copy))


def _counted(point: NumberDataPoint, copy: Copy) -> NumberDataPoint:
    return replace(point, attributes=_attributes(point.attributes or {}, copy))


def _attributes(labels: Mapping[str, object], copy: Copy) -> dict[str, str]:
    renamed = {new.value: str(labels[old]) for old, new in copy.labels.items()}
    if renamed.get(Attribute.ERROR_TYPE) == Outcome.OK.value:
        del renamed[Attribute.ERROR_TYPE]
    return {**copy.always, **renamed}
