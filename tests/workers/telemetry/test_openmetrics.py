"""Metrics of several processes on one page, read back by Prometheus' own parser."""

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from topology.telemetry.metrics import METRICS, Metric
from workers.settings import TelemetrySettings
from workers.telemetry.openmetrics import Family, page
from workers.telemetry.setup import Telemetry, start_telemetry

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


def process(role: str, slot: int | None = None) -> Telemetry:
    return start_telemetry(TelemetrySettings(), role, slot)


def parsed(families: list[Family]) -> dict[str, list[tuple[str, dict[str, str], float, object]]]:
    body, content_type = page(families, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    return {
        family.name: [(each.name, dict(each.labels), each.value, each.exemplar) for each in family.samples]
        for family in text_string_to_metric_families(body.decode())
    }


def test_the_same_metric_of_two_processes_is_one_family_with_a_series_each() -> None:
    first, second = process("ingress", 0), process("ingress", 1)
    first.instruments.count(Metric.EVENTS_CONSUMED, 3, topic="in")
    second.instruments.count(Metric.EVENTS_CONSUMED, 4, topic="in")
    read = parsed([*first.families(), *second.families()])
    samples = {labels["process"]: value for _, labels, value, _ in read["sluicegate_events_consumed"]}
    assert samples == {"ingress-0": 3, "ingress-1": 4}


def test_a_histogram_keeps_its_count_its_sum_and_the_trace_of_a_sampled_event() -> None:
    telemetry = process("ingress", 0)
    span = TracerProvider().get_tracer("test").start_span("event")
    telemetry.instruments.observe(Metric.EVENT_DURATION, 0.3, set_span_in_context(span), outcome="published")
    telemetry.instruments.observe(Metric.EVENT_DURATION, 7.0, outcome="published")
    samples = parsed(telemetry.families())["sluicegate_event_duration_seconds"]
    by_bound = {labels["le"]: (value, exemplar) for name, labels, value, exemplar in samples if "le" in labels}
    assert by_bound["0.25"][0] == 0
    assert by_bound["0.5"][0] == 1
    assert by_bound["+Inf"][0] == 2
    exemplar = by_bound["0.5"][1]
    assert f"{span.get_span_context().trace_id:032x}" in str(exemplar)
    assert {name: value for name, _, value, _ in samples if name.endswith(("_count", "_sum"))} == {
        "sluicegate_event_duration_seconds_count": 2,
        "sluicegate_event_duration_seconds_sum": 7.3,
    }


def test_whoever_asks_for_plain_text_gets_it_without_exemplars() -> None:
    telemetry = process("supervisor")
    body, content_type = page(telemetry.families(), "text/plain")
    assert content_type.startswith("text/plain")
    assert b'sluicegate_build_info{process="supervisor",role="supervisor"' in body


def test_every_metric_that_starts_at_zero_is_there_before_the_first_event() -> None:
    exposed = {family.name for family in process("ingress", 0).families() if family.points}
    assert {spec.name.value for spec in METRICS if spec.zeros} <= exposed


def test_telemetry_that_is_off_has_nothing_to_show() -> None:
    assert start_telemetry(TelemetrySettings(enabled=False), "ingress").families() == []
