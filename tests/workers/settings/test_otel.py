"""OpenTelemetry's own variables: each is followed, or refused by its name; a settings file is stronger."""

from pathlib import Path

import pytest
from msgspec import structs

from workers.settings import InvalidSettings, TelemetrySettings, load_settings
from workers.telemetry.exporting import header_pairs

OTLP = "OTEL_EXPORTER_OTLP_"


def loaded(**variables: str) -> TelemetrySettings:
    return load_settings(None, variables).telemetry


def changed(**variables: str) -> dict[str, object]:
    """The settings of telemetry that differ from the defaults."""
    default = structs.asdict(TelemetrySettings())
    return {name: value for name, value in structs.asdict(loaded(**variables)).items() if value != default[name]}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({f"{OTLP}ENDPOINT": "http://collector:4318"}, {"endpoint": "http://collector:4318"}),
        (
            {f"{OTLP}ENDPOINT": "collector:4317", f"{OTLP}PROTOCOL": "grpc"},
            {"endpoint": "http://collector:4317", "protocol": "grpc"},
        ),
        ({f"{OTLP}PROTOCOL": "http/protobuf"}, {}),
        ({f"{OTLP}TRACES_PROTOCOL": "grpc", f"{OTLP}METRICS_PROTOCOL": "grpc"}, {"protocol": "grpc"}),
        (
            {
                f"{OTLP}TRACES_ENDPOINT": "https://c/otlp/v1/traces",
                f"{OTLP}METRICS_ENDPOINT": "https://c/otlp/v1/metrics",
            },
            {"endpoint": "https://c/otlp"},
        ),
        ({f"{OTLP}TRACES_ENDPOINT": "http://c:4318/v1/traces"}, {"endpoint": "http://c:4318", "push_metrics": False}),
        (
            {f"{OTLP}ENDPOINT": "http://c:4318", f"{OTLP}TRACES_ENDPOINT": "http://c:4318/v1/traces"},
            {"endpoint": "http://c:4318"},
        ),
        ({"OTEL_SERVICE_NAME": "guard"}, {"service_name": "guard"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a%20b,deployment.environment.name=prod,k8s.pod.name=p"},
            {"service_name": "a b", "environment": "prod"},
        ),
        ({"OTEL_SERVICE_NAME": "guard", "OTEL_RESOURCE_ATTRIBUTES": "service.name=other"}, {"service_name": "guard"}),
        (
            {f"{OTLP}TIMEOUT": "2500", "OTEL_METRIC_EXPORT_INTERVAL": "60000"},
            {"export_timeout_s": 2.5, "export_interval_s": 60},
        ),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, {"preset": "full"}),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.2"}, {"ratio": 0.2}),
        ({"OTEL_METRICS_EXPORTER": "none"}, {"push_metrics": False}),
        ({"OTEL_SDK_DISABLED": "true"}, {"enabled": False}),
        ({"OTEL_PROPAGATORS": "tracecontext", "OTEL_NODE_IP": "10.0.0.1", f"{OTLP}COMPRESSION": "gzip"}, {}),
        ({f"{OTLP}ENDPOINT": " "}, {}),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "64", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "Unset"}, {}),
    ],
)
def test_variables_are_read_as_settings(variables: dict[str, str], expected: dict[str, object]) -> None:
    assert changed(**variables) == expected


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({f"{OTLP}PROTOCOL": "http/json"}, f"{OTLP}PROTOCOL"),
        ({f"{OTLP}PROTOCOL": "grpc", f"{OTLP}TRACES_PROTOCOL": "http/protobuf"}, f"{OTLP}TRACES_PROTOCOL"),
        (
            {
                f"{OTLP}TRACES_ENDPOINT": "http://a:4318/v1/traces",
                f"{OTLP}METRICS_ENDPOINT": "http://b:4318/v1/metrics",
            },
            f"{OTLP}METRICS_ENDPOINT",
        ),
        ({f"{OTLP}TIMEOUT": "5s"}, f"{OTLP}TIMEOUT"),
        ({f"{OTLP}COMPRESSION": "none"}, f"{OTLP}COMPRESSION"),
        ({f"{OTLP}TRACES_HEADERS": "a=b"}, f"{OTLP}TRACES_HEADERS"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "OTEL_METRICS_EXPORTER"),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "abc"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        ({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "-5"}, "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        ({"OTEL_SPAN_LINK_COUNT_LIMIT": ""}, "OTEL_SPAN_LINK_COUNT_LIMIT"),
    ],
)
def test_what_could_not_be_followed_is_refused_by_name(variables: dict[str, str], name: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        loaded(**variables)
    assert [problem.key for problem in caught.value.problems] == [name]


def test_headers_are_a_secret_whose_values_are_percent_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "Authorization=Basic%20abc,x-tenant=t"
    monkeypatch.setenv(f"{OTLP}HEADERS", given)
    telemetry = loaded(**{f"{OTLP}HEADERS": given})
    assert header_pairs(telemetry) == (("authorization", "Basic abc"), ("x-tenant", "t"))
    assert "abc" not in repr(telemetry)


def test_a_settings_file_is_stronger_and_then_no_variable_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('[telemetry]\nprotocol = "http"\nendpoint = "http://file:4318"\n')
    with pytest.raises(InvalidSettings):  # but for one that the SDK reads by itself
        load_settings(path, {"OTEL_ATTRIBUTE_COUNT_LIMIT": "many"})
    variables = {f"{OTLP}PROTOCOL": "http/json", f"{OTLP}ENDPOINT": "http://other:4318"}
    telemetry = load_settings(path, variables).telemetry
    assert (telemetry.protocol, telemetry.endpoint) == ("http", "http://file:4318")
